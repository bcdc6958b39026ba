//! Watching: epochs, clocks and memory go in, what begins to hold and what is over come out.
//!
//! Pure rules: each is a function of limits and of what was seen. Whoever watches reads epochs and start times from the
//! state database, so that nothing here depends on the training getting on.

mod memory;
mod rule;
mod training;

pub use memory::{MARGIN, MemoryWatch};
pub use rule::{Rule, Severity};
pub use training::TrainingWatch;

use std::time::Duration;

/// What a rule says when it is looked at again.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It holds from now on.
    Holds(Finding),
    /// It holds no longer.
    Over {
        /// Which.
        rule: Rule,
        /// The onset that it began with; none: any.
        onset: Option<String>,
        /// How it came to an end, in words.
        how: String,
    },
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Which occurrence, within what is watched: the same whenever the same epochs are read again.
    pub onset: String,
    /// The epoch that decided it, from 1.
    pub epoch: Option<i64>,
    /// One line: what is the matter.
    pub summary: String,
    /// What was measured.
    pub value: String,
    /// What was asked.
    pub limit: String,
}

/// `5m 3s`, to the second: people read it.
pub fn time(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Whether a run has gone on for longer than it may.
pub fn run_longer_than(limit: Option<Duration>, elapsed: Duration) -> Option<Finding> {
    let limit = limit.filter(|limit| elapsed > *limit)?;
    Some(Finding {
        rule: Rule::RunLongerThan,
        onset: "started".to_owned(),
        epoch: None,
        summary: format!("the run has been going on for longer than {}", time(limit)),
        value: time(elapsed),
        limit: time(limit),
    })
}
