//! `retraind runs` and `retraind show`

use super::exit::Failure;
use super::output::{Output, number, text, time};
use super::run::summary;
use crate::run::{self, Context};
use crate::settings;
use crate::store::{Owner, Run};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only runs of this job
    job: Option<String>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Number of the run
    run: i64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(args: &ListArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    context.store.reap(Owner::is_alive).await?;
    let runs = context.store.runs(args.job.as_deref(), args.limit).await?;
    if args.json {
        let mut reports = Vec::new();
        for run in &runs {
            reports.push(run::report(&context, run.id).await?);
        }
        output.json(&reports)?;
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        output.line("no runs yet; `retraind run weekly-retrain` makes the first")?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns =
        [number("run"), text("job"), text("cause"), text("state"), text("started"), number("seconds"), text("error")];
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                run.id.to_string(),
                run.job.clone(),
                run.cause.clone(),
                run.state.to_string(),
                run.started_at.map_or_else(String::new, time),
                seconds(run),
                run.error.as_deref().map_or_else(String::new, first_words),
            ]
        })
        .collect();
    output.table(&columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(args: &ShowArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    context.store.reap(Owner::is_alive).await?;
    let report = run::report(&context, args.run).await?;
    if args.json {
        output.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = &report.run;
    output.line(&format!("run {} of {}: {}", run.id, run.job, run.state))?;
    output.line(&format!("  key      {}", run.run_key))?;
    output.line(&format!("  cause    {}, attempt {}", run.cause, run.attempt))?;
    if let Some(started) = run.started_at {
        output.line(&format!("  started  {}", time(started)))?;
    }
    if let Some(ended) = run.ended_at {
        output.line(&format!("  ended    {} ({} s)", time(ended), seconds(run)))?;
    }
    if let Some(error) = &run.error {
        output.line(&format!("  error    {error}"))?;
    }
    if !report.targets.is_empty() {
        output.line("")?;
        summary(&report, output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn seconds(run: &Run) -> String {
    let (Some(started), Some(ended)) = (run.started_at, run.ended_at) else { return String::new() };
    format!("{:.1}", (ended - started).as_seconds_f64())
}

/// Enough of an error to know which one; `show` has the rest.
fn first_words(error: &str) -> String {
    const SHOWN: usize = 60;
    if error.chars().count() <= SHOWN {
        return error.to_owned();
    }
    error.chars().take(SHOWN - 1).chain(['…']).collect()
}
