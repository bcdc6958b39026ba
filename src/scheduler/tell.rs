//! The one place through which everything worth telling goes.

use super::core::Notice;
use crate::alert::{self, Condition, Rule};
use crate::job::{self, Alerts};
use crate::run::{Context, chain};
use crate::store;

/// Tells people: in the log, and as an alert.
pub(super) async fn tell(context: &Context, notice: &Notice) {
    say(notice);
    if let Err(error) = raise(context, notice).await {
        tracing::error!(error = %chain(&error), "this could not be raised as an alert");
    }
}

/// Runs that failed and workers killed for memory are raised by whoever watches the runs, from their rows.
async fn raise(context: &Context, notice: &Notice) -> Result<(), store::Error> {
    let limits =
        |job: &str| job::find(&context.settings.jobs.dir, job, &[]).map_or_else(|_| Alerts::default(), |j| j.alerts);
    let (job, wanted, condition) = match notice {
        Notice::Failed { .. } | Notice::OutOfMemory { .. } => return Ok(()),
        Notice::Mended { job } => {
            return alert::resolve(&context.store, Rule::JobFileBroken, job, None, "the file is right again")
                .await
                .map(|_| ());
        }
        Notice::Missed { job, n, last } => {
            let why = format!("{n} scheduled time(s) passed and no run was started for them");
            (job, limits(job).missed_fire, Condition::missed_fire(job, *last, &why))
        }
        Notice::Paused { job, because } => (job, true, Condition::paused(job, because)),
        Notice::Degraded { job, target, version, ratio } => {
            let value = format!("its error is {ratio:.2} times what it was");
            let limit = "the ratio of the job's [trigger.degradation]";
            (job, limits(job).degradation, Condition::degradation(job, target, version, &value, limit))
        }
        Notice::Broken { job, problem } => (job, true, Condition::job_file_broken(job, problem)),
    };
    if wanted {
        alert::raise(&context.store, &condition.addressed(&limits(job))).await?;
    }
    Ok(())
}

fn say(notice: &Notice) {
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
