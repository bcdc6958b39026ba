//! `retraind data`

use super::exit::Failure;
use super::output::{Output, count, number, text, time};
use super::progress::Progress;
use crate::data::Target;
use crate::document::Problem;
use crate::event::Event;
use crate::grid::{Grid, VideoReport};
use crate::job::{self, Kind, WEEKLY_RETRAIN};
use crate::run::Context;
use crate::settings;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Reads as a run of the job would, and trains nothing.")]
pub(super) struct Args {
    /// Whose `[data]` and recipe to follow
    #[arg(default_value = WEEKLY_RETRAIN.0)]
    job: String,
    /// Set a key of the job, as `retraind run` does
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    job: &'a str,
    grid: String,
    videos: &'a [VideoReport],
    remarks: &'a [String],
    /// Why no model could be trained on this; none where one can.
    problem: Option<String>,
}

pub(super) async fn data(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let job = job::find(&settings.jobs.dir, &args.job, &args.set)?;
    let Kind::Retrain(retrain) = &job.kind else {
        let name = job.kind.name();
        let file = settings.jobs.dir.join(format!("{}.toml", job.name));
        let problem = Problem::general(&file, format!("is of kind `{name}`, which trains on nothing"));
        return Err(vec![problem.help("name a job of kind `retrain`")].into());
    };
    let context = Context::open(settings).await?;
    let (source, progress) = (context.source().await?, Progress::new(output));
    let listener = progress.listener();
    let read = source.read(|rows| listener(Event::Reading { rows })).await;
    progress.done_reading();
    let (series, read) = read?;
    let (recorded, prepared) = tokio::task::block_in_place(|| {
        let look = |video| VideoReport::recorded(&series, video, &job.data);
        let recorded: Vec<VideoReport> = series.videos.iter().map(look).collect();
        (recorded, retrain.recipe.prepare(series, &job.data, &retrain.options()))
    });
    let (videos, mut remarks, problem) = match prepared {
        Ok(prepared) => (prepared.reports, prepared.remarks, None),
        // what each video gives is what explains it
        Err(error) => (recorded, Vec::new(), Some(format!("failed to {error}"))),
    };
    remarks.splice(0..0, read.sentences());
    if args.json {
        let grid = job.data.grid.to_string();
        let report = Report { job: &job.name, grid, videos: &videos, remarks: &remarks, problem: problem.clone() };
        output.json(&report)?;
    } else {
        let (recipe, grid) = (retrain.recipe, job.data.grid);
        let longest = humantime::format_duration(job.data.longest_gap);
        let gaps = match grid {
            Grid::AsRecorded => "rows as they were recorded, whatever lies between them".to_owned(),
            _ => format!("no gap above {longest} in a window"),
        };
        output.line(&format!("job {}: recipe {recipe}, grid {grid}, {gaps}", job.name))?;
        table(&videos, problem.is_none(), output)?;
        remarks.iter().for_each(|remark| output.say(remark));
    }
    match problem {
        Some(problem) => {
            output.error(&problem);
            Ok(ExitCode::from(super::exit::BAD_DATA))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// `windows`: whether there is a split to show.
fn table(videos: &[VideoReport], windows: bool, output: Output) -> std::io::Result<()> {
    let columns = [
        text("video"),
        number("rows"),
        text("first"),
        text("last"),
        number("every"),
        number("longest gap"),
        number("gaps"),
        number("repeats"),
        number("decreases"),
        number("zeros"),
        number("points"),
        number("train"),
        number("validate"),
    ];
    let minutes = |seconds: f64| {
        if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
    };
    let each = |counts: [u64; 3]| Target::ALL.map(|target| counts[target.index()].to_string()).join("/");
    let rows: Vec<Vec<String>> = videos
        .iter()
        .map(|video| {
            vec![
                video.id.clone(),
                count(video.rows as f64),
                time(video.first),
                time(video.last),
                minutes(video.median_interval),
                minutes(video.longest_interval),
                video.long_gaps.to_string(),
                count(video.repeats as f64),
                each(video.revisions),
                each(video.dropouts),
                count(video.points as f64),
                if windows { count(video.train as f64) } else { String::new() },
                if windows { count(video.validation as f64) } else { String::new() },
            ]
        })
        .collect();
    output.table(&columns, &rows)
}
