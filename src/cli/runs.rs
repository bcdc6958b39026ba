//! `retraind runs` and `retraind show`

use super::exit::Failure;
use super::output::{Output, number, text, time};
use super::summary::{details, summary};
use crate::executor::local;
use crate::run::{self, Context};
use crate::settings;
use crate::store::{self, Outcome, Output as Made, Owner, Run, RunState};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only runs of this job
    job: Option<String>,
    /// How many at most
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Number of the run
    run: i64,
    /// Print what its worker has written instead
    #[arg(long, conflicts_with = "json")]
    log: bool,
    /// With --log: go on printing until the run has ended
    #[arg(short, long, requires = "log")]
    follow: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// Number of the run
    run: i64,
}

pub(super) async fn list(args: &ListArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let Some(context) = Context::open_existing(settings::load(config)?.settings).await? else {
        return nothing_yet(args.json, output);
    };
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
        if let Some(job) = &args.job {
            output.line(&format!("no runs of {job}; `retraind runs` lists those of all jobs"))?;
            return Ok(ExitCode::SUCCESS);
        }
        return nothing_yet(false, output);
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
    let Some(context) = Context::open_existing(settings::load(config)?.settings).await? else {
        return Err(store::Error::NoSuchRun(args.run).into());
    };
    context.store.reap(Owner::is_alive).await?;
    if args.log {
        return log(&context, args, output).await;
    }
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
        // one that was cancelled while it was queued never began
        let took = if run.started_at.is_some() { format!(" ({} s)", seconds(run)) } else { String::new() };
        output.line(&format!("  ended    {}{took}", time(ended)))?;
    }
    if let Some(error) = &run.error {
        output.line(&format!("  error    {error}"))?;
    }
    if let Some(until) = run.not_before.filter(|_| run.state == RunState::Queued) {
        output.line(&format!("  waits    until {}", time(until)))?;
    }
    for attempt in &report.attempts {
        let error = attempt.error.as_deref().unwrap_or_default();
        output.line(&format!("  attempt  {}: {}: {error}", attempt.attempt, attempt.ending))?;
    }
    for made in &report.outputs {
        match made {
            Made::Metric { name, value } => output.line(&format!("  metric   {name}: {value}"))?,
            Made::Artifact { name, path } => output.line(&format!("  file     {name}: {path}"))?,
        }
    }
    if !report.targets.is_empty() {
        output.line("")?;
        summary(&report, output)?;
        details(&report, output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a run's log; with --follow until the run has ended and all is printed.
async fn log(context: &Context, args: &ShowArgs, output: Output) -> Result<ExitCode, Failure> {
    let path = local::log_file(&context.settings, args.run);
    let mut at = 0;
    loop {
        // looked at before the log is read: what is written until then is printed
        let run = context.store.run(args.run).await?;
        let over = run.state.is_final() || !args.follow;
        match std::fs::File::open(&path) {
            Ok(mut file) => {
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| {
                    let mut bytes = Vec::new();
                    file.read_to_end(&mut bytes).map(|_| bytes)
                });
                let bytes = read.map_err(|source| Failure::Os { doing: "read the run's log", source })?;
                at += bytes.len() as u64;
                output.raw(&String::from_utf8_lossy(&bytes))?;
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::Os { doing: "read the run's log", source: error });
            }
            Err(_) if over && at == 0 => {
                output.say(&format!(
                    "run {} has no log at {}: only runs that a daemon started have one, until `[runs] keep_for` has passed",
                    args.run,
                    path.display()
                ));
            }
            Err(_) => {}
        }
        if over {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
}

/// Ends a run by hand. Its process is refused at its next write, which it makes after every epoch.
pub(super) async fn cancel(args: &CancelArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let Some(context) = Context::open_existing(settings::load(config)?.settings).await? else {
        return Err(store::Error::NoSuchRun(args.run).into());
    };
    let run = context.store.run(args.run).await?;
    match run.claim() {
        Some(claim) => context.store.finish_run(claim, &Outcome::Cancelled("cancelled by hand".to_owned())).await?,
        None => context.store.cancel_queued_run(args.run, "cancelled by hand").await?,
    }
    output.line(&format!("run {} of {} is cancelled", run.id, run.job))?;
    Ok(ExitCode::SUCCESS)
}

fn nothing_yet(json: bool, output: Output) -> Result<ExitCode, Failure> {
    if json {
        output.json(&[(); 0])?;
    } else {
        output.line("no runs yet; `retraind run weekly-retrain` makes the first")?;
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
