//! `retraind worker`: one attempt of a run, started by a daemon. Everything it says goes to the run's log.
//!
//! It ends its run itself, but not when it was stopped or met a passing error: what becomes of the run then is for the daemon
//! to say. When the daemon dies it goes on; the next one finds it.

use super::exit::Failure;
use super::exit::{GATE_REFUSED, RUN_FAILED, TRY_AGAIN};
use crate::event::{Event, Listener};
use crate::job::Job;
use crate::run::{self, Context, chain};
use crate::settings::Settings;
use crate::store::{self, Claim, Ending, Outcome, Owner, Store};
use backon::{ExponentialBuilder, Retryable};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often it gives a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// As after any SIGTERM.
const STOPPED: u8 = 128 + 15;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of the run
    run: i64,
    /// Number of the attempt
    attempt: i64,
    /// The word that the daemon gave it
    nonce: String,
}

pub(super) async fn worker(args: &Args) -> Result<ExitCode, Failure> {
    let claim = Claim { run_id: args.run, attempt: args.attempt };
    let context = Context::open(settings()?).await?;
    let store = &context.store;
    store.take_run(claim, &args.nonce, &Owner::this_process()?).await?;
    let stop = Arc::new(AtomicBool::new(false));
    tokio::spawn(stop_on_signal(Arc::clone(&stop)));
    tokio::spawn(beat(store.clone(), claim, Arc::clone(&stop)));

    let row = store.run(claim.run_id).await?;
    tracing::info!(run_id = row.id, job = %row.job, attempt = claim.attempt, "attempt begins");
    let job = match Job::parse(&Path::new(&row.job).with_extension("toml"), &row.job_toml, &[]) {
        Ok(job) => job,
        Err(problems) => {
            let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let outcome = Outcome::Failed(format!("failed to read the job as it was queued: {text}"));
            patiently(|| store.finish_run(claim, &outcome)).await?;
            return Err(problems.into());
        }
    };
    run::reconcile(&context).await?;
    match run::attempt(&context, &job, claim, stop, listener()).await {
        Ok(passed) => {
            let outcome = if passed { Outcome::Succeeded } else { Outcome::Rejected };
            patiently(|| store.finish_run(claim, &outcome)).await?;
            tracing::info!(state = %outcome.state(), "run ended");
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(GATE_REFUSED) })
        }
        Err(error) => {
            let text = format!("failed to {}", chain(&error));
            tracing::error!("{text}");
            let code = if error.is_cancelled() {
                patiently(|| store.end_attempt(claim, Ending::Stopped, "it was stopped by a signal")).await?;
                STOPPED
            } else if error.is_transient() {
                patiently(|| store.end_attempt(claim, Ending::Transient, &text)).await?;
                TRY_AGAIN
            } else {
                let outcome = Outcome::Failed(text);
                patiently(|| store.finish_run(claim, &outcome)).await?;
                RUN_FAILED
            };
            Ok(ExitCode::from(code))
        }
    }
}

/// The daemon's settings, as it read them: the file may have changed since, and passwords come this way only.
fn settings() -> Result<Settings, Failure> {
    let failed = |source| Failure::Os { doing: "read the settings from the daemon", source };
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    serde_json::from_str(&text).map_err(|error| failed(error.into()))
}

/// What comes last is worth waiting for a database that restarts.
async fn patiently<F: Future<Output = store::Result<()>>>(write: impl FnMut() -> F) -> store::Result<()> {
    let delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(30);
    write.retry(delays).when(store::Error::is_transient).await
}

async fn stop_on_signal(stop: Arc<AtomicBool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return tracing::warn!("signals cannot be caught here; one will end the attempt without a word");
    };
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    tracing::info!("a signal asks for the end: stopping at the next safe point");
    stop.store(true, Ordering::Relaxed);
}

/// Signs of life, until the attempt is given up or its run is ended by others: then nothing that it makes counts any more.
async fn beat(store: Store, claim: Claim, stop: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(BEAT).await;
        match store.beat(claim).await {
            Err(error @ store::Error::Fenced { .. }) => {
                tracing::warn!(error = %chain(&error), "stopping");
                return stop.store(true, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "no sign of life could be given"),
            Ok(()) => {}
        }
    }
}

fn listener() -> Listener {
    Arc::new(|event| match event {
        // how far it is within a step is for bars: a log would drown in it
        Event::Started { .. } | Event::Reading { .. } | Event::Windows { .. } => {}
        Event::Prepared { rows, videos, train, validation } => {
            tracing::info!(rows, videos, train, validation, "windows prepared");
        }
        Event::Remark(text) => tracing::info!("{text}"),
        Event::Epoch { target, row, of } => {
            tracing::info!("{target}: epoch {} of {of}: loss {:.6}, val_loss {:.6}", row.epoch, row.loss, row.val_loss);
        }
        Event::Judged { target, version, verdict, promoted } => {
            tracing::info!(%target, version, verdict, promoted, "judged");
        }
        Event::Alert { target: Some(target), text } => tracing::warn!("{target}: {text}"),
        Event::Alert { target: None, text } => tracing::warn!("{text}"),
    })
}
