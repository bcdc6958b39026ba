//! `[run]`: how a job's runs are run.

use super::spec::positive;
use crate::store::RunState;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[run]`. Every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What becomes of a start while the job is running or waiting. Default: `skip`.
    pub overlap: Overlap,
    /// Longest time that one attempt may take. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::duration::optional")]
    pub timeout: Option<Duration>,
    /// Attempts at most, when they end by a passing error (a database that is away, a lock, a full disk) or the worker dies;
    /// 1 to 1000000. Other errors are never tried again. Default: 3.
    #[serde(deserialize_with = "positive::<_, 1_000_000>")]
    pub attempts: u32,
    /// Pause before the second attempt; each further one is twice as long. Default: `30s`.
    #[serde(with = "crate::duration")]
    pub retry_delay: Duration,
    /// Longest pause between attempts. Default: `15m`.
    #[serde(with = "crate::duration")]
    pub retry_delay_max: Duration,
    /// How often a run may be cut short by others (the daemon stops or dies, the host restarts) and go on; 1 to 1000000. A
    /// run that takes the host down with it must end some time. Default: 100.
    #[serde(deserialize_with = "positive::<_, 1_000_000>")]
    pub interruptions: u32,
    /// Failures in a row after which the job is paused; 0: never. Default: 5.
    pub pause_after_failures: u32,
    /// Where attempts run. Default: `local`.
    pub executor: Executor,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            overlap: Overlap::Skip,
            timeout: None,
            attempts: 3,
            retry_delay: Duration::from_secs(30),
            retry_delay_max: Duration::from_mins(15),
            interruptions: 100,
            pause_after_failures: 5,
            executor: Executor::Local,
        }
    }
}

/// `overlap`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Nothing is started.
    #[default]
    Skip,
    /// One run waits for the present one to end; further ones are that same one.
    Queue,
    /// The present run is cancelled.
    Cancel,
}

/// Where attempts run: one file each in `executor/`, one line here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// As a process of this host.
    #[default]
    Local,
}

impl Policy {
    /// The pause after the `n`-th failed attempt, counted from 1.
    pub fn pause(&self, n: u32) -> Duration {
        self.retry_delay.saturating_mul(2u32.saturating_pow(n.saturating_sub(1))).min(self.retry_delay_max)
    }

    /// Whether the job is to be paused, given its last runs' states, newest first. Cancelled runs say nothing about it.
    pub fn is_failing(&self, newest_first: &[RunState]) -> bool {
        let failures = newest_first
            .iter()
            .filter(|state| **state != RunState::Cancelled)
            .take_while(|state| matches!(state, RunState::Failed | RunState::TimedOut))
            .count();
        self.pause_after_failures > 0 && failures >= self.pause_after_failures as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let policy = Policy::default();
        let seconds: Vec<u64> = [1, 2, 3, 5, 6, 40].map(|n| policy.pause(n).as_secs()).to_vec();
        assert_eq!(seconds, [30, 60, 120, 480, 900, 900]);
    }

    #[test]
    fn a_job_is_failing_after_failures_in_a_row() {
        use RunState::{Cancelled, Failed, Succeeded, TimedOut};
        let policy = Policy { pause_after_failures: 2, ..Policy::default() };
        for (states, expected) in [
            (&[Failed, TimedOut][..], true),
            (&[Failed, Cancelled, Failed], true),
            (&[Failed, Succeeded, Failed], false),
            (&[Failed], false),
            (&[], false),
        ] {
            assert_eq!(policy.is_failing(states), expected, "{states:?}");
        }
        assert!(!Policy { pause_after_failures: 0, ..policy }.is_failing(&[Failed; 9]));
    }
}
