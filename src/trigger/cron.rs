//! `cron` trigger. In: a schedule, a zone, a time. Out: the next time it is due.
//!
//! Summer time: a wall-clock time that does not exist is due at the end of the gap, one that exists twice is due the
//! first time only. A schedule with `*` for the hour names no times of the day, so it simply goes on: every time that the
//! clock shows is due, in both of two equal hours, and there is nothing in a gap.

use super::CatchUp;
use crate::document::Flaw;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// `[trigger.cron]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// Five fields (minute, hour, day of month, month, day of week), or six with seconds in front.
    pub schedule: String,
    /// IANA name of the zone the schedule is in. Default: `Etc/UTC`.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Starts later by up to this much, each job always by the same: spreads jobs that are due together.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::duration::optional")]
    pub jitter: Option<Duration>,
    /// What becomes of times that passed while nobody scheduled. Default: `latest`.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// How long ago a missed time may be to be caught up. Default: `1d`.
    #[serde(default = "a_day", with = "crate::duration")]
    pub catch_up_window: Duration,
}

fn utc() -> String {
    "Etc/UTC".to_owned()
}

fn a_day() -> Duration {
    Duration::from_hours(24)
}

impl Cron {
    /// The schedule, read. Err: what is wrong with it.
    pub fn read(&self) -> Result<Schedule, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let zone: Option<Tz> = self.timezone.parse().ok();
        if zone.is_none() {
            let message = format!("`{}` is no time zone", self.timezone);
            flaws
                .push(Flaw::at("timezone", message).help("use an IANA name, such as \"Europe/Berlin\" or \"Etc/UTC\""));
        }
        match Schedule::parse(&self.schedule, zone.unwrap_or(Tz::UTC)) {
            Err(reason) => {
                let message = format!("`{}` is no schedule: {reason}", self.schedule);
                let help = "minute, hour, day of month, month, day of week, as in \"0 3 * * Sun\"";
                flaws.push(Flaw::at("schedule", message).help(help));
            }
            Ok(schedule) if schedule.next(Utc::now()).is_none() => {
                flaws.push(Flaw::at("schedule", format!("`{}` never fires: no date matches it", self.schedule)));
            }
            Ok(schedule) if flaws.is_empty() => return Ok(schedule),
            Ok(_) => {}
        }
        Err(flaws)
    }

    /// What is impossible about it.
    pub(super) fn check(&self) -> Vec<Flaw> {
        self.read().err().unwrap_or_default()
    }

    /// How much later than its schedule a job of that name starts: always the same for one name.
    pub fn delay(&self, job: &str) -> TimeDelta {
        let Some(jitter) = self.jitter else { return TimeDelta::zero() };
        let digest = Sha256::digest(job.as_bytes());
        let word = u64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|k| digest[k]));
        let millis = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX).max(1);
        TimeDelta::milliseconds(i64::try_from(word % millis).unwrap_or(0))
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.schedule, self.timezone)
    }
}

/// A schedule in a time zone, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    zone: Tz,
    parsed: croner::Cron,
    /// `*` for the hour.
    every_hour: bool,
}

impl Schedule {
    /// Reads a schedule of five fields, or six with seconds in front. Err: what is wrong with it.
    pub fn parse(schedule: &str, zone: Tz) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let parsed = parser.parse(schedule).map_err(|e| e.to_string())?;
        let every_hour = (0..24).all(|hour| parsed.pattern.hour_match(hour).unwrap_or(false));
        Ok(Self { zone, parsed, every_hour })
    }

    /// The zone its times are in.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first time after `now` that it is due; none when there never is one, such as on February 30th.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Tz>> {
        let local = now.with_timezone(&self.zone);
        if self.every_hour {
            return self.parsed.find_next_occurrence(&local, false).ok();
        }
        // On the clock's face, as if every day had 24 hours; only then is it asked when the clock shows that. In the second
        // of two equal hours this finds times of the first one, which have passed.
        let mut face = local.naive_local().with_nanosecond(0)?;
        loop {
            face = self.parsed.find_next_occurrence(&face.and_utc(), false).ok()?.naive_utc();
            if let Some(due) = self.when(face).filter(|due| due.to_utc() > now) {
                return Some(due);
            }
        }
    }

    /// When the clock first shows that time, or the end of the gap that swallows it.
    fn when(&self, face: NaiveDateTime) -> Option<DateTime<Tz>> {
        match self.zone.from_local_datetime(&face) {
            MappedLocalTime::Single(due) | MappedLocalTime::Ambiguous(due, _) => Some(due),
            MappedLocalTime::None => {
                // Clocks are moved at whole minutes. The longest gap was a day: Samoa had no December 30th in 2011.
                let minute = face.with_second(0)?;
                (1..=25 * 60).find_map(|n| self.zone.from_local_datetime(&(minute + TimeDelta::minutes(n))).earliest())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: &str, zone: Tz, now: &str, expected: Option<&str>) {
        let schedule_read = Schedule::parse(schedule, zone).expect("a schedule");
        let now = now.parse().expect("a time");
        assert_eq!(schedule_read.next(now).map(|t| t.to_rfc3339()).as_deref(), expected, "{schedule} {zone} {now}");
    }

    #[test]
    fn next_fires() {
        let utc = Tz::Etc__UTC;
        let sunday = "0 3 * * Sun";
        check(sunday, utc, "2026-11-24T09:00:00Z", Some("2026-11-29T03:00:00+00:00"));
        check(sunday, utc, "2026-11-29T03:00:00Z", Some("2026-12-06T03:00:00+00:00"));
        check(sunday, utc, "2026-11-29T02:59:59.9Z", Some("2026-11-29T03:00:00+00:00"));
        check("*/10 30 4 * * *", utc, "2026-01-01T04:30:05Z", Some("2026-01-01T04:30:10+00:00"));
        check("0 0 L * *", utc, "2027-02-03T00:00:00Z", Some("2027-02-28T00:00:00+00:00"));
        check("0 0 * * Fri#2", utc, "2026-11-01T00:00:00Z", Some("2026-11-13T00:00:00+00:00"));
        check("0 0 * Jan,Jul MON", utc, "2026-11-01T00:00:00Z", Some("2027-01-04T00:00:00+00:00"));
        check("0 0 29 2 *", utc, "2026-01-01T00:00:00Z", Some("2028-02-29T00:00:00+00:00"));
        check("0 0 30 2 *", utc, "2026-01-01T00:00:00Z", None);
        let berlin = Tz::Europe__Berlin;
        check(sunday, berlin, "2026-07-01T00:00:00Z", Some("2026-07-05T03:00:00+02:00"));
        check(sunday, berlin, "2026-12-01T00:00:00Z", Some("2026-12-06T03:00:00+01:00"));
    }

    #[test]
    fn a_gap_is_due_at_its_end_and_a_fold_once() {
        let berlin = Tz::Europe__Berlin;
        // 2026-03-29: 02:00 becomes 03:00
        check("30 2 * * *", berlin, "2026-03-28T12:00:00Z", Some("2026-03-29T03:00:00+02:00"));
        check("0,30 2 * * *", berlin, "2026-03-28T12:00:00Z", Some("2026-03-29T03:00:00+02:00"));
        check("30 2 * * *", berlin, "2026-03-29T01:00:00Z", Some("2026-03-30T02:30:00+02:00"));
        // 2026-10-25: 03:00 becomes 02:00 again
        check("30 2 * * *", berlin, "2026-10-24T12:00:00Z", Some("2026-10-25T02:30:00+02:00"));
        check("30 2 * * *", berlin, "2026-10-25T00:30:00Z", Some("2026-10-26T02:30:00+01:00"));
        check("30 2 * * *", berlin, "2026-10-25T01:10:00Z", Some("2026-10-26T02:30:00+01:00"));
        check("*/30 1-3 * * *", berlin, "2026-10-25T00:30:00Z", Some("2026-10-25T03:00:00+01:00"));
        // no times of the day: it goes on
        check("30 * * * *", berlin, "2026-03-29T00:30:00Z", Some("2026-03-29T03:30:00+02:00"));
        check("30 * * * *", berlin, "2026-10-25T00:30:00Z", Some("2026-10-25T02:30:00+01:00"));
        // half an hour is enough in Lord Howe, and Samoa lost a day
        check("15 2 * * *", Tz::Australia__Lord_Howe, "2026-10-03T00:00:00Z", Some("2026-10-04T02:30:00+11:00"));
        check("0 9 * * *", Tz::Pacific__Apia, "2011-12-30T00:00:00Z", Some("2011-12-31T00:00:00+14:00"));
    }

    #[test]
    fn nonsense_is_refused() {
        for schedule in ["", "0 3 * *", "61 * * * *", "0 3 * * Sunnyday", "0 3 * * * * * *"] {
            assert!(Schedule::parse(schedule, Tz::UTC).is_err(), "{schedule}");
        }
    }

    #[test]
    fn jitter_is_the_same_for_one_name_and_within_its_limit() {
        let cron = |jitter| Cron {
            schedule: "0 3 * * *".to_owned(),
            timezone: utc(),
            jitter,
            catch_up: CatchUp::Latest,
            catch_up_window: a_day(),
        };
        let five = cron(Some(Duration::from_mins(5)));
        assert_eq!(five.delay("weekly"), five.delay("weekly"));
        let mut delays: Vec<_> = (0..50).map(|k| five.delay(&format!("job-{k}"))).collect();
        assert!(delays.iter().all(|delay| *delay >= TimeDelta::zero() && *delay < TimeDelta::minutes(5)));
        delays.sort();
        delays.dedup();
        assert!(delays.len() > 40, "spread: {delays:?}");
        assert_eq!(cron(None).delay("weekly"), TimeDelta::zero());
    }
}
