//! Kind `retrain`: read, prepare, then for each target train, export, judge, register, promote.

use super::{Context, Error, promotion};
use crate::data::{DataVersion, Target};
use crate::evaluate;
use crate::event::{Event, Listener};
use crate::export::{self, Description};
use crate::gate;
use crate::host::Memory;
use crate::job::{Job, Retrain};
use crate::model;
use crate::recipe::{self, FEATURES, Prepared, STEPS};
use crate::registry::{Metadata, Staging, file};
use crate::runtime::{self, Library, Session};
use crate::store::{self, Claim, RunTarget, TargetState};
use crate::train::{self, Trained};
use crate::watch::Watch;
use chrono::Utc;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

/// How often clocks and memory are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What all targets of a run share.
struct Shared {
    context: Context,
    job: Job,
    settings: Retrain,
    claim: Claim,
    prepared: Prepared,
    data_version: DataVersion,
    library: Library,
    stop: Arc<AtomicBool>,
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
    // the library is probed while rows are read: each takes a moment that the other need not wait for
    let library = async {
        let probed = runtime::find(context.settings.onnxruntime.library.as_deref()).await?;
        Ok(Library::load(&probed)?)
    };
    let prepared = read_and_prepare(context, &listener);
    let (library, (prepared, data_version)) = tokio::try_join!(library, prepared)?;
    let shared = Arc::new(Shared {
        context: context.clone(),
        job: job.clone(),
        settings: settings.clone(),
        claim,
        prepared,
        data_version,
        library,
        stop,
        listener,
    });

    let mut targets = JoinSet::new();
    for &target in &settings.targets {
        let shared = Arc::clone(&shared);
        targets.spawn(async move {
            let result = one_target(&shared, target).await;
            if let Err(error) = &result {
                // one failure is the run's: the others stop at their next step
                shared.stop.store(true, Ordering::Relaxed);
                shared.record_failure(target, error).await;
            }
            result
        });
    }
    let mut memory = Watch::new(job.alerts);
    let mut tick = tokio::time::interval(TICK);
    let mut all_passed = true;
    let mut failure: Option<Error> = None;
    loop {
        tokio::select! {
            ended = targets.join_next() => match ended {
                None => break,
                Some(Ok(Ok(passed))) => all_passed &= passed,
                // the one that failed first says more than those it stopped
                Some(Ok(Err(error))) => if failure.as_ref().is_none_or(Error::is_cancelled) { failure = Some(error) },
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            },
            _ = tick.tick() => {
                let used = Memory::now().map(Memory::used_percent);
                if let Some(text) = used.ok().and_then(|used| memory.memory(used)) {
                    (shared.listener)(Event::Alert { target: None, text });
                }
            }
        }
    }
    failure.map_or(Ok(all_passed), Err)
}

async fn read_and_prepare(context: &Context, listener: &Listener) -> Result<(Prepared, DataVersion), Error> {
    let source = context.source().await?;
    let (series, report) = source.read(|rows| listener(Event::Reading { rows })).await?;
    let data_version = series.fingerprint();
    let prepared = recipe::prepare(&series)?;
    listener(Event::Prepared {
        rows: series.len(),
        videos: series.videos.len(),
        // the split is the same for every target
        train: prepared.train(Target::Views).len(),
        validation: prepared.validation(Target::Views).len(),
    });
    for remark in report.sentences().into_iter().chain(prepared.remarks.iter().cloned()) {
        listener(Event::Remark(remark));
    }
    Ok((prepared, data_version))
}

/// From training to the champion's place. Says whether the version passed its gate.
async fn one_target(shared: &Arc<Shared>, target: Target) -> Result<bool, Error> {
    let began = Instant::now();
    let trained = train_watched(shared, target).await?;
    let training_seconds = began.elapsed().as_secs_f64();

    let Candidate { staging, metadata } =
        in_thread(shared, target, move |shared| judge(&shared, target, &trained, training_seconds)).await?;

    // A worker that was given up must not publish: the claim is checked right before the version becomes visible.
    shared.save_target(&metadata, TargetState::Running, None).await?;
    let (metadata, metadata_sha256) = in_thread(shared, target, move |_| Ok(staging.publish(metadata)?)).await?;
    promotion::register(&shared.context.store, Some(shared.claim), &metadata, &metadata_sha256).await?;
    let passed = metadata.verdict.passed;
    if passed {
        let cause = format!("run {} of {} passed its gate", shared.claim.run_id, shared.job.name);
        promotion::bring_into_service(&shared.context, Some(shared.claim), target, metadata.version, &cause).await?;
    }
    let state = if passed { TargetState::Succeeded } else { TargetState::Rejected };
    shared.save_target(&metadata, state, Some(began.elapsed().as_secs_f64())).await?;
    (shared.listener)(Event::Judged {
        target,
        version: metadata.version.to_string(),
        verdict: metadata.verdict.word().to_owned(),
        promoted: passed,
    });
    Ok(passed)
}

/// Trains in a thread of its own; epochs become rows and events, limits are watched.
async fn train_watched(shared: &Arc<Shared>, target: Target) -> Result<Trained, Error> {
    let training = shared.settings.training();
    let (send, mut epochs) = mpsc::unbounded_channel();
    let worker = in_thread(shared, target, move |shared| {
        let (train, validation) = (shared.prepared.train(target), shared.prepared.validation(target));
        train::train(&train, &validation, &training, &shared.stop, |row| {
            // nobody listens any more only when the run is ending anyway
            send.send(*row).unwrap_or_default();
        })
        .map_err(|source| Error::Train { target, source })
    });
    let recorder = async {
        let mut watch = Watch::new(shared.job.alerts);
        let mut tick = tokio::time::interval(TICK);
        let began = Instant::now();
        let alert = |text| (shared.listener)(Event::Alert { target: Some(target), text });
        loop {
            tokio::select! {
                row = epochs.recv() => {
                    let Some(row) = row else { return Ok(()) };
                    shared.context.store.record_epochs(shared.claim, &target.to_string(), &[stored(&row)]).await?;
                    watch.epoch(&row).into_iter().for_each(alert);
                    (shared.listener)(Event::Epoch { target, row, of: training.epochs });
                }
                _ = tick.tick() => watch.clock(began.elapsed()).into_iter().for_each(alert),
            }
        }
    };
    // both to their ends, whichever fails: the thread cannot be abandoned
    let recorder = async {
        let recorded: Result<(), Error> = recorder.await;
        if recorded.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        recorded
    };
    let (trained, recorded) = tokio::join!(worker, recorder);
    recorded?;
    trained
}

/// A version before anyone sees it.
struct Candidate {
    staging: Staging,
    metadata: Metadata,
}

/// Exports, compares, scores through ONNX Runtime and asks the gate. What is judged is the file on the disk.
fn judge(shared: &Shared, target: Target, trained: &Trained, training_seconds: f64) -> Result<Candidate, Error> {
    let registry = &shared.context.registry;
    let validation = shared.prepared.validation(target);
    let in_memory = train::forecast(&trained.network, &validation);
    let weights = trained.network.weights();
    let description = Description {
        target: target.to_string(),
        recipe: shared.settings.recipe.to_string(),
        features: FEATURES.map(str::to_owned).to_vec(),
        steps: STEPS,
        training_data_version: shared.data_version.sha256.clone(),
    };
    let mut staging = registry.stage(target)?;
    staging.write(file::MODEL, &export::to_onnx(&weights, &description))?;

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut session = Session::open(&shared.library, &staging.read(file::MODEL)?, threads)?;
    let exported = session.forecast(validation.len(), |range| validation.batch(range))?;
    let export_difference =
        export::check_parity(&in_memory, &exported).map_err(|source| Error::Parity { target, source })?;
    let scores = evaluate::score(&validation, &exported);
    let verdict = gate::judge(&shared.job.gate, &scores);

    staging.write(file::SCALER, &pretty(&shared.prepared.scalers))?;
    staging.write(file::HISTORY, &pretty(&trained.epochs))?;
    staging.write(file::JOB, shared.job.to_toml().as_bytes())?;
    let metadata = Metadata {
        target,
        version: staging.version(),
        created_at: Utc::now(),
        run_id: shared.claim.run_id,
        framework: format!("burn {}", model::BURN_VERSION),
        model_type: "LSTM".to_owned(),
        recipe: shared.settings.recipe.to_string(),
        training_data_version: shared.data_version.clone(),
        feature_version: shared.settings.recipe.feature_version().to_owned(),
        features: description.features,
        sequence_length: STEPS,
        validation_method: shared.settings.recipe.validation_method().to_owned(),
        seed: shared.settings.seed,
        n_parameters: weights.config.n_parameters(),
        parameters: parameters(&shared.settings),
        epochs: trained.epochs.len(),
        best_epoch: trained.best_epoch,
        training_seconds,
        metrics: scores,
        export_difference,
        performance_threshold: shared.job.gate,
        verdict,
        parent_champion: registry.champion(target)?,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        // filled in from what was written
        files: std::collections::BTreeMap::new(),
    };
    Ok(Candidate { staging, metadata })
}

fn parameters(settings: &Retrain) -> std::collections::BTreeMap<String, serde_json::Value> {
    [
        ("hidden", json!(settings.hidden)),
        ("dense", json!(settings.dense)),
        ("dropout", json!(settings.dropout)),
        ("epochs", json!(settings.epochs)),
        ("patience", json!(settings.patience)),
        ("batch_size", json!(settings.batch_size)),
        ("learning_rate", json!(settings.learning_rate)),
        ("optimizer", json!("adam")),
        ("loss", json!("mse")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("plain structs with text keys are JSON");
    json.push(b'\n');
    json
}

fn stored(row: &train::Epoch) -> store::Epoch {
    store::Epoch {
        attempt: 0, // the claim's counts
        epoch: row.epoch as i64,
        loss: row.loss,
        val_loss: row.val_loss,
        mae: row.mae,
        val_mae: row.val_mae,
        seconds: row.seconds,
    }
}

impl Shared {
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
        Ok(self.context.store.save_target(self.claim, &row).await?)
    }

    async fn record_failure(&self, target: Target, error: &Error) {
        let state = if error.is_cancelled() { TargetState::Cancelled } else { TargetState::Failed };
        let row = RunTarget {
            target: target.to_string(),
            state,
            epochs: None,
            best_epoch: None,
            seconds: None,
            version: None,
            verdict: None,
            reasons: Vec::new(),
            error: Some(format!("failed to {}", super::chain(error))),
        };
        if let Err(unwritten) = self.context.store.save_target(self.claim, &row).await {
            // the run ends with the first error; that this one is not in the table is worth a line
            tracing::warn!(%target, error = %super::chain(&unwritten), "the failure could not be recorded");
        }
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
