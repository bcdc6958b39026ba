//! The training step: in a thread of its own, its epochs written down and watched.

use super::contender::one_after_another;
use super::{Shared, TICK, in_thread, patiently};
use crate::data::Target;
use crate::event::Event;
use crate::run::Error;
use crate::store;
use crate::train::{self, Epoch, Mixed, Trained};
use crate::watch::Watch;
use backon::Retryable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::mpsc;

/// Trains the network of `level`.
pub(super) async fn train_watched(shared: &Arc<Shared>, target: Target) -> Result<Trained, Error> {
    let training = shared.settings.training();
    watched(shared, target, training.epochs, move |shared, on_epoch| {
        let (train, validation) = (shared.prepared.train(target), shared.prepared.validation(target));
        train::train(&train, &validation, &training, &shared.stop, on_epoch)
    })
    .await
}

/// The networks of `increment`: trained once, by the target that asks first; the others wait for them.
pub(super) async fn mixtures(shared: &Arc<Shared>, target: Target) -> Result<Arc<Vec<Mixed>>, Error> {
    let mut trained_here = false;
    let members = shared
        .mixed
        .get_or_try_init(|| {
            trained_here = true;
            train_mixtures(shared, target)
        })
        .await?;
    if !trained_here {
        let rows: Vec<store::Epoch> = one_after_another(members).iter().map(stored).collect();
        let name = target.to_string();
        let write = || shared.context.store.record_epochs(shared.claim, &name, &rows);
        write.retry(patiently()).when(store::Error::is_transient).await?;
    }
    Ok(Arc::clone(members))
}

async fn train_mixtures(shared: &Arc<Shared>, target: Target) -> Result<Arc<Vec<Mixed>>, Error> {
    let training = shared.settings.training();
    let n_members = shared.settings.members as usize;
    let members = watched(shared, target, training.epochs * n_members, move |shared, mut on_epoch| {
        let prepared = &shared.prepared;
        let (pool, counts) = (&prepared.pools[0], prepared.counts().expect("`increment` has a grid"));
        let outlook = pool.watched(counts, &prepared.split.validation);
        let mut members = Vec::with_capacity(n_members);
        for member in 0..n_members {
            let settings = train::Settings { seed: training.seed + member as u64, ..training };
            let earlier = member * training.epochs;
            let on_epoch = |row: &Epoch| on_epoch(&Epoch { epoch: row.epoch + earlier, ..*row });
            members.push(train::train_mixture(pool, &outlook, &settings, &shared.stop, on_epoch)?);
        }
        Ok(members)
    })
    .await?;
    Ok(Arc::new(members))
}

/// Trains in a thread of its own; epochs become rows and events, limits are watched.
async fn watched<T: Send + 'static>(
    shared: &Arc<Shared>,
    target: Target,
    n_epochs: usize,
    train: impl FnOnce(&Shared, Box<dyn FnMut(&Epoch)>) -> Result<T, train::Error> + Send + 'static,
) -> Result<T, Error> {
    let name = target.to_string();
    let (send, mut epochs) = mpsc::unbounded_channel();
    let worker = in_thread(shared, target, move |shared| {
        let on_epoch = Box::new(move |row: &Epoch| {
            // nobody listens any more only when the run is ending anyway
            send.send(*row).unwrap_or_default();
        });
        train(&shared, on_epoch).map_err(|source| Error::Train { target, source })
    });
    let recorder = async {
        let mut watch = Watch::new(shared.job.alerts);
        let mut tick = tokio::time::interval(TICK);
        let began = Instant::now();
        let mut unwritten = Vec::new();
        let alert = |text| (shared.listener)(Event::Alert { target: Some(target), text });
        loop {
            tokio::select! {
                row = epochs.recv() => {
                    let Some(row) = row else { break };
                    unwritten.push(stored(&row));
                    record(shared, target, &mut unwritten).await?;
                    watch.epoch(&row).into_iter().for_each(alert);
                    (shared.listener)(Event::Epoch { target, row, of: n_epochs });
                }
                _ = tick.tick() => watch.clock(began.elapsed()).into_iter().for_each(alert),
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
    recorded?;
    trained
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
