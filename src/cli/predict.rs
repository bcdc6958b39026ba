//! `retraind predict`

use super::exit::{Failure, NO_INPUT};
use super::output::{Output, count, number, text, time};
use crate::data::{Target, read_csv};
use crate::run::{self, Context, Impossible, Predictions};
use crate::settings;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "What cannot be forecast is said on stderr. Exits with 66 when nothing could be forecast.")]
pub(super) struct Args {
    /// Only this target: views, likes or comments
    #[arg(long)]
    target: Option<Target>,
    /// Only this video; may be given more than once
    #[arg(long, value_name = "ID")]
    video: Vec<String>,
    /// Forecast from every grid time of these recordings instead, each from what was known then
    #[arg(long, value_name = "FILE.csv", num_args = 1.., requires = "out", conflicts_with = "video")]
    backtest: Vec<PathBuf>,
    /// Where the forecasts of a backtest go: `video_id,origin,horizon,target,forecast`
    #[arg(long, value_name = "FILE.csv", requires = "backtest")]
    out: Option<PathBuf>,
    /// Only these steps ahead in a backtest; all that the version forecasts otherwise
    #[arg(long, value_name = "STEPS", num_args = 1.., requires = "backtest", value_parser = clap::value_parser!(u16).range(1..))]
    horizon: Vec<u16>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn predict(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    let targets = args.target.map_or_else(|| Target::ALL.to_vec(), |target| vec![target]);
    if let Some(out) = &args.out {
        return backtest(args, &context, &targets, out, output).await;
    }
    let mut videos = args.video.clone();
    videos.sort();
    videos.dedup();
    let predictions = run::predict(&context, &targets, &videos).await?;
    if args.json {
        output.json(&predictions)?;
    } else {
        show(&predictions, output)?;
    }
    Ok(if predictions.forecasts.is_empty() { ExitCode::from(NO_INPUT) } else { ExitCode::SUCCESS })
}

async fn backtest(
    args: &Args,
    context: &Context,
    targets: &[Target],
    out: &Path,
    output: Output,
) -> Result<ExitCode, Failure> {
    let (series, report) = read_csv(&args.backtest, false, |_| ())?;
    for bad in &report.bad {
        output.warn(&bad.to_string());
    }
    let horizons: Vec<usize> = args.horizon.iter().map(|&steps| steps.into()).collect();
    let failed = |source| Failure::Write { path: out.to_owned(), source };
    let file = BufWriter::new(File::create(out).map_err(failed)?);
    let done = run::backtest(context, targets, &series, &horizons, file).await?;
    if args.json {
        output.json(&done)?;
    } else {
        let (n, origins, out) = (done.forecasts, done.origins, out.display());
        output.line(&format!("{n} forecasts, from {origins} origins of series and targets, are in {out}"))?;
        for impossible in &done.impossible {
            say_impossible(impossible, output);
        }
    }
    Ok(if done.forecasts == 0 { ExitCode::from(NO_INPUT) } else { ExitCode::SUCCESS })
}

/// Forecasts as a table; what could not be forecast as warnings.
pub(super) fn show(predictions: &Predictions, output: Output) -> std::io::Result<()> {
    let columns = [
        text("video"),
        text("target"),
        text("version"),
        text("last seen"),
        number("last count"),
        text("forecast for"),
        number("forecast"),
        text("interval"),
    ];
    let rows: Vec<Vec<String>> = predictions
        .forecasts
        .iter()
        .enumerate()
        // of many steps ahead, the first and the last; `--json` has all
        .filter(|&(k, f)| f.horizon == 1 || predictions.forecasts.get(k + 1).is_none_or(|next| next.horizon == 1))
        .map(|(_, f)| {
            vec![
                f.video_id.clone(),
                f.target.to_string(),
                f.version.to_string(),
                time(f.based_on),
                count(f.last_value),
                time(f.forecast_for),
                count(f.forecast),
                f.lower
                    .zip(f.upper)
                    .map_or_else(String::new, |(low, high)| format!("{} to {}", count(low), count(high))),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output.table(&columns, &rows)?;
    }
    for impossible in &predictions.impossible {
        say_impossible(impossible, output);
    }
    Ok(())
}

fn say_impossible(impossible: &Impossible, output: Output) {
    let video = impossible.video_id.as_ref().map_or_else(String::new, |id| format!(" of video {id}"));
    output.warn(&format!("no forecast of {}{video}: {}", impossible.target, impossible.reason));
}
