//! The one place through which everything worth telling goes: a line in the log, and an alert where people are to know.

use super::core::Notice;
use crate::alert::{self, Condition, Rule};
use crate::job::Alerts;
use crate::run::{Context, chain};
use crate::store;

/// Tells people. An alert that cannot be written down must not hold up the schedule: it is in the log all the same.
pub(super) async fn tell(context: &Context, alerts: Option<&Alerts>, notice: &Notice) {
    log(notice);
    if let Err(error) = alert(context, alerts, notice).await {
        tracing::warn!(error = %chain(&error), "this alert could not be written down");
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Missed { job, n, last } => {
            tracing::warn!(%job, n, %last, "scheduled times passed and no run was started for them");
        }
        Notice::Failed { job, run_id, error } => {
            tracing::error!(%job, run_id, %error, "the run failed and is not tried again");
        }
        Notice::Paused { job, because } => {
            tracing::error!(%job, %because, "the job is paused; `retraind resume` lets its triggers start runs again");
        }
        Notice::Degraded { job, target, version, ratio } => {
            tracing::warn!(%job, %target, %version, ratio, "the version in service has become worse");
        }
        Notice::Broken { job, problem } => {
            tracing::error!(%job, "the job's file is broken; what it was before stays in force\n{problem}");
        }
        Notice::Mended { job } => tracing::info!(%job, "the job's file is right again"),
        Notice::OutOfMemory { job, run_id } => {
            tracing::error!(%job, run_id, "the kernel killed the worker because memory ran out");
        }
    }
}

/// What people are told besides. `alerts`: what the job's file says of them, where there is one to go by.
async fn alert(context: &Context, alerts: Option<&Alerts>, notice: &Notice) -> Result<(), store::Error> {
    let defaults = Alerts::default();
    let wanted = alerts.unwrap_or(&defaults);
    let store = &context.store;
    let condition = match notice {
        Notice::Missed { job, n, last } if wanted.missed_fire => {
            let why = match n {
                1 => "no daemon was there to start it".to_owned(),
                n => format!("no daemon was there to start it, nor {} before it", n - 1),
            };
            Condition::missed_fire(job, *last, &why)
        }
        Notice::Paused { job, because } => Condition::paused(job, because),
        Notice::Degraded { job, target, version, ratio } if wanted.degradation => {
            let value = format!("its error is {ratio:.2} × what it was at its promotion");
            Condition::degradation(job, target, version, &value, "as `[trigger.degradation]` of the job says")
        }
        Notice::Broken { job, problem } => Condition::job_file_broken(job, problem),
        Notice::Mended { job } => {
            alert::resolve(store, Rule::JobFileBroken, job, None, "the job file is right again").await?;
            return Ok(());
        }
        // the watcher tells of runs that ended or were killed, whoever ran them
        Notice::Failed { .. } | Notice::OutOfMemory { .. } | Notice::Missed { .. } | Notice::Degraded { .. } => {
            return Ok(());
        }
    };
    alert::raise(store, &condition.addressed(wanted)).await?;
    Ok(())
}

/// A version that was found worse and is no longer.
pub(super) async fn well_again(context: &Context, job: &str, target: &str, version: &str) {
    let how = format!("the last evaluation of {version} is within the limit");
    if let Err(error) = alert::resolve(&context.store, Rule::Degradation, job, Some(target), &how).await {
        tracing::warn!(error = %chain(&error), "that an alert is over could not be written down");
    }
}
