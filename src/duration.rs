//! Durations as people write them in settings and job files: `"5m"`, `"1h 30m"`, `"2d"`.
//!
//! Seconds, minutes, hours and days only: humantime also takes months as `M`, a letter too near to minutes. Ten years at most, so
//! that no sum of two of them and a date is beyond the calendar.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::time::Duration;

const UNITS: [&str; 15] = [
    "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hour", "hours", "d", "days",
];

const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// For `#[serde(with = "crate::duration")]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = duration.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}"));
    serializer.serialize_str(&parts.collect::<Vec<_>>().join(" "))
}

/// Reads a duration above zero.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A duration above zero, or what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    let known = units.all(|unit| UNITS.contains(&unit) || unit == "day");
    match humantime::parse_duration(text) {
        Ok(duration) if known && duration > LONGEST => Err(format!("must be at most 3650d, not `{text}`")),
        Ok(duration) if known && !duration.is_zero() => Ok(duration),
        _ => Err(format!("must be a time above zero in s, m, h or d, such as \"5m\" or \"1h 30m\", not `{text}`")),
    }
}

/// The same for a setting that may be left out: `#[serde(default, with = "crate::duration::optional")]`.
pub mod optional {
    use serde::{Deserializer, Serializer};
    use std::time::Duration;

    /// Nothing, or as people write durations.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration above zero; left out, serde's default stands.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use std::time::Duration;

    #[derive(Debug, Deserialize, Serialize)]
    struct Sample {
        #[serde(with = "crate::duration")]
        time: Duration,
    }

    fn check(text: &str, seconds: Option<u64>) {
        let read = toml_edit::de::from_str::<Sample>(&format!("time = \"{text}\"")).ok();
        assert_eq!(read.as_ref().map(|sample| sample.time.as_secs()), seconds, "{text}");
        if let Some(sample) = read {
            let again = toml_edit::ser::to_string(&sample).expect("TOML");
            assert_eq!(toml_edit::de::from_str::<Sample>(&again).expect("what we write we read").time, sample.time);
        }
    }

    #[test]
    fn units_are_those_that_cannot_be_mistaken() {
        check("5m", Some(300));
        check("1h 30m", Some(5_400));
        check("2days", Some(172_800));
        check("1day", Some(86_400));
        check("31d", Some(31 * 86_400));
        check("400d 1h 1m 1s", Some(400 * 86_400 + 3_661));
        check("3650d", Some(3650 * 86_400));
        for wrong in ["3651d", "18446744073709551615s", "5M", "5", "soon", "0s", "1w", "-5m", "", "1 year"] {
            check(wrong, None);
        }
    }
}
