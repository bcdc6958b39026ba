//! Runs whose process is gone: killed, out of memory, or the host restarted under them.

use super::{Error, Outcome, Owner, Result, Run, Store};

/// What such a run ends with.
const GONE: &str = "the process that ran it is gone (killed or the host restarted)";

impl Store {
    /// Marks running runs as failed whose owner is not alive, and returns them as they were. Runs that a daemon started are
    /// left to it: it may take them up again.
    ///
    /// `is_alive` is [`Owner::is_alive`] outside of tests.
    pub async fn reap(&self, is_alive: impl Fn(&Owner) -> bool) -> Result<Vec<Run>> {
        let mut reaped = Vec::new();
        for run in self.running_runs().await? {
            let Some(claim) = run.claim() else { continue };
            if run.supervised || run.owner.as_ref().is_none_or(&is_alive) {
                continue;
            }
            match self.finish_run(claim, &Outcome::Failed(GONE.to_owned())).await {
                Ok(()) => reaped.push(run),
                // Ended, or taken up by a new attempt, since it was read: no longer ours to judge.
                Err(Error::Fenced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reaped)
    }
}
