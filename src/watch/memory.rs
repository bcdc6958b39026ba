//! Memory: percentages go in, what begins to hold and what is over come out.

use super::{Change, Finding, Rule};
use chrono::{DateTime, Utc};

/// How far below its limit memory must get before it is told as over: without it, use that hovers about the limit would
/// fire and recover by turns. Unit: percent.
pub const MARGIN: f64 = 5.0;

/// What has been seen of the memory while one run goes on.
#[derive(Clone, Debug)]
pub struct MemoryWatch {
    limit: Option<f64>,
    holds: bool,
}

impl MemoryWatch {
    /// `holds` says that it was told as firing before, by a watcher that is gone.
    pub fn new(limit: Option<f64>, holds: bool) -> Self {
        Self { limit, holds }
    }

    /// A sample: used memory in percent of what there is, at that time.
    pub fn sample(&mut self, percent: f64, at: DateTime<Utc>) -> Option<Change> {
        let limit = self.limit?;
        match self.holds {
            false if percent > limit => {
                self.holds = true;
                Some(Change::Holds(Finding {
                    rule: Rule::MemoryAbovePercent,
                    onset: format!("memory at {}", at.to_rfc3339()),
                    epoch: None,
                    summary: format!("{percent:.0} % of the memory is in use"),
                    value: format!("{percent:.1} %"),
                    limit: format!("{limit} %"),
                }))
            }
            true if percent < limit - MARGIN => {
                self.holds = false;
                let how = format!("{percent:.0} % of the memory is in use");
                // whatever it began with: a watcher that is gone may have seen it begin
                Some(Change::Over { rule: Rule::MemoryAbovePercent, onset: None, how })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds percentages; expects `+` where it begins to hold and `-` where it is over.
    fn check(limit: Option<f64>, samples: &[f64], expected: &str) {
        let mut watch = MemoryWatch::new(limit, false);
        let found: String = samples
            .iter()
            .map(|&percent| match watch.sample(percent, Utc::now()) {
                None => '.',
                Some(Change::Holds(_)) => '+',
                Some(Change::Over { .. }) => '-',
            })
            .collect();
        assert_eq!(found, expected, "{samples:?}");
    }

    #[test]
    fn fires_above_the_limit_and_recovers_well_below_it() {
        check(Some(80.0), &[79.0, 80.0, 80.1, 99.0, 79.0, 75.0, 74.9, 60.0], "..+...-.");
        check(Some(80.0), &[81.0, 79.0, 81.0, 76.0, 81.0], "+....");
        check(Some(80.0), &[81.0, 70.0, 81.0, 70.0], "+-+-");
        check(None, &[100.0, 0.0], "..");
    }
}
