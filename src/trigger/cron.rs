//! `cron` trigger. In: a schedule, a zone, a time. Out: the next time it fires.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds};
use std::fmt;

/// A schedule in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cron {
    schedule: String,
    zone: Tz,
    parsed: croner::Cron,
}

impl Cron {
    /// Reads a schedule of five fields, or six with seconds in front. Err: what is wrong with it.
    pub fn parse(schedule: &str, zone: Tz) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let parsed = parser.parse(schedule).map_err(|e| e.to_string())?;
        Ok(Self { schedule: schedule.to_owned(), zone, parsed })
    }

    /// As written.
    pub fn schedule(&self) -> &str {
        &self.schedule
    }

    /// The zone its times are in.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first fire after `now`; none when there never is one, such as on February 30th.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Tz>> {
        self.parsed.find_next_occurrence(&now.with_timezone(&self.zone), false).ok()
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.schedule, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, zone: Tz, now: &str, expected: Option<&str>) {
        let cron = Cron::parse(schedule, zone).expect("a schedule");
        let now = now.parse().expect("a time");
        assert_eq!(cron.next(now).map(|t| t.to_rfc3339()).as_deref(), expected, "{schedule} {zone}");
    }

    #[test]
    fn next_fires() {
        let utc = Tz::Etc__UTC;
        let sunday = "0 3 * * Sun";
        check(sunday, utc, "2026-11-24T09:00:00Z", Some("2026-11-29T03:00:00+00:00"));
        check(sunday, utc, "2026-11-29T03:00:00Z", Some("2026-12-06T03:00:00+00:00"));
        check("*/10 30 4 * * *", utc, "2026-01-01T04:30:05Z", Some("2026-01-01T04:30:10+00:00"));
        check("0 0 L * *", utc, "2027-02-03T00:00:00Z", Some("2027-02-28T00:00:00+00:00"));
        check("0 0 30 2 *", utc, "2026-01-01T00:00:00Z", None);
        let berlin = Tz::Europe__Berlin;
        check(sunday, berlin, "2026-07-01T00:00:00Z", Some("2026-07-05T03:00:00+02:00"));
        check(sunday, berlin, "2026-12-01T00:00:00Z", Some("2026-12-06T03:00:00+01:00"));
    }

    #[test]
    fn nonsense_is_refused() {
        for schedule in ["", "0 3 * *", "61 * * * *", "0 3 * * Sunnyday", "0 3 * * * * * *"] {
            assert!(Cron::parse(schedule, Tz::UTC).is_err(), "{schedule}");
        }
    }
}
