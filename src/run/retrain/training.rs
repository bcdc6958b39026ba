//! The training step: in a thread of its own, its epochs written down and watched.

use super::{Shared, in_thread, patiently};
use crate::data::Target;
use crate::event::Event;
use crate::run::Error;
use crate::store;
use crate::train::{self, Trained};
use backon::Retryable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Trains in a thread of its own; epochs become rows and events. Its beginning and its end are written down, so that
/// limits can be watched from outside: a training that hangs cannot tell.
pub(super) async fn train_watched(shared: &Arc<Shared>, target: Target) -> Result<Trained, Error> {
    let training = shared.settings.training();
    let name = target.to_string();
    let (send, mut epochs) = mpsc::unbounded_channel();
    mark(shared, target, false).await?;
    let worker = in_thread(shared, target, move |shared| {
        let (train, validation) = (shared.prepared.train(target), shared.prepared.validation(target));
        train::train(&train, &validation, &training, &shared.stop, |row| {
            // nobody listens any more only when the run is ending anyway
            send.send(*row).unwrap_or_default();
        })
        .map_err(|source| Error::Train { target, source })
    });
    let recorder = async {
        let mut unwritten = Vec::new();
        while let Some(row) = epochs.recv().await {
            unwritten.push(stored(&row));
            record(shared, target, &mut unwritten).await?;
            (shared.listener)(Event::Epoch { target, row, of: training.epochs });
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
        seconds: row.seconds,
    }
}
