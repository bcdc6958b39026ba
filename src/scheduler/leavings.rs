//! What runs leave in the directory of runs: the checkpoints of those that ended unseen, and after a year everything.

use super::Error;
use crate::executor::local;
use crate::run::{Context, chain};
use crate::store;
use chrono::{TimeDelta, Utc};
use std::time::Duration;

const EVERY: Duration = Duration::from_hours(24);

/// Removes checkpoints of runs that ended while nobody was there to do it.
pub(super) async fn remove_checkpoints(context: &Context) -> Result<(), Error> {
    let settings = &context.settings;
    let failed = |source| Error::Os { doing: "remove checkpoints", source };
    for run_id in local::unclean(settings).map_err(failed)? {
        match context.store.run(run_id).await {
            Ok(run) if run.state.is_final() => local::clean_up(settings, run_id).map_err(failed)?,
            // somebody works on it, or will; or it is another database's
            Ok(_) | Err(store::Error::NoSuchRun(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes directories that have been kept for long enough, now and once a day, until it is dropped.
pub(super) async fn tend(context: Context) {
    let mut days = tokio::time::interval(EVERY);
    loop {
        days.tick().await;
        match remove_old(&context).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "directories of runs that ended longer ago than `[runs] keep_for` are removed"),
            Err(error) => tracing::warn!(error = %chain(&error), "old directories of runs could not be removed"),
        }
    }
}

async fn remove_old(context: &Context) -> Result<usize, Error> {
    let failed = |source| Error::Os { doing: "remove old directories of runs", source };
    // ten years at most, so that it is always a date
    let until = Utc::now() - TimeDelta::from_std(context.settings.runs.keep_for).unwrap_or(TimeDelta::MAX);
    let mut n = 0;
    for run_id in local::directories(&context.settings).map_err(failed)? {
        match context.store.run(run_id).await {
            Ok(run) if run.ended_at.is_some_and(|ended| ended < until) => {
                let directory = context.settings.runs.of(run_id);
                // it may hold what a program wrote for an hour
                let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
                removed.unwrap_or_else(|panic| Err(std::io::Error::other(panic))).map_err(failed)?;
                n += 1;
            }
            // whatever was queued later ended later
            Ok(run) if run.queued_at >= until => break,
            Ok(_) | Err(store::Error::NoSuchRun(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(n)
}
