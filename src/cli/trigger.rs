//! `retraind trigger`

use super::exit::{Failure, GATE_REFUSED, RUN_FAILED};
use super::output::Output;
use super::summary::summary;
use crate::job;
use crate::run::{self, Context};
use crate::settings;
use crate::store::{NewRun, Owner, RunState, Store};
use chrono::{SecondsFormat, Utc};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often a run that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  retraind trigger weekly-retrain
  retraind trigger weekly-retrain --set retrain.epochs=10 --wait

The job's overlap rule holds: with overlap = \"skip\" nothing is started while a run of it is under way.
With --wait it exits with 3 when a gate refused a version, with 1 when the run did not succeed.")]
pub(super) struct Args {
    /// Name of the job: its file's name without .toml
    job: String,
    /// Set a value of the job file for this run, such as retrain.epochs=10; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Wait until the run has ended
    #[arg(long)]
    wait: bool,
    /// Print the run as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn trigger(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let job = job::find(&settings.jobs.dir, &args.job, &args.set)?;
    let context = Context::open(settings).await?;
    let store = &context.store;
    if !daemon_is_there(store).await? {
        return Err(Failure::NoDaemon { location: store.location().to_owned(), job: job.name });
    }
    let instant = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let queued = store
        .enqueue_run(NewRun {
            run_key: &format!("{}/person/{instant}", job.name),
            job: &job.name,
            kind: job.kind.name(),
            cause: "person",
            job_toml: &job.to_toml(),
            scheduled_for: None,
        })
        .await?;
    if !args.wait {
        if args.json {
            output.json(&run::report(&context, queued.id).await?)?;
        } else {
            output
                .line(&format!("run {} of {} is queued; `retraind show {0}` tells how it goes", queued.id, job.name))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    output.say(&format!("run {} of {} is queued", queued.id, job.name));
    let state = until_the_end(store, queued.id, output).await?;
    let report = run::report(&context, queued.id).await?;
    if args.json {
        output.json(&report)?;
    } else {
        output.line(&format!("run {} of {}: {state}", queued.id, job.name))?;
        if let Some(error) = &report.run.error {
            output.line(&format!("  {error}"))?;
        }
        if !report.targets.is_empty() {
            summary(&report, output)?;
        }
    }
    Ok(match state {
        RunState::Succeeded => ExitCode::SUCCESS,
        RunState::Rejected => ExitCode::from(GATE_REFUSED),
        _ => ExitCode::from(RUN_FAILED),
    })
}

/// Whether somebody schedules on this state database.
pub(super) async fn daemon_is_there(store: &Store) -> Result<bool, Failure> {
    let scheduler = store.scheduler().await?;
    let Some(owner) = scheduler.owner else { return Ok(false) };
    let expired = scheduler.expires_at.is_none_or(|until| until < Utc::now());
    // one of this host is seen, however slow it is; one of another host is heard
    Ok(if owner.is_local() { Owner::is_alive(&owner) } else { !expired })
}

async fn until_the_end(store: &Store, run_id: i64, output: Output) -> Result<RunState, Failure> {
    let mut before = RunState::Queued;
    loop {
        let run = store.run(run_id).await?;
        if run.state.is_final() {
            return Ok(run.state);
        }
        if run.state != before {
            output.say(&format!("run {run_id}: {} (attempt {})", run.state, run.attempt));
            before = run.state;
        }
        tokio::time::sleep(LOOK).await;
    }
}
