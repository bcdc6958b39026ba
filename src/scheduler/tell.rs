//! The one place through which everything worth telling goes: a line in the log, and an alert where people are to know.

use super::core::Notice;
use crate::alert::{self, Condition, Rule};
use crate::host::Cgroup;
use crate::job::Alerts;
use crate::store::{self, Store};

/// Tells people: in the log, and as an alert, to those whom the job names. Err: it is not written down, and told again later.
pub(super) async fn tell(store: &Store, alerts: Option<&Alerts>, notice: &Notice) -> Result<(), store::Error> {
    log(notice);
    let defaults = Alerts::default();
    let wanted = alerts.unwrap_or(&defaults);
    let condition = match notice {
        // the watcher of ended runs tells of it, also when it ended while no daemon was there
        Notice::Failed { .. } => return Ok(()),
        Notice::Missed { .. } if !wanted.missed_fire => return Ok(()),
        Notice::Degraded { .. } if !wanted.degradation => return Ok(()),
        Notice::OutOfMemory { .. } if !wanted.out_of_memory => return Ok(()),
        Notice::Missed { job, n, last } => {
            Condition::missed_fire(job, *last, &format!("nobody scheduled then; {n} due time(s) passed"))
        }
        Notice::Paused { job, because } => Condition::paused(job, because),
        Notice::Resumed { job } => {
            return alert::resolve(store, Rule::Paused, job, None, "it was resumed").await.map(drop);
        }
        Notice::Degraded { job, target, version, ratio, limit } => {
            let value = format!("its MAE is {ratio:.2} times that at promotion");
            Condition::degradation(
                job,
                target,
                version,
                &value,
                &format!("{limit} (`[trigger.degradation] mae_ratio`)"),
            )
        }
        Notice::Broken { job, problem } => Condition::job_file_broken(job, problem),
        Notice::Mended { job } => {
            return alert::resolve(store, Rule::JobFileBroken, job, None, "the file is right again").await.map(drop);
        }
        Notice::OutOfMemory { run_id, .. } => {
            let run = store.run(*run_id).await?;
            // workers are in the daemon's own group
            let group = Cgroup::of(std::process::id());
            let limit = group.as_ref().and_then(Cgroup::usage);
            let limit = limit.map_or_else(|| "the host's memory".to_owned(), |(_, limit)| format!("{limit} bytes"));
            let place = group.map_or_else(String::new, |group| group.path().display().to_string());
            Condition::out_of_memory(&run, run.attempt, &place, &limit)
        }
    };
    alert::raise(store, &condition.addressed(wanted)).await.map(drop)
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
        Notice::Resumed { job } => tracing::info!(%job, "the job is resumed"),
        Notice::Degraded { job, target, version, ratio, .. } => {
            tracing::warn!(%job, %target, %version, ratio, "the version in service has become worse");
        }
        Notice::Broken { job, problem } => {
            tracing::error!(%job, "the file of {job} is broken; what it was before, if anything, stays in force\n{problem}");
        }
        Notice::Mended { job } => tracing::info!(%job, "the job's file is right again"),
        Notice::OutOfMemory { job, run_id } => {
            tracing::error!(%job, run_id, "the kernel killed the worker because memory ran out");
        }
    }
}

/// A version that was found worse and is no longer.
pub(super) async fn well_again(store: &Store, job: &str, target: &str, version: &str) -> Result<(), store::Error> {
    let how = format!("the last evaluation of {version} is within the limit");
    alert::resolve(store, Rule::Degradation, job, Some(target), &how).await.map(drop)
}
