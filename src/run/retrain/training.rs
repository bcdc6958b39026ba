//! The training step: in a thread of its own, its epochs written down and watched.

use super::contender::one_after_another;
use super::{Shared, in_thread, patiently};
use crate::data::Target;
use crate::event::Event;
use crate::run::Error;
use crate::store;
use crate::train::{self, Conditions, Epoch, Mixed, Progress, Trained};
use backon::Retryable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// What a training said that is written down by one transaction, at most.
const BATCH: usize = 1_000;

/// What the training's thread tells.
enum Told {
    Epoch(Epoch),
    Windows { epoch: usize, done: usize, of: usize, loss: f64 },
    Resumed { rows: Vec<store::Epoch>, windows: usize },
    Note(String),
}

/// Trains the network of `level`.
pub(super) async fn train_watched(shared: &Arc<Shared>, target: Target) -> Result<Trained, Error> {
    let training = shared.settings.training();
    let n_epochs = training.epochs;
    watched(shared, target, n_epochs, move |shared, tell| {
        let (train, validation) = (shared.prepared.train(target), shared.prepared.validation(target));
        let checkpoint = shared.checkpoint(&target.to_string(), &training, [train.len(), validation.len()]);
        let conditions = Conditions { stop: &shared.stop, budget: &shared.budget, checkpoint: Some(&checkpoint) };
        train::train(&train, &validation, &training, conditions, tell)
    })
    .await
}

/// The networks of `increment`: trained once, for whichever target asks first; the others wait for them.
pub(super) async fn mixtures(shared: &Arc<Shared>, target: Target) -> Result<Arc<Vec<Mixed>>, Error> {
    let members = shared.mixed.get_or_try_init(|| train_mixtures(shared, shared.lead)).await?;
    if target != shared.lead {
        let rows: Vec<store::Epoch> = one_after_another(members).iter().map(stored).collect();
        let name = target.to_string();
        let write = || shared.context.store.record_epochs(shared.claim, &name, &rows);
        write.retry(patiently()).when(store::Error::is_transient).await?;
    }
    Ok(Arc::clone(members))
}

/// The same without an LSTM layer: a challenger, whose epochs are in its `history.json` only.
pub(super) async fn dense_mixtures(shared: &Arc<Shared>, target: Target) -> Result<Arc<Vec<Mixed>>, Error> {
    let train = || async {
        let work = move |shared: Arc<Shared>| {
            let training = train::Settings { hidden: 0, ..shared.settings.training() };
            members(&shared, &training, "dense", |_| ()).map_err(|source| Error::Train { target, source })
        };
        Ok::<_, Error>(Arc::new(in_thread(shared, target, work).await?))
    };
    Ok(Arc::clone(shared.dense.get_or_try_init(train).await?))
}

async fn train_mixtures(shared: &Arc<Shared>, target: Target) -> Result<Arc<Vec<Mixed>>, Error> {
    let training = shared.settings.training();
    let n_epochs = training.epochs * shared.settings.members as usize;
    let members =
        watched(shared, target, n_epochs, move |shared, mut tell| members(shared, &training, "mixture", &mut *tell));
    Ok(Arc::new(members.await?))
}

/// As many networks as the job wants, from as many seeds; their epochs are counted on.
fn members(
    shared: &Shared,
    training: &train::Settings,
    name: &str,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Vec<Mixed>, train::Error> {
    let prepared = &shared.prepared;
    let (pool, counts) = (&prepared.pools[0], prepared.counts().expect("`increment` has a grid"));
    let outlook = pool.watched(counts, &prepared.split.validation);
    let mut members = Vec::new();
    for member in 0..shared.settings.members as usize {
        let settings = train::Settings { seed: training.seed + member as u64, ..training.clone() };
        let earlier = member * training.epochs;
        let checkpoint = shared.checkpoint(&format!("{name}-{member}"), &settings, [pool.n, outlook.n]);
        let later = |row: &Epoch| Epoch { epoch: row.epoch + earlier, ..*row };
        let tell = |progress: Progress<'_>| match progress {
            Progress::Epoch(row) => tell(Progress::Epoch(&later(row))),
            Progress::Resumed { epochs, windows } => {
                tell(Progress::Resumed { epochs: &epochs.iter().map(later).collect::<Vec<_>>(), windows });
            }
            Progress::Windows { epoch, done, of, loss } => {
                tell(Progress::Windows { epoch: epoch + earlier, done, of, loss });
            }
            other => tell(other),
        };
        members.push(train::train_mixture(pool, &outlook, &settings, &shared.stop, Some(&checkpoint), tell)?);
    }
    Ok(members)
}

/// Trains in a thread of its own; epochs become rows and events. Its beginning and its end are written down, so that
/// limits can be watched from outside: a training that hangs cannot tell.
async fn watched<T: Send + 'static>(
    shared: &Arc<Shared>,
    target: Target,
    n_epochs: usize,
    train: impl FnOnce(&Shared, Box<dyn FnMut(Progress<'_>)>) -> Result<T, train::Error> + Send + 'static,
) -> Result<T, Error> {
    let name = target.to_string();
    let (send, mut told) = mpsc::unbounded_channel();
    mark(shared, target, false).await?;
    let worker = in_thread(shared, target, move |shared| {
        let tell = Box::new(move |progress: Progress<'_>| {
            // nobody listens any more only when the run is ending anyway
            send.send(told_of(progress)).unwrap_or_default();
        });
        train(&shared, tell).map_err(|source| Error::Train { target, source })
    });
    let recorder = async {
        let (mut unwritten, mut said) = (Vec::new(), Vec::new());
        // all that came meanwhile at once: epochs of a small network come faster than transactions
        while told.recv_many(&mut said, BATCH).await > 0 {
            for told in said.drain(..) {
                match told {
                    Told::Epoch(row) => {
                        unwritten.push(stored(&row));
                        (shared.listener)(Event::Epoch { target, row, of: n_epochs });
                    }
                    Told::Windows { epoch, done, of, loss } => {
                        (shared.listener)(Event::Windows { target, epoch, epochs: n_epochs, done, of, loss });
                    }
                    Told::Resumed { rows, windows } => {
                        let text =
                            format!("{target}: goes on after {} epochs and {windows} windows of the next", rows.len());
                        (shared.listener)(Event::Remark(text));
                        // the checkpoint is ahead of the table by what was on its way there when the last attempt was killed
                        let read = || shared.context.store.epochs(shared.claim.run_id, &name);
                        let known = read.retry(patiently()).when(store::Error::is_transient).await?;
                        let is_known = |row: &store::Epoch| known.iter().any(|one| one.epoch == row.epoch);
                        unwritten.extend(rows.into_iter().filter(|row| !is_known(row)));
                    }
                    Told::Note(text) => (shared.listener)(Event::Remark(format!("{target}: {text}"))),
                }
            }
            if !unwritten.is_empty() {
                record(shared, target, &mut unwritten).await?;
            }
        }
        // the last chance: from here on a database that is away fails the run
        let write = || shared.context.store.record_epochs(shared.claim, &name, &unwritten);
        Ok(write.retry(patiently()).when(store::Error::is_transient).await?)
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
    let marked = mark(shared, target, true).await;
    recorded?;
    let trained = trained?;
    marked?;
    Ok(trained)
}

/// Writes down that a training begins or has ended.
async fn mark(shared: &Shared, target: Target, ended: bool) -> Result<(), Error> {
    let target = target.to_string();
    let write = || shared.context.store.mark_training(shared.claim, &target, ended);
    Ok(write.retry(patiently()).when(store::Error::is_transient).await?)
}

fn told_of(progress: Progress<'_>) -> Told {
    match progress {
        Progress::Epoch(row) => Told::Epoch(*row),
        Progress::Windows { epoch, done, of, loss } => Told::Windows { epoch, done, of, loss },
        Progress::Resumed { epochs, windows } => Told::Resumed { rows: epochs.iter().map(stored).collect(), windows },
        Progress::StartsOver(error) => {
            Told::Note(format!("starts over, since it failed to {}", crate::run::chain(&error)))
        }
        Progress::NotSaved(error) => {
            tracing::warn!(error = %crate::run::chain(&error), "no checkpoint could be written");
            Told::Note(format!("trains on without a checkpoint: failed to {}", crate::run::chain(&error)))
        }
    }
}

/// Writes epochs down; where the database is away for a moment, they wait for the next one.
async fn record(shared: &Shared, target: Target, unwritten: &mut Vec<store::Epoch>) -> Result<(), Error> {
    match shared.context.store.record_epochs(shared.claim, &target.to_string(), unwritten).await {
        Ok(()) => unwritten.clear(),
        Err(error) if error.is_transient() => {
            tracing::warn!(%target, error = %crate::run::chain(&error), "epochs could not be recorded yet");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn stored(row: &train::Epoch) -> store::Epoch {
    store::Epoch {
        attempt: 0, // the claim's counts
        epoch: row.epoch as i64,
        loss: row.loss,
        val_loss: row.val_loss,
        mae: row.mae,
        val_mae: row.val_mae,
        fixed_loss: row.fixed_loss,
        seconds: row.seconds,
    }
}
