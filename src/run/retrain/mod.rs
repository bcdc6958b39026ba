//! Kind `retrain`: read, prepare, then for each target train, export, judge, register, promote.

mod contender;
mod importance;
mod judging;
mod resume;
mod rolling;
mod training;

use super::{Context, Division, Error, promotion};
use crate::data::{DataVersion, Target};
use crate::event::{Event, Listener};
use crate::job::{Challenger, Job, Retrain};
use crate::recipe::{Blend, Prepared, Recipe};
use crate::registry::Metadata;
use crate::runtime::{self, Library};
use crate::store::{self, Claim, RunTarget, TargetState};
use crate::train::{self, Budget, Checkpoint, Mixed, Origin};
use backon::{ExponentialBuilder, Retryable};
use chrono::{DateTime, Utc};
use contender::{Contender, Model};
use judging::{Candidate, judge};
use resume::Resumed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use training::{dense_mixtures, mixtures, train_watched};

/// The first pause before something is tried again.
const TICK: Duration = Duration::from_secs(1);

/// What all targets of a run share.
struct Shared {
    context: Context,
    job: Job,
    settings: Retrain,
    claim: Claim,
    prepared: Prepared,
    data_version: DataVersion,
    /// Loaded while the first epochs are trained. Closed without it where there is none.
    library: watch::Receiver<Option<Library>>,
    stop: Arc<AtomicBool>,
    /// The first target that this attempt works on.
    lead: Target,
    /// The networks of `increment`, which serve all targets: their epochs are told under the lead's name.
    mixed: OnceCell<Arc<Vec<Mixed>>>,
    /// The same without an LSTM layer, where the job wants that challenger.
    dense: OnceCell<Arc<Vec<Mixed>>>,
    /// The linear challenger, where the job wants it.
    ridge: OnceCell<Arc<Blend>>,
    /// Set before `stop` when it is a failure that stops the others.
    failed: AtomicBool,
    budget: Budget,
    listener: Listener,
}

/// Runs all targets. `Ok(true)` when every version passed its gate; the first failure ends the run.
pub(super) async fn retrain(
    context: &Context,
    job: &Job,
    settings: &Retrain,
    claim: Claim,
    stop: Arc<AtomicBool>,
    listener: Listener,
) -> Result<bool, Error> {
    // The library is not needed before something is judged. Until it is loaded rows are read and windows trained on.
    let setting = context.settings.onnxruntime.library.clone();
    let program = context.program.clone();
    let opening = tokio::spawn(async move { runtime::open(setting.as_deref(), &program).await });
    let first = settings.targets[0];
    let resumed = Resumed::find(context, settings, claim, &listener).await?;
    for &target in &resumed.targets {
        let row = RunTarget { target: target.to_string(), ..begun() };
        context.store.save_target(claim, &row).await?;
    }
    if settings.memory_limit.is_some() {
        // what cannot be held should not be read either
        let rows = context.source().await?.describe().await?.rows as usize;
        Division::of(settings, resumed.targets.len(), rows, rows)?;
    }
    let read = read_and_prepare(context, job, settings, resumed.until, &listener).await;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped { target: first });
    }
    let (prepared, data_version) = read?;
    let (rows, windows) = (data_version.rows as usize, prepared.train(first).len());
    let division = Division::of(settings, resumed.targets.len(), rows, windows)?;
    listener(Event::Remark(division.sentence()));
    let side_by_side = Arc::new(Semaphore::new(division.side_by_side));
    let (loaded, library) = watch::channel(None);
    let shared = Arc::new(Shared {
        context: context.clone(),
        job: job.clone(),
        settings: settings.clone(),
        claim,
        prepared,
        data_version,
        library,
        stop,
        lead: resumed.targets.first().copied().unwrap_or(first),
        mixed: OnceCell::new(),
        dense: OnceCell::new(),
        ridge: OnceCell::new(),
        failed: AtomicBool::new(false),
        budget: Budget::new(division.threads),
        listener,
    });

    let mut targets = JoinSet::new();
    let waiting = Arc::clone(&shared);
    targets.spawn(async move { waiting.wait_for_library(opening, &loaded).await.map(|()| true) });
    for &target in &resumed.targets {
        let shared = Arc::clone(&shared);
        let side_by_side = Arc::clone(&side_by_side);
        targets.spawn(async move {
            // in the targets' order; never closed
            let _place = side_by_side.acquire().await;
            let result = one_target(&shared, target).await;
            if let Err(error) = &result {
                if !error.is_cancelled() {
                    shared.end_others();
                }
                shared.record_failure(target, error).await;
            }
            result
        });
    }
    let mut all_passed = resumed.all_passed;
    let mut failure: Option<Error> = None;
    while let Some(ended) = targets.join_next().await {
        match ended {
            Ok(Ok(passed)) => all_passed &= passed,
            // the one that failed first says more than those it stopped
            Ok(Err(error)) => {
                if failure.as_ref().is_none_or(Error::is_cancelled) {
                    failure = Some(error);
                }
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    let dir = context.settings.runs.of(claim.run_id);
    if let Err(error) = train::remove_checkpoints(&dir) {
        tracing::warn!(dir = %dir.display(), %error, "checkpoints that are no longer needed stay");
    }
    Ok(all_passed)
}

async fn read_and_prepare(
    context: &Context,
    job: &Job,
    settings: &Retrain,
    until: Option<DateTime<Utc>>,
    listener: &Listener,
) -> Result<(Prepared, DataVersion), Error> {
    let source = context.source().await?;
    let (series, report) = source.read_until(until, |rows| listener(Event::Reading { rows })).await?;
    // millions of rows are hashed and scaled here; the other tasks of this thread move elsewhere meanwhile
    let (data_version, prepared) = tokio::task::block_in_place(|| {
        (series.fingerprint(), settings.recipe.prepare(series, &job.data, &settings.options()))
    });
    let (rows, videos) = (data_version.rows as usize, data_version.videos as usize);
    tracing::info!(rows, videos, sha256 = %data_version.sha256, "rows read");
    report.sentences().into_iter().for_each(|sentence| listener(Event::Remark(sentence)));
    let prepared = prepared?;
    listener(Event::Prepared {
        rows,
        videos,
        // the split is the same for every target
        train: prepared.train(Target::Views).len(),
        validation: prepared.validation(Target::Views).len(),
    });
    prepared.remarks.iter().cloned().for_each(|remark| listener(Event::Remark(remark)));
    Ok((prepared, data_version))
}

/// From training to the champion's place. Says whether a version passed its gate.
async fn one_target(shared: &Arc<Shared>, target: Target) -> Result<bool, Error> {
    let began = Instant::now();
    let contenders = contenders(shared, target).await?;
    let rolling = in_thread(shared, target, move |shared| rolling::roll(&shared, target)).await?;
    let library = shared.library.clone().wait_for(Option::is_some).await.ok().and_then(|library| *library);
    let library = library.ok_or(Error::Stopped { target })?;
    let mut judged = Vec::new();
    for contender in contenders {
        let rows = shared.context.store.versions(Some(&target.to_string())).await?;
        let used = rows.iter().filter_map(|row| row.version.parse().ok()).max();
        let rolling = rolling.clone();
        let Candidate { staging, metadata } = in_thread(shared, target, move |shared| {
            judge(&shared, target, library, &contender, rolling.as_ref(), used)
        })
        .await?;
        // A worker that was given up must not publish: the claim is checked right before the version becomes visible.
        shared.save_target(&metadata, TargetState::Running, None).await?;
        let (metadata, metadata_sha256) = in_thread(shared, target, move |_| Ok(staging.publish(metadata)?)).await?;
        register(shared, &metadata, &metadata_sha256).await?;
        judged.push(metadata);
    }
    let best = best(judged);
    let passed = best.verdict.passed;
    if passed {
        let cause = format!("run {} of {} passed its gate", shared.claim.run_id, shared.job.name);
        promotion::bring_into_service(&shared.context, Some(shared.claim), target, best.version, &cause).await?;
    }
    let state = if passed { TargetState::Succeeded } else { TargetState::Rejected };
    shared.save_target(&best, state, Some(began.elapsed().as_secs_f64())).await?;
    (shared.listener)(Event::Judged {
        target,
        version: best.version.to_string(),
        verdict: best.verdict.word().to_owned(),
        promoted: passed,
    });
    Ok(passed)
}

/// Trains all that wants to become a version, the simplest first.
async fn contenders(shared: &Arc<Shared>, target: Target) -> Result<Vec<Contender>, Error> {
    let began = Instant::now();
    if shared.settings.recipe == Recipe::Level {
        let model = Model::Level(Box::new(train_watched(shared, target).await?));
        return Ok(vec![Contender { model, training_seconds: began.elapsed().as_secs_f64() }]);
    }
    let mut contenders = Vec::new();
    if shared.settings.challengers.contains(&Challenger::Ridge) {
        let fit = |shared: Arc<Shared>| Ok(Arc::new(Blend::fit(&shared.prepared.pools[0])));
        let blend = shared.ridge.get_or_try_init(|| in_thread(shared, target, fit)).await?;
        let model = Model::Ridge(Arc::clone(blend));
        contenders.push(Contender { model, training_seconds: began.elapsed().as_secs_f64() });
    }
    if shared.settings.challengers.contains(&Challenger::Dense) {
        let began = Instant::now();
        let model = Model::Mixture(dense_mixtures(shared, target).await?);
        contenders.push(Contender { model, training_seconds: began.elapsed().as_secs_f64() });
    }
    let began = Instant::now();
    let model = Model::Mixture(mixtures(shared, target).await?);
    contenders.push(Contender { model, training_seconds: began.elapsed().as_secs_f64() });
    Ok(contenders)
}

/// The one to go on with: one that passed before one that did not, then the smallest error.
fn best(judged: Vec<Metadata>) -> Metadata {
    let order = |metadata: &Metadata| (!metadata.verdict.passed, metadata.metrics.own.scaled.mae);
    let better = |a: &Metadata, b: &Metadata| {
        let (a, b) = (order(a), order(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    judged.into_iter().min_by(better).expect("at least the network was judged")
}

/// Writes the published version into the state database. A run that was taken away meanwhile leaves nothing behind.
async fn register(shared: &Shared, metadata: &Metadata, metadata_sha256: &str) -> Result<(), Error> {
    let Context { store, registry, .. } = &shared.context;
    let registered = promotion::register(store, Some(shared.claim), metadata, metadata_sha256).await;
    if let Err(Error::Store(store::Error::Fenced { .. })) = &registered {
        registry.set_aside(metadata.target, metadata.version)?;
    }
    registered
}

/// A minute of trying again, for a database that restarts.
fn patiently() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(TICK).with_max_delay(10 * TICK).with_max_times(9)
}

impl Shared {
    /// Returns soon after somebody asked the run to stop.
    async fn stopped(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(TICK / 10).await;
        }
    }

    /// Puts the library where the targets wait for it. Err: there is none, or the run is to stop.
    async fn wait_for_library(
        &self,
        mut opening: JoinHandle<Result<Library, runtime::Error>>,
        loaded: &watch::Sender<Option<Library>>,
    ) -> Result<(), Error> {
        let opened = tokio::select! {
            opened = &mut opening => opened.map_err(|_| Error::Panicked { target: self.lead }),
            () = self.stopped() => {
                // with the process that tries it out
                opening.abort();
                return Err(Error::Stopped { target: self.lead });
            }
        };
        match opened.and_then(|opened| Ok(opened?)) {
            Ok(library) => {
                loaded.send_replace(Some(library));
                Ok(())
            }
            // a stop that goes to the whole group has ended the probe as well
            Err(_) if self.stop.load(Ordering::Relaxed) => Err(Error::Stopped { target: self.lead }),
            Err(error) => {
                self.end_others();
                Err(error)
            }
        }
    }

    /// One failure is the run's: the others stop at their next step.
    fn end_others(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Where a training is written down. `windows`: to train and to validate on.
    fn checkpoint(&self, name: &str, training: &train::Settings, windows: [usize; 2]) -> Checkpoint {
        let origin = Origin {
            data: self.data_version.clone(),
            target: name.to_owned(),
            recipe: self.settings.recipe.to_string(),
            settings: training.clone(),
            windows,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Checkpoint::new(&self.context.settings.runs.of(self.claim.run_id), name, origin)
    }

    async fn save_target(&self, metadata: &Metadata, state: TargetState, seconds: Option<f64>) -> Result<(), Error> {
        let row = RunTarget {
            target: metadata.target.to_string(),
            state,
            epochs: Some(metadata.epochs as i64),
            best_epoch: Some(metadata.best_epoch as i64),
            seconds,
            version: Some(metadata.version.to_string()),
            verdict: Some(metadata.verdict.word().to_owned()),
            reasons: metadata.verdict.rules.iter().map(|rule| rule.reason.clone()).collect(),
            error: None,
        };
        let write = || self.context.store.save_target(self.claim, &row);
        Ok(write.retry(patiently()).when(store::Error::is_transient).await?)
    }

    /// Writes down what a target ended with, beside whatever is known of it.
    async fn record_failure(&self, target: Target, error: &Error) {
        let (state, text) = match error {
            error if !error.is_cancelled() => (TargetState::Failed, format!("failed to {}", crate::run::chain(error))),
            _ if self.failed.load(Ordering::Relaxed) => {
                (TargetState::Cancelled, "stopped because the run failed".to_owned())
            }
            _ => (TargetState::Cancelled, "stopped by a signal".to_owned()),
        };
        let store = &self.context.store;
        let written = async {
            let known =
                store.targets(self.claim.run_id).await?.into_iter().find(|row| row.target == target.to_string());
            let row = known.unwrap_or_else(|| RunTarget { target: target.to_string(), ..begun() });
            store.save_target(self.claim, &RunTarget { state, error: Some(text), ..row }).await
        };
        if let Err(unwritten) = written.await {
            // the run ends with the first error; that this one is not in the table is worth a line
            tracing::warn!(%target, error = %crate::run::chain(&unwritten), "the failure could not be recorded");
        }
    }
}

/// A target of which nothing is known yet but that its run works on it.
fn begun() -> RunTarget {
    RunTarget {
        target: String::new(),
        state: TargetState::Running,
        epochs: None,
        best_epoch: None,
        seconds: None,
        version: None,
        verdict: None,
        reasons: Vec::new(),
        error: None,
    }
}

/// Runs blocking work where it holds up nothing else.
async fn in_thread<T: Send + 'static>(
    shared: &Arc<Shared>,
    target: Target,
    work: impl FnOnce(Arc<Shared>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let shared = Arc::clone(shared);
    match spawn_blocking(move || work(shared)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Panicked { target }),
    }
}
