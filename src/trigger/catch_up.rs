//! What is due, given the last instant that was decided on: at most a bounded number of times, however long nobody looked.

use super::Schedule;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `catch_up`: what becomes of times that passed while nobody scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// One run for the last of them.
    #[default]
    Latest,
    /// A run for each, one after the other.
    All,
    /// None: the next one is in the future.
    None,
}

/// A start up to this late is on time: a busy moment, a restart, a reload. What is later was missed.
pub const ON_TIME: TimeDelta = TimeDelta::minutes(1);

/// Runs for missed times at once at most, also for `all`: a schedule of seconds must not fill the table.
const MOST: usize = 1_000;

/// What a schedule asks for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Instants to start a run for, oldest first.
    pub fires: Vec<DateTime<Utc>>,
    /// Instants passed over, as far as they were counted: those before the window count as one.
    pub missed: usize,
    /// One of them: the last that was counted.
    pub last_missed: Option<DateTime<Utc>>,
    /// Every instant up to here is decided on. None: nothing is due.
    pub up_to: Option<DateTime<Utc>>,
}

/// What is due of `schedule` at `now`, when all was decided on up to `decided`. `delay` is the job's jitter.
///
/// A clock that was set back does not hold a job up: what was decided on in its future counts as far as `now`, and that
/// nothing starts twice then is for run keys to see to.
pub fn due(
    schedule: &Schedule,
    decided: DateTime<Utc>,
    now: DateTime<Utc>,
    delay: TimeDelta,
    policy: CatchUp,
    window: Duration,
) -> Due {
    let now = now - delay;
    let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::MAX).max(ON_TIME);
    let oldest = now.checked_sub_signed(window).unwrap_or(DateTime::<Utc>::MIN_UTC);
    // straight to the window's begin: never through years of missed instants one by one
    let begin = oldest - TimeDelta::milliseconds(1);
    let mut cursor = decided.min(now).max(begin);
    // what lies before the window is let go, and that is worth a word: once, since all up to the window is decided then
    let mut last_missed = schedule.next(decided.min(now)).map(|next| next.to_utc()).filter(|next| *next <= begin);
    let mut missed = usize::from(last_missed.is_some());
    let mut found = std::collections::VecDeque::new();
    while let Some(next) = schedule.next(cursor).map(|next| next.to_utc()).filter(|next| *next <= now) {
        found.push_back(next);
        cursor = next;
        let most = if policy == CatchUp::All { MOST } else { 1 };
        if found.len() > most {
            last_missed = found.pop_front();
            missed += 1;
        }
    }
    let Some(&last) = found.back() else {
        return Due { fires: Vec::new(), missed, last_missed, up_to: last_missed.map(|_| begin) };
    };
    if policy == CatchUp::None && now - last > ON_TIME {
        return Due { fires: Vec::new(), missed: missed + 1, last_missed: Some(last), up_to: Some(last) };
    }
    Due { fires: found.into(), missed, last_missed, up_to: Some(last) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-{text}Z").parse().expect("a time")
    }

    fn check(decided: &str, now: &str, policy: CatchUp, expected: &[&str], missed: usize) {
        let hourly = Schedule::parse("0 * * * *", Tz::UTC).expect("a schedule");
        let window = Duration::from_hours(6);
        let due = due(&hourly, at(decided), at(now), TimeDelta::zero(), policy, window);
        assert_eq!(due.fires, expected.iter().map(|t| at(t)).collect::<Vec<_>>(), "{decided} {now} {policy:?}");
        assert_eq!(due.missed, missed, "{decided} {now} {policy:?}");
    }

    #[test]
    fn what_is_due() {
        use CatchUp::{All, Latest, None};
        for policy in [All, Latest, None] {
            check("01-01T00:00:00", "01-01T00:59:59", policy, &[], 0);
            check("01-01T00:00:00", "01-01T01:00:00", policy, &["01-01T01:00:00"], 0);
            check("01-01T01:00:00", "01-01T01:00:30", policy, &[], 0);
            // the clock was set back: decided in the future
            check("01-09T01:00:00", "01-01T01:00:30", policy, &[], 0);
        }
        check("01-01T00:00:00", "01-01T03:10:00", Latest, &["01-01T03:00:00"], 2);
        check("01-01T00:00:00", "01-01T03:10:00", None, &[], 3);
        check("01-01T00:00:00", "01-01T03:00:10", None, &["01-01T03:00:00"], 2);
        check("01-01T00:00:00", "01-01T02:10:00", All, &["01-01T01:00:00", "01-01T02:00:00"], 0);
        // only the window is looked at
        let six = ["03-01T07:00:00", "03-01T08:00:00", "03-01T09:00:00", "03-01T10:00:00", "03-01T11:00:00"];
        check("01-01T00:00:00", "03-01T12:30:00", All, &[six.as_slice(), &["03-01T12:00:00"]].concat(), 1);
        check("01-01T00:00:00", "03-01T12:30:00", Latest, &["03-01T12:00:00"], 6);
    }

    proptest! {
        #[test]
        fn every_instant_is_decided_once(steps in prop::collection::vec(1i64..20_000, 1..80), policy in 0usize..3) {
            let policy = [CatchUp::All, CatchUp::Latest, CatchUp::None][policy];
            let schedule = Schedule::parse("*/7 * * * *", Tz::Europe__Berlin).expect("a schedule");
            let start = at("10-24T20:00:00");
            let (mut now, mut decided, mut fired) = (start, start, Vec::new());
            for step in steps {
                now += TimeDelta::seconds(step);
                let due = due(&schedule, decided, now, TimeDelta::zero(), policy, Duration::from_hours(48));
                prop_assert!(policy == CatchUp::All || due.fires.len() <= 1, "a burst");
                prop_assert!(due.fires.iter().all(|fire| *fire > decided && *fire <= now));
                prop_assert!(due.up_to.is_none_or(|up_to| up_to > decided && up_to <= now));
                fired.extend(due.fires);
                decided = due.up_to.unwrap_or(decided);
            }
            prop_assert!(fired.is_sorted() && fired.windows(2).all(|two| two[0] < two[1]), "in order, none twice");
            if policy == CatchUp::All {
                let mut expected = Vec::new();
                let mut cursor = start;
                while let Some(next) = schedule.next(cursor).filter(|next| next.to_utc() <= now) {
                    cursor = next.to_utc();
                    expected.push(cursor);
                }
                prop_assert_eq!(fired, expected);
            }
        }
    }
}
