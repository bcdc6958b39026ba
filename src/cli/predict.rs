//! `retraind predict`

use super::exit::{Failure, NO_INPUT};
use super::output::{Output, count, number, text, time};
use crate::data::Target;
use crate::run::{self, Context, Predictions};
use crate::settings;
use std::path::Path;
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
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn predict(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    let targets = args.target.map_or_else(|| Target::ALL.to_vec(), |target| vec![target]);
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
    ];
    let rows: Vec<Vec<String>> = predictions
        .forecasts
        .iter()
        .map(|f| {
            vec![
                f.video_id.clone(),
                f.target.to_string(),
                f.version.to_string(),
                time(f.based_on),
                count(f.last_value),
                time(f.forecast_for),
                count(f.forecast),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output.table(&columns, &rows)?;
    }
    for impossible in &predictions.impossible {
        let video = impossible.video_id.as_ref().map_or_else(String::new, |id| format!(" of video {id}"));
        output.warn(&format!("no forecast of {}{video}: {}", impossible.target, impossible.reason));
    }
    Ok(())
}
