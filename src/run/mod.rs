//! Runs: a checked job goes in; rows, versions, a champion and events come out.
//!
//! Composes the rooms to its left; each kind's steps stand in order in a file of their own. Nothing here draws or prints.

mod evaluate;
mod exec;
mod metrics;
mod plan;
mod predict;
mod promotion;
mod report;
mod retrain;

pub use crate::error::chain;
pub use plan::{Division, OF_JOB, Plan, plan};
pub use predict::{Backtested, Forecast, Impossible, Predictions, backtest, predict};
pub use promotion::{promote, reconcile, rollback, verified};
pub use report::{Made, RunReport, TargetReport, report};

use crate::bytes::Bytes;
use crate::data::{Source, Target};
use crate::event::{Event, Listener};
use crate::job::{Job, Kind};
use crate::registry::{Registry, Version};
use crate::settings::Settings;
use crate::store::{Claim, NewRun, Outcome, Owner, Store};
use crate::{data, export, recipe, registry, runtime, store, train};
use chrono::{SecondsFormat, Utc};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What every run works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Settings of the host.
    pub settings: Settings,
    /// The state database.
    pub store: Store,
    /// The versions.
    pub registry: Registry,
    /// This program, which is run again to try out libraries.
    pub program: PathBuf,
}

impl Context {
    /// Opens the state database (made where missing) and the registry.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        Store::check_address(&settings.state.url)?;
        let registry = Registry::at(&settings.registry.dir);
        let store = Store::open(&settings.state.url).await?;
        Ok(Self { settings, store, registry, program: this_program() })
    }

    /// The same for those who only look: where nothing has run yet, nothing is made.
    pub async fn open_existing(settings: Settings) -> Result<Option<Self>, Error> {
        Store::check_address(&settings.state.url)?;
        let registry = Registry::at(&settings.registry.dir);
        let store = Store::open_existing(&settings.state.url).await?;
        Ok(store.map(|store| Self { settings, store, registry, program: this_program() }))
    }

    /// Connects to the recorded counts.
    pub async fn source(&self) -> Result<Source, Error> {
        let source = &self.settings.source;
        Ok(Source::connect(&source.url, &source.table, source.statement_timeout).await?)
    }
}

/// The path of this program; where the system does not say, its name, to be found in PATH.
pub fn this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("retraind"))
}

/// Why a run, or something else that works with versions, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The recorded counts.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// Too little data.
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// ONNX Runtime.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The training of one model.
    #[error("train {target}: {source}")]
    Train {
        /// Which.
        target: Target,
        /// Why.
        source: train::Error,
    },
    /// The export of one model.
    #[error("export {target}: {source}")]
    Parity {
        /// Which.
        target: Target,
        /// By how much.
        source: export::ParityError,
    },
    /// Somebody asked it to stop, or another model of the run failed.
    #[error("finish: stopped before the training of {target} began")]
    Stopped {
        /// Which model was next.
        target: Target,
    },
    /// Not even one model after the other.
    #[error(
        "begin: it needs about {needed} of memory, most of it for the program itself and the rows, and {limit} is \
         {whose}; give it more, or lower `retrain.hidden`, `batch_size` or `threads`"
    )]
    TooLarge {
        /// Estimated.
        needed: Bytes,
        /// What there is.
        limit: Bytes,
        /// Who says so.
        whose: &'static str,
    },
    /// A defect of retraind.
    #[error("finish the work on {target}: it panicked, which is a defect of retraind; the log above says where")]
    Panicked {
        /// Which model.
        target: Target,
    },
    /// A rejected version was to be promoted.
    #[error("promote {version} of {target}: the gate {verdict}; add --force to bring it into service all the same")]
    Refused {
        /// Whose.
        target: Target,
        /// Which.
        version: Version,
        /// What the gate said.
        verdict: String,
    },
    /// There is nothing to go back to.
    #[error("roll back {target}: {reason}")]
    NoEarlierChampion {
        /// Whose.
        target: Target,
        /// Why.
        reason: String,
    },
    /// There is nothing to forecast with.
    #[error(
        "forecast with a champion of {target}: no version is in service; `retraind run weekly-retrain` trains one, \
         `retraind promote {target} VERSION` brings one into service"
    )]
    NoChampion {
        /// Whose.
        target: Target,
    },
    /// Where a backtest's forecasts were to go.
    #[error("write the forecasts: {source}")]
    Backtest {
        /// Why.
        source: std::io::Error,
    },
    /// A program of kind `exec`.
    #[error("run {program}: {problem}")]
    Exec {
        /// Its name.
        program: String,
        /// What it did, or did not.
        problem: String,
        /// Whether it says that trying again may help, or was asked to stop.
        ended: ExecEnd,
    },
    /// A version that this program cannot use.
    #[error("forecast {target} with {version}: {reason}")]
    Unusable {
        /// Whose.
        target: Target,
        /// Which.
        version: Version,
        /// Why.
        reason: String,
    },
}

/// How a program of kind `exec` ended, as far as it matters for what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    /// It failed.
    Failed,
    /// With code 75: trying again may help.
    Transient,
    /// It was asked to stop.
    Stopped,
}

impl Error {
    /// Whether waiting and trying again may help: a database that is away, a lock, a full disk.
    pub fn is_transient(&self) -> bool {
        let full = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        };
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Data(error) => error.is_transient(),
            Self::Registry(registry::Error::Locked { .. }) => true,
            Self::Registry(registry::Error::Write { source, .. }) => full(source),
            Self::Exec { ended, .. } => *ended == ExecEnd::Transient,
            Self::Runtime(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether it is nobody's fault: somebody asked for the end.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Stopped { .. }
                | Self::Train { source: train::Error::Stopped { .. }, .. }
                | Self::Exec { ended: ExecEnd::Stopped, .. }
        )
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Ended {
    /// Its number in the state database.
    pub run_id: i64,
    /// `Ok(true)` when every version passed its gate.
    pub result: Result<bool, Error>,
}

/// Runs a job to its end in this process. Err: it could not even begin.
pub async fn run(
    context: &Context,
    job: &Job,
    cause: &str,
    stop: Arc<AtomicBool>,
    listener: Listener,
) -> Result<Ended, Error> {
    let store = &context.store;
    store.reap(Owner::is_alive).await?;
    reconcile(context).await?;
    let instant = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let new = NewRun {
        run_key: &format!("{}/{cause}/{instant}", job.name),
        job: &job.name,
        kind: job.kind.name(),
        cause,
        job_toml: &job.to_toml(),
        scheduled_for: None,
    };
    let begun = store.begin_run(new, &Owner::this_process()?).await?;
    let claim = Claim { run_id: begun.id, attempt: begun.attempt };
    listener(Event::Started { run_id: begun.id, job: job.name.clone() });
    let result = attempt(context, job, claim, stop, listener).await;
    let outcome = match &result {
        Ok(true) => Outcome::Succeeded,
        Ok(false) => Outcome::Rejected,
        Err(error) if error.is_cancelled() => Outcome::Cancelled("stopped by a signal".to_owned()),
        Err(error) => Outcome::Failed(format!("failed to {}", chain(error))),
    };
    match store.finish_run(claim, &outcome).await {
        Ok(()) => Ok(Ended { run_id: begun.id, result }),
        // what the run itself failed with says more than that this could not be written down
        Err(_) if result.is_err() => Ok(Ended { run_id: begun.id, result }),
        Err(error) => Err(error.into()),
    }
}

/// Does what the job says, for the attempt that has the run: in the foreground or in a daemon's worker. `Ok(false)`: done, and
/// a gate refused what came of it. Whoever calls ends the run.
pub async fn attempt(
    context: &Context,
    job: &Job,
    claim: Claim,
    stop: Arc<AtomicBool>,
    listener: Listener,
) -> Result<bool, Error> {
    match &job.kind {
        Kind::Retrain(settings) => retrain::retrain(context, job, settings, claim, stop, listener).await,
        Kind::Evaluate(settings) => evaluate::evaluate(context, settings, claim, &listener).await,
        Kind::Predict(settings) => {
            let predictions = predict(context, &settings.targets, &settings.videos).await?;
            predictions.remarks().for_each(|remark| listener(Event::Remark(remark)));
            Ok(true)
        }
        Kind::Exec(settings) => exec::exec(context, job, settings, claim, &stop, &listener).await,
    }
}
