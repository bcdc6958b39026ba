//! `data_volume` trigger. In: rows newer than the training data, when the job last ran. Out: due, or why not.

use super::Waiting;
use crate::document::Flaw;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// `[trigger.data_volume]`: when enough rows have arrived that the newest models were not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataVolume {
    /// Rows needed. Unit: rows; at least 1. Default: 1001, "more than 1000".
    #[serde(default = "rows")]
    pub min_new_rows: NonZeroU32,
    /// How often they are counted. Default: `5m`.
    #[serde(default = "five_minutes", with = "crate::duration")]
    pub poll: Duration,
    /// Shortest time between the end of a run of this job and the next start by this trigger. Default: `1h`.
    #[serde(default = "an_hour", with = "crate::duration")]
    pub cool_down: Duration,
}

fn rows() -> NonZeroU32 {
    NonZeroU32::new(1_001).unwrap_or(NonZeroU32::MIN)
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

fn an_hour() -> Duration {
    Duration::from_hours(1)
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Rows later than the watermark of the training data, counted as far as there are enough.
    pub new_rows: u64,
    /// When the job's last run ended.
    pub last_ended: Option<DateTime<Utc>>,
}

impl DataVolume {
    /// Whether a run is due. Err: why not.
    pub fn due(&self, seen: Seen, now: DateTime<Utc>) -> Result<(), Waiting> {
        let need = u64::from(self.min_new_rows.get());
        if seen.new_rows < need {
            return Err(Waiting(format!("{} of {need} new rows", seen.new_rows)));
        }
        let cool_down = TimeDelta::from_std(self.cool_down).unwrap_or(TimeDelta::MAX);
        // an end in the future: the clock was set back, and waiting for it to come again could take years
        let since = seen.last_ended.map(|ended| now - ended).filter(|since| *since >= TimeDelta::zero());
        match since {
            Some(since) if since < cool_down => Err(Waiting(format!(
                "at least {} new rows, and the last run ended only {} s ago",
                seen.new_rows,
                since.num_seconds()
            ))),
            _ => Ok(()),
        }
    }

    #[expect(clippy::unused_self, reason = "every trigger is asked, and serde has checked all there is here")]
    pub(super) fn check(&self) -> Vec<Flaw> {
        Vec::new()
    }
}

impl fmt::Display for DataVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} new rows", self.min_new_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(new_rows: u64, ended_secs_ago: Option<i64>, expected: Result<(), &str>) {
        let trigger: DataVolume = toml_edit::de::from_str("min_new_rows = 100\ncool_down = \"10m\"").expect("settings");
        let now = Utc::now();
        let seen = Seen { new_rows, last_ended: ended_secs_ago.map(|secs| now - TimeDelta::seconds(secs)) };
        assert_eq!(trigger.due(seen, now), expected.map_err(|reason| Waiting(reason.to_owned())));
    }

    #[test]
    fn rows_and_rest_decide() {
        check(99, None, Err("99 of 100 new rows"));
        check(100, None, Ok(()));
        check(500, Some(20), Err("at least 500 new rows, and the last run ended only 20 s ago"));
        check(500, Some(600), Ok(()));
        check(500, Some(-90_000), Ok(()));
    }

    #[test]
    fn the_default_is_more_than_a_thousand() {
        let trigger: DataVolume = toml_edit::de::from_str("").expect("settings");
        assert_eq!(trigger.min_new_rows.get(), 1_001);
        assert!(toml_edit::de::from_str::<DataVolume>("min_new_rows = 0").is_err());
    }
}
