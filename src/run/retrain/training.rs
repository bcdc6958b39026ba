//! The training step: in a thread of its own, its epochs written down and watched.

use super::{Shared, in_thread, patiently};
use crate::data::Target;
use crate::event::Event;
use crate::run::Error;
use crate::store;
use crate::train::{self, Conditions, Epoch, Progress, Trained};
use backon::Retryable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// What the training's thread tells.
enum Told {
    Epoch(Epoch),
    Windows { epoch: usize, done: usize, of: usize, loss: f64 },
    Note(String),
}

/// Trains in a thread of its own; epochs become rows and events. Its beginning and its end are written down, so that
/// limits can be watched from outside: a training that hangs cannot tell.
pub(super) async fn train_watched(shared: &Arc<Shared>, target: Target) -> Result<Trained, Error> {
    let training = shared.settings.training();
    let n_epochs = training.epochs;
    let name = target.to_string();
    let (send, mut told) = mpsc::unbounded_channel();
    mark(shared, target, false).await?;
    let worker = in_thread(shared, target, move |shared| {
        let (train, validation) = (shared.prepared.train(target), shared.prepared.validation(target));
        let checkpoint = shared.checkpoint(target);
        let conditions = Conditions { stop: &shared.stop, budget: &shared.budget, checkpoint: Some(&checkpoint) };
        train::train(&train, &validation, &training, conditions, |progress| {
            // nobody listens any more only when the run is ending anyway
            send.send(told_of(progress)).unwrap_or_default();
        })
        .map_err(|source| Error::Train { target, source })
    });
    let recorder = async {
        let mut unwritten = Vec::new();
        while let Some(told) = told.recv().await {
            match told {
                Told::Epoch(row) => {
                    unwritten.push(stored(&row));
                    record(shared, target, &mut unwritten).await?;
                    (shared.listener)(Event::Epoch { target, row, of: n_epochs });
                }
                Told::Windows { epoch, done, of, loss } => {
                    (shared.listener)(Event::Windows { target, epoch, epochs: n_epochs, done, of, loss });
                }
                Told::Note(text) => (shared.listener)(Event::Remark(format!("{target}: {text}"))),
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
        Progress::Resumed { epochs, windows } => {
            Told::Note(format!("goes on after {} epochs and {windows} windows of the next", epochs.len()))
        }
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
