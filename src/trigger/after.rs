//! `after` trigger. In: how a run of another job ended. Out: due, or not.

use crate::document::Flaw;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `[trigger.after]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// The other job.
    pub job: String,
    /// Which of its ends count. Default: `success`.
    #[serde(default)]
    pub on: On,
}

/// Which ends of a run count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// Only when it succeeded.
    #[default]
    Success,
    /// However it ended, unless a person cancelled it.
    End,
}

impl After {
    /// Whether a run that ended in `state` (`succeeded`, `rejected`, `failed`, …) makes this one due.
    pub fn due(&self, state: &str) -> bool {
        match self.on {
            On::Success => state == "succeeded",
            On::End => state != "cancelled",
        }
    }

    pub(super) fn check(&self) -> Vec<Flaw> {
        if self.job.is_empty() {
            return vec![Flaw::at("job", "names no job")];
        }
        Vec::new()
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = match self.on {
            On::Success => "succeeded",
            On::End => "ended",
        };
        write!(f, "after {} {on}", self.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_as_the_file_says() {
        let check = |text: &str, states: [bool; 5]| {
            let after: After = toml_edit::de::from_str(text).expect("settings");
            let found = ["succeeded", "rejected", "failed", "timed_out", "cancelled"].map(|state| after.due(state));
            assert_eq!(found, states, "{text}");
        };
        check("job = \"a\"", [true, false, false, false, false]);
        check("job = \"a\"\non = \"end\"", [true, true, true, true, false]);
    }
}
