//! The one place through which everything worth telling goes.

use super::core::Notice;
use crate::run::Context;

/// Tells people: in the log, and as an alert.
#[expect(clippy::unused_async, reason = "alerts are rows in the state database")]
pub(super) async fn tell(_context: &Context, notice: &Notice) {
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
