//! Due times through ten years of summer time, in zones that move their clocks by half an hour, an hour or two, at night or at
//! midnight, for winter or for Ramadan. What the program says is compared with the definition, read from the zone's own table:
//!
//! - A schedule that names hours is due when the clock first shows the time, or at the end of the gap that swallows it.
//! - One with `*` for the hour goes on: it is due whenever the clock shows the time, and a gap has none.

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc, Weekday,
};
use chrono_tz::Tz;
use retraind::job::Job;
use retraind::scheduler::core::{Action, Core, Event, Limits, Now};
use retraind::store::JobRow;
use retraind::trigger::Schedule;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

/// A schedule, and the definition of what it matches.
struct Case {
    schedule: &'static str,
    /// `*` for the hour.
    goes_on: bool,
    matches: fn(NaiveDateTime) -> bool,
}

const CASES: [Case; 11] = [
    Case { schedule: "30 2 * * *", goes_on: false, matches: |t| at(t, 2, 30) },
    Case { schedule: "0 0 * * *", goes_on: false, matches: |t| at(t, 0, 0) },
    Case { schedule: "30 * * * *", goes_on: true, matches: |t| t.minute() == 30 },
    Case { schedule: "30 1,2,3 * * *", goes_on: false, matches: |t| (1..=3).any(|hour| at(t, hour, 30)) },
    Case { schedule: "*/15 * * * *", goes_on: true, matches: |t| t.minute().is_multiple_of(15) },
    Case { schedule: "*/30 0-3 * * *", goes_on: false, matches: |t| t.hour() <= 3 && t.minute().is_multiple_of(30) },
    Case { schedule: "30 2 * * Sun", goes_on: false, matches: |t| at(t, 2, 30) && t.weekday() == Weekday::Sun },
    Case {
        schedule: "15 0 * Mar,Apr,Oct Fri",
        goes_on: false,
        matches: |t| at(t, 0, 15) && matches!(t.month(), 3 | 4 | 10) && t.weekday() == Weekday::Fri,
    },
    Case {
        schedule: "30 2 L * *",
        goes_on: false,
        matches: |t| at(t, 2, 30) && (t + TimeDelta::days(1)).month() != t.month(),
    },
    Case {
        schedule: "30 2 * * Sun#2",
        goes_on: false,
        matches: |t| at(t, 2, 30) && t.weekday() == Weekday::Sun && (8..=14).contains(&t.day()),
    },
    Case {
        schedule: "*/15 * * * Sun#L",
        goes_on: true,
        matches: |t| {
            t.minute().is_multiple_of(15)
                && t.weekday() == Weekday::Sun
                && (t + TimeDelta::days(7)).month() != t.month()
        },
    },
];

fn at(time: NaiveDateTime, hour: u32, minute: u32) -> bool {
    (time.hour(), time.minute()) == (hour, minute)
}

/// The ten years, and the one in which Samoa had no December 30th.
const DECADE: (i32, i32) = (2020, 2030);
const SAMOA: (i32, i32) = (2011, 2013);

/// What each case matches on a clock's face, whatever the zone.
static FACES: LazyLock<Vec<Vec<NaiveDateTime>>> = LazyLock::new(|| faces(DECADE));

/// All cases are due at whole quarters of an hour.
fn faces(years: (i32, i32)) -> Vec<Vec<NaiveDateTime>> {
    let begin = new_year(years.0).naive_utc() - TimeDelta::days(2);
    let end = new_year(years.1).naive_utc() + TimeDelta::days(2);
    let quarters = |t: &NaiveDateTime| Some(*t + TimeDelta::minutes(15)).filter(|next| *next < end);
    let quarters: Vec<NaiveDateTime> = std::iter::successors(Some(begin), quarters).collect();
    CASES.iter().map(|case| quarters.iter().copied().filter(|t| (case.matches)(*t)).collect()).collect()
}

fn new_year(year: i32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(year, 1, 1).expect("a date").and_time(chrono::NaiveTime::MIN).and_utc()
}

/// The definition: when a case is due in a zone, in order, each instant once.
fn due(zone: Tz, case: &Case, faces: &[NaiveDateTime]) -> Vec<DateTime<Utc>> {
    let mut due = Vec::with_capacity(faces.len());
    for face in faces {
        match zone.from_local_datetime(face) {
            MappedLocalTime::Single(only) => due.push(only.to_utc()),
            MappedLocalTime::Ambiguous(first, second) => {
                due.push(first.to_utc());
                due.extend(case.goes_on.then(|| second.to_utc()));
            }
            MappedLocalTime::None => due.extend((!case.goes_on).then(|| end_of_gap(zone, *face))),
        }
    }
    due.sort();
    due.dedup();
    due
}

/// The first second at which the clock shows more than `face`, which it never shows.
fn end_of_gap(zone: Tz, face: NaiveDateTime) -> DateTime<Utc> {
    // zones are at most 14 hours from UTC
    let (mut before, mut after) = (face.and_utc() - TimeDelta::hours(26), face.and_utc() + TimeDelta::hours(26));
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if middle.with_timezone(&zone).naive_local() > face { after = middle } else { before = middle }
    }
    after
}

/// When a zone's clocks are moved, and by how much.
fn shifts(zone: Tz) -> Vec<(DateTime<Utc>, TimeDelta)> {
    let ahead = |t: DateTime<Utc>| t.with_timezone(&zone).naive_local() - t.naive_utc();
    let mut found = Vec::new();
    let mut now = new_year(DECADE.0);
    while now < new_year(DECADE.1) {
        let next = now + TimeDelta::minutes(30);
        let by = ahead(next) - ahead(now);
        if !by.is_zero() {
            found.push((next, by));
        }
        now = next;
    }
    found
}

/// Asks for the next due time after the last one, from `begin` to `end`.
fn walk(zone: Tz, case: &Case, (begin, end): (DateTime<Utc>, DateTime<Utc>), due: &[DateTime<Utc>]) {
    let schedule = Schedule::parse(case.schedule, zone).expect("a schedule");
    let mut expected = due.iter().copied().filter(|t| *t > begin && *t < end);
    let (mut now, mut n) = (begin, 0);
    loop {
        let next = schedule.next(now).expect("schedules never end").to_utc();
        let wanted = expected.next();
        if next >= end {
            assert_eq!(wanted, None, "`{}` in {zone}: missing after {now}", case.schedule);
            break;
        }
        assert_eq!(Some(next), wanted, "`{}` in {zone}: the next after {now} ({n} were right)", case.schedule);
        now = next;
        n += 1;
    }
    assert!(n >= 12, "`{}` in {zone}: {n} due times from {begin} to {end}", case.schedule);
}

/// All ten years; of what is due every few minutes all day, two months and the days around each shift.
fn walk_all(zone: Tz, due: &[Vec<DateTime<Utc>>]) {
    let all = (new_year(DECADE.0), new_year(DECADE.1));
    let days = shifts(zone).into_iter().map(|(shift, _)| (shift - TimeDelta::days(3), shift + TimeDelta::days(3)));
    let some: Vec<_> = days.chain([(new_year(2024), new_year(2024) + TimeDelta::days(60))]).collect();
    for (case, due) in CASES.iter().zip(due) {
        let spans = if due.len() < 100_000 { &[all][..] } else { &some };
        spans.iter().for_each(|(begin, end)| walk(zone, case, (*begin, all.1.min(*end)), due));
    }
}

/// The scheduler's core under a clock that stands still until it is moved, on the days around each shift.
struct Daemon<'a> {
    jobs: &'a [Job],
    core: Core,
    now: Now,
    /// The database.
    rows: BTreeMap<String, JobRow>,
    keys: BTreeSet<String>,
    fired: BTreeMap<String, Vec<DateTime<Utc>>>,
}

const LIMITS: Limits = Limits { max_running: 1, grace: Duration::from_secs(30), stop_grace: Duration::from_mins(1) };

impl<'a> Daemon<'a> {
    fn new(jobs: &'a [Job], wall: DateTime<Utc>) -> Self {
        let row = |job: &Job| JobRow {
            schedule: job.triggers.cron.as_ref().map(ToString::to_string),
            fired_up_to: Some(wall),
            ..JobRow::new(&job.name)
        };
        let rows = jobs.iter().map(|job| (job.name.clone(), row(job))).collect();
        let now = Now { wall, up: Duration::from_hours(1) };
        let (keys, fired) = (BTreeSet::new(), BTreeMap::new());
        let mut daemon = Self { jobs, core: Core::new(LIMITS), now, rows, keys, fired };
        daemon.restart();
        daemon
    }

    /// All is forgotten but what stands in rows.
    fn restart(&mut self) {
        self.core = Core::new(LIMITS);
        for job in self.jobs {
            let row = self.rows[&job.name].clone();
            self.core.apply(Event::Job(Box::new(job.clone()), Box::new(row)), self.now);
        }
    }

    fn pass_to(&mut self, wall: DateTime<Utc>) {
        assert!(wall > self.now.wall, "time passes: {wall} after {}", self.now.wall);
        self.now.up += (wall - self.now.wall).to_std().expect("forward");
        self.now.wall = wall;
    }

    fn look(&mut self) {
        for _ in 0..10 {
            let actions = self.core.decide(self.now);
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.carry_out(action));
        }
        panic!("the scheduler does not come to rest: {:?}", self.core);
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Fire { job, decision, runs, notices } => {
                assert_eq!(decision.skipped_because, None, "{job}");
                for run in runs {
                    assert!(self.keys.insert(run.run_key.clone()), "twice: {}", run.run_key);
                    self.fired.entry(run.job).or_default().push(run.scheduled_for.expect("an instant"));
                }
                let row = self.rows.get_mut(&job).expect("a row");
                row.fired_up_to = decision.fired_up_to.or(row.fired_up_to);
                // none stays open, so that no run is in the next one's way
                self.core.apply(Event::Fired { job, decision, runs: Vec::new(), notices }, self.now);
            }
            Action::Tell(notice) => panic!("nothing is missed: {notice:?}"),
            action => panic!("only schedules are due: {action:?}"),
        }
    }
}

/// Each due instant of the days around each shift yields one run key: to a daemon that is punctual, and to one that is started
/// anew each time, looks late and has to catch up.
fn shifts_with_a_daemon(zone: Tz, due: &[Vec<DateTime<Utc>>]) {
    let jobs = CASES.iter().enumerate().map(|(k, case)| {
        let schedule = case.schedule;
        let text = format!(
            "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"{schedule}\"\ntimezone = \"{zone}\"\ncatch_up = \"all\"\n"
        );
        Job::parse(Path::new(&format!("job-{k}.toml")), &text, &[]).expect("a job")
    });
    let jobs: Vec<Job> = jobs.collect();
    for (shift, by) in shifts(zone) {
        let (begin, end) = (shift - TimeDelta::hours(14), shift + TimeDelta::hours(14));
        let mut punctual = Daemon::new(&jobs, begin);
        while let Some(next) = punctual.core.next_fire().map(|(next, _)| next).filter(|next| *next <= end) {
            punctual.pass_to(next);
            punctual.look();
        }
        let mut late = Daemon::new(&jobs, begin);
        while late.now.wall < end {
            late.pass_to(end.min(late.now.wall + TimeDelta::minutes(193)));
            late.restart();
            late.look();
        }
        for (job, due) in jobs.iter().zip(due) {
            let within: Vec<_> = due.iter().copied().filter(|t| *t > begin && *t <= end).collect();
            let what = format!("{} in {zone}, {by} at {shift}", job.triggers.sentences().join(" "));
            assert_eq!(punctual.fired.remove(&job.name).unwrap_or_default(), within, "{what}");
            assert_eq!(late.fired.remove(&job.name).unwrap_or_default(), within, "{what}, late");
        }
    }
}

/// A test for each zone, so that they share the processors.
macro_rules! zones {
    ($($name:ident: $zone:ident,)+) => {
        const ZONES: &[Tz] = &[$(Tz::$zone),+];
        $(mod $name {
            use super::*;

            static DUE: LazyLock<Vec<Vec<DateTime<Utc>>>> = LazyLock::new(|| {
                CASES.iter().zip(FACES.iter()).map(|(case, faces)| due(Tz::$zone, case, faces)).collect()
            });

            #[test]
            fn ten_years() {
                walk_all(Tz::$zone, &DUE);
            }

            #[test]
            fn run_keys_around_each_shift() {
                shifts_with_a_daemon(Tz::$zone, &DUE);
            }
        })+
    };
}

zones! {
    // none
    utc: UTC,
    kathmandu: Asia__Kathmandu,
    sao_paulo: America__Sao_Paulo,
    // an hour, at night
    berlin: Europe__Berlin,
    new_york: America__New_York,
    st_johns: America__St_Johns,
    // until 2021
    apia: Pacific__Apia,
    // at midnight: it is the day's first hour that is missing, or the last one that comes twice
    cairo: Africa__Cairo,
    santiago: America__Santiago,
    // the evening before, with the new day's first hour coming back
    nuuk: America__Nuuk,
    // half an hour
    lord_howe: Australia__Lord_Howe,
    // two hours
    troll: Antarctica__Troll,
    // back for Ramadan and forward after it
    casablanca: Africa__Casablanca,
}

#[test]
fn samoa_skips_a_day() {
    let faces = faces(SAMOA);
    let (zone, span) = (Tz::Pacific__Apia, (new_year(SAMOA.0), new_year(SAMOA.1)));
    CASES.iter().zip(&faces).for_each(|(case, faces)| walk(zone, case, span, &due(zone, case, faces)));
}

/// The table of zones has what these tests are about.
#[test]
fn clocks_are_moved_in_all_these_ways() {
    let moved: BTreeMap<&str, BTreeSet<i64>> = ZONES
        .iter()
        .map(|zone| (zone.name(), shifts(*zone).into_iter().map(|(_, by)| by.num_minutes()).collect()))
        .collect();
    let minutes = |by: &[i64]| by.iter().copied().collect::<BTreeSet<i64>>();
    for (zone, by) in moved {
        let expected = match zone {
            "UTC" | "Asia/Kathmandu" | "America/Sao_Paulo" => minutes(&[]),
            "Australia/Lord_Howe" => minutes(&[-30, 30]),
            "Antarctica/Troll" => minutes(&[-120, 120]),
            _ => minutes(&[-60, 60]),
        };
        assert_eq!(by, expected, "{zone}");
    }
}
