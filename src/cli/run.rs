//! `retraind run`

use super::exit::{Failure, GATE_REFUSED};
use super::output::Output;
use super::progress::Progress;
use super::summary::summary;
use crate::alert;
use crate::job::{self, Job};
use crate::run::{self, Context, RunReport};
use crate::settings;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  retraind run weekly-retrain
  retraind run weekly-retrain --set retrain.epochs=10 --set 'retrain.targets=[\"views\"]'

Exits with 3 when a gate refused a version, with 1 when the run failed.")]
pub(super) struct Args {
    /// Name of the job: its file's name without .toml
    job: String,
    /// Set a value of the job file for this run, such as retrain.epochs=10; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the run as one JSON document
    #[arg(long)]
    json: bool,
}

/// How long a run that is over waits for its alerts to be taken by a mail server.
const LAST_CHANCE: Duration = Duration::from_secs(10);

pub(super) async fn run(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let job = job::find(&settings.jobs.dir, &args.job, &args.set)?;
    let context = Context::open(settings).await?;
    let (report, failure) = to_the_end(&context, &job, output).await?;
    if args.json {
        output.json(&report)?;
    } else if !report.targets.is_empty() {
        summary(&report, output)?;
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let refused = report.targets.iter().any(|target| target.row.verdict.as_deref() == Some("rejected"));
    Ok(if refused { ExitCode::from(GATE_REFUSED) } else { ExitCode::SUCCESS })
}

/// Runs a job by a person's wish, drawing its progress; a signal stops it at its next safe point.
///
/// Err: it did not even begin. A run that began has a report, whatever it came to.
pub(super) async fn to_the_end(
    context: &Context,
    job: &Job,
    output: Output,
) -> Result<(RunReport, Option<Failure>), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let signalled = Arc::new(AtomicU8::new(0));
    let listener = Progress::new(output).listener();
    let watcher = tokio::spawn(stop_on_signal(Arc::clone(&stop), Arc::clone(&signalled), output));
    let (store, settings) = (&context.store, &context.settings);
    let (ending, over) = tokio::sync::oneshot::channel::<()>();
    let over = async { over.await.unwrap_or_default() };
    let alerts = tokio::spawn(alert::serve(store.clone(), settings.clone(), Arc::clone(&listener), over));
    let ended = run::run(context, job, "person", stop, Arc::clone(&listener)).await;
    watcher.abort();
    drop(ending);
    if let Err(panic) = alerts.await {
        output.warn(&format!("the alerts of this run may be incomplete: {panic}"));
    }
    let ended = ended?;
    if let Err(error) = alert::finish(store, settings, listener, LAST_CHANCE).await {
        output.warn(&format!("alerts could not be written down: failed to {}", run::chain(&error)));
    }
    let failure = match ended.result {
        Ok(_) => None,
        Err(error) if error.is_cancelled() => {
            Some(Failure::Signalled { run_id: ended.run_id, code: 128 + signalled.load(Ordering::Relaxed) })
        }
        Err(error) => Some(error.into()),
    };
    Ok((run::report(context, ended.run_id).await?, failure))
}

async fn stop_on_signal(stop: Arc<AtomicBool>, signalled: Arc<AtomicU8>, output: Output) {
    let [interrupt, terminate, hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (interrupt, terminate, hangup) else {
        return output.warn("signals cannot be caught here; a signal will end the run without a word");
    };
    let (name, number) = tokio::select! {
        _ = interrupt.recv() => ("SIGINT", 2),
        _ = terminate.recv() => ("SIGTERM", 15),
        // the terminal is gone; what is known by now is worth recording all the same
        _ = hangup.recv() => ("SIGHUP", 1),
    };
    signalled.store(number, Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    output.say(&format!("{name}: stopping at the next safe point; once more to stop at once"));
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    std::process::exit(128 + i32::from(number));
}
