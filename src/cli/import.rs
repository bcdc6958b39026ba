//! `retraind import`

use super::exit::Failure;
use super::output::{Output, time};
use super::progress::style;
use crate::data::{CsvReport, Imported, Reading, Series, Source, read_csv};
use crate::settings::{self, Settings};
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first line names the columns: timestamp, video_id, view_count, like_count, comment_count (or viewCount, likeCount, \
commentCount), in any order; other columns are left aside. Times are as in 2023-12-04T13:05:31Z, without a zone UTC, or \
seconds since 1970. Growth rates are computed.

Importing a file again changes nothing; a row with other counts replaces the one with the same video and time. All files \
together, or on any error nothing.")]
pub(super) struct Args {
    /// CSV files
    #[arg(required = true, value_name = "FILE.csv")]
    files: Vec<PathBuf>,
    /// Leave bad lines out and say which, instead of importing nothing
    #[arg(long)]
    skip_bad: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    imported: Imported,
    lines: u64,
    left_out: u64,
    duplicates: u64,
    conflicts: u64,
    /// The first of those left out, a sentence each.
    bad_lines: Vec<String>,
}

pub(super) async fn import(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let (imported, csv) = files(&settings, &args.files, args.skip_bad, output).await?;
    if args.json {
        let bad_lines = csv.bad.iter().map(ToString::to_string).collect();
        let CsvReport { lines, n_bad: left_out, duplicates, conflicts, .. } = csv;
        output.json(&Report { imported, lines, left_out, duplicates, conflicts, bad_lines })?;
        return Ok(ExitCode::SUCCESS);
    }
    for bad in &csv.bad {
        output.warn(&format!("left out: {bad}"));
    }
    if csv.n_bad > csv.bad.len() as u64 {
        output.warn(&format!("left out: {} more lines", csv.n_bad - csv.bad.len() as u64));
    }
    if csv.duplicates + csv.conflicts > 0 {
        let (same, other) = (csv.duplicates, csv.conflicts);
        output.warn(&format!(
            "lines for a video and time that another line has: {same} with the same counts, {other} with others (the \
             highest counts were kept)"
        ));
    }
    let Imported { inserted, updated, unchanged, videos } = imported;
    output.line(&format!("{inserted} rows new, {updated} changed, {unchanged} as they were; {videos} video(s)"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the files and writes them into the data table, with bars on a terminal.
async fn files(
    settings: &Settings,
    files: &[PathBuf],
    skip_bad: bool,
    output: Output,
) -> Result<(Imported, CsvReport), Failure> {
    let reading = bar(output, "reading  {bar:12} {wide_msg} {eta} left");
    let began = Instant::now();
    let read = read_csv(files, skip_bad, |Reading { bytes, of, lines }| {
        reading.set_length(of);
        reading.set_position(bytes);
        let rate = lines as f64 / began.elapsed().as_secs_f64();
        reading.set_message(format!("{} rows, {} rows/s", HumanCount(lines), HumanCount(rate as u64)));
    });
    reading.finish_and_clear();
    let (series, report) = read?;
    if let Some(remark) = to_come(&series) {
        output.warn(&remark);
    }
    let writing = bar(output, "writing  {bar:12} {human_pos}/{human_len} rows, {rate} rows/s  {eta} left");
    let source = &settings.source;
    let imported = Source::import(&source.url, &source.table, source.statement_timeout, &series, |done, total| {
        writing.set_length(total);
        writing.set_position(done);
    })
    .await?;
    writing.finish_and_clear();
    Ok((imported, report))
}

fn bar(output: Output, template: &str) -> ProgressBar {
    if !output.draws() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    bar.set_style(style(template));
    bar
}

/// Rows whose time has not come: a slip in a file stays the newest row for as long.
fn to_come(series: &Series) -> Option<String> {
    let tomorrow = (Utc::now() + TimeDelta::days(1)).timestamp_micros();
    let later = series.at.iter().filter(|&&at| at > tomorrow);
    let newest = DateTime::from_timestamp_micros(*later.clone().max()?).unwrap_or_default();
    let n = later.count();
    Some(format!("{n} row(s) are of times to come, the latest {}; they are imported all the same", time(newest)))
}
