//! What is told of jobs by the scheduler: runs that go on for long, failures in a row, broken files, missed starts.

use super::house::{House, alerts, exec, states};
use super::smtp::subjects;
use super::{side_by_side, text};
use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Timelike, Utc};
use std::fs;

/// The fields of each job file that a test needs are few, and its alerts are its own only.
fn job(house: &House, name: &str, script: &str, more: &str, alerts_on: &str) {
    house.place.job(name, &exec(script, &format!("{more}{}", alerts(alerts_on))));
}

#[test]
fn what_the_scheduler_sees_of_jobs_is_told_once() {
    side_by_side(&[
        ("a run that goes on for long", a_run_that_goes_on_for_long_is_told_once_and_its_end_once),
        ("failures in a row", a_job_that_fails_again_and_again_is_paused_and_told_once_until_it_goes_on),
        ("a broken file", a_job_file_that_breaks_is_told_once_and_its_mending_once),
        ("missed starts", starts_that_nobody_was_there_for_are_told_once),
    ]);
}

fn a_run_that_goes_on_for_long_is_told_once_and_its_end_once() {
    let house = House::new();
    job(&house, "slow", "while [ ! -e done ]; do sleep 0.1; done", "", "run_longer_than = \"2s\"\n");
    let daemon = house.place.daemon();
    house.place.stdout(&["trigger", "slow"], 0);
    house.place.pid_of(1);
    let mails = house.host.wait_for(1);
    let said = "the run has been going on for longer than 2s, run 1 of slow";
    assert_eq!(subjects(&mails), [format!("[trainer] {said}")]);
    let alert = &house.alerts()[0];
    assert_eq!(alert["onset"], "run 1 attempt 0 started");
    let time = |text: &serde_json::Value| text.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
    let began = time(&house.place.show(1)["started_at"]).expect("started");
    assert!(time(&alert["first_seen"]).expect("raised") - began >= TimeDelta::seconds(2), "not before its time");
    assert!(text(&mails[0]).contains(&began.format("since  %Y-%m-%d %H:%M:%SZ").to_string()), "{}", text(&mails[0]));

    // a daemon that finds it at work looks at the same clock
    daemon.kill();
    let _daemon = house.place.daemon();
    assert_eq!(house.all_subjects().len(), 1);
    fs::write(house.place.path("done"), "").expect("written");
    house.place.wait_for("its end", || house.place.state_of(1) == "succeeded");
    assert_eq!(house.all_subjects(), [format!("[trainer] {said}"), format!("[trainer] over: {said}")]);
    assert_eq!(house.states(), states(&[("run_longer_than", "resolved")]));
}

fn a_job_that_fails_again_and_again_is_paused_and_told_once_until_it_goes_on() {
    let house = House::new();
    job(&house, "broken", "exit 1", "[run]\npause_after_failures = 2\n", "");
    let _daemon = house.place.daemon();
    house.place.stdout(&["trigger", "broken", "--wait"], 1);
    house.host.wait_for(1);
    house.place.stdout(&["trigger", "broken", "--wait"], 1);
    let mails = house.host.wait_for(2);
    assert_eq!(subjects(&mails)[1], "[trainer] the job is paused: its last 2 runs failed, broken");
    assert!(text(&mails[1]).contains("retraind resume broken"), "{}", text(&mails[1]));
    let found = house.all_mails();
    assert_eq!(subjects(&found).len(), 2, "the second failure is the first one's alert: {:?}", subjects(&found));
    assert!(subjects(&found)[0].starts_with("[trainer] failed: "), "{:?}", subjects(&found));
    assert_eq!(house.states(), states(&[("run_failed", "firing"), ("paused", "firing")]));

    house.place.stdout(&["resume", "broken"], 0);
    let mails = house.all_mails();
    assert_eq!(subjects(&mails)[2..], ["[trainer] over: the job is paused: its last 2 runs failed, broken"]);
    assert!(text(&mails[2]).contains("resumed by hand"), "{}", text(&mails[2]));
    assert_eq!(house.states(), states(&[("run_failed", "firing"), ("paused", "resolved")]));
    // no run of a job that is gone will ever end it
    fs::remove_file(house.place.path("jobs/broken.toml")).expect("removed");
    house.place.wait_for("its end", || house.states()[0].1 == "resolved");
}

fn a_job_file_that_breaks_is_told_once_and_its_mending_once() {
    let house = House::new();
    job(&house, "first", "true", "", "");
    let daemon = house.place.daemon();
    let right = fs::read_to_string(house.place.path("jobs/first.toml")).expect("read");
    house.place.job("first", &right.replace("[alerts]\n", "comand = 1\n[alerts]\n"));
    let mails = house.host.wait_for(1);
    let said = "the job file is broken: jobs/first.toml:3:1: unknown field `comand`";
    let subject = &subjects(&mails)[0];
    assert!(subject.starts_with(&format!("[trainer] {said}")) && subject.ends_with(", first"), "{subject}");
    assert!(text(&mails[0]).contains("retraind check"), "{}", text(&mails[0]));
    // broken in the same way when it is read anew
    let daemon = house.restart(daemon);
    assert_eq!(house.all_subjects().len(), 1);

    // mended while nobody looks
    daemon.stop();
    house.place.job("first", &right);
    let daemon = house.place.daemon();
    let mails = house.host.wait_for(3);
    assert!(subjects(&mails)[2].starts_with(&format!("[trainer] over: {said}")), "{:?}", subjects(&mails));
    assert!(text(&mails[2]).contains("the file is right again"), "{}", text(&mails[2]));
    let _daemon = house.restart(daemon);
    assert_eq!(house.all_subjects().len(), 2);
    // one that goes away while it is broken ends it as well
    house.place.job("first", "nonsense");
    house.place.wait_for("the second problem", || house.states().len() == 2);
    fs::remove_file(house.place.path("jobs/first.toml")).expect("removed");
    house.place.wait_for("its end", || house.states()[1].1 == "resolved");
    assert_eq!(house.states(), states(&[("job_file_broken", "resolved"); 2]));
}

fn starts_that_nobody_was_there_for_are_told_once() {
    let house = House::new();
    // the last start was half an hour ago, and the next is in half an hour
    let last = (Utc::now() - TimeDelta::minutes(30)).trunc_subsecs(0).with_second(0).expect("a minute");
    let cron = |rest: &str| format!("[trigger.cron]\nschedule = \"{} * * * *\"\n{rest}", last.minute());
    job(&house, "hourly", "true", &cron("catch_up = \"none\"\n"), "");
    job(&house, "patient", "true", &cron("catch_up = \"latest\"\n"), "");
    job(&house, "late", "true", &cron("catch_up = \"latest\"\ncatch_up_window = \"10m\"\n"), "");
    house.place.daemon().stop();
    // as a daemon leaves it that ended long ago
    let decided = (last - TimeDelta::hours(3)).to_rfc3339();
    let n = house.state().execute("UPDATE jobs SET fired_up_to = ?1 WHERE schedule IS NOT NULL", [&decided]);
    assert_eq!(n.expect("updated"), 3);
    let daemon = house.place.daemon();
    house.host.wait_for(3);
    let daemon = house.restart(daemon);
    let mut subjects = house.all_subjects();
    subjects.sort_by_key(|subject| subject.rsplit(' ').next().map(str::to_owned));
    let [hourly, late, patient] = subjects.try_into().unwrap_or_else(|subjects| panic!("three mails: {subjects:?}"));
    let missed = |at: DateTime<Utc>, n: u8| {
        let at = at.format("%Y-%m-%d %H:%M:%SZ");
        format!("[trainer] the start of {at} was missed: nobody scheduled then; {n} due time(s) passed, ")
    };
    assert_eq!(hourly, format!("{}hourly", missed(last, 3)));
    // the last of them is caught up where the job wants that
    assert_eq!(patient, format!("{}patient", missed(last - TimeDelta::hours(1), 2)));
    assert_eq!(late, format!("{}late", missed(last - TimeDelta::hours(2), 1)), "before its window: the first of them");
    assert_eq!(house.place.ended("late").len(), 0);
    assert_eq!(house.place.ended("hourly").len(), 0);
    assert_eq!(house.place.ended("patient").len(), 1);
    let onset = format!("fire {}", last.to_rfc3339_opts(SecondsFormat::Millis, true));
    let of_hourly: Vec<_> = house.alerts().into_iter().filter(|alert| alert["job"] == "hourly").collect();
    assert_eq!(of_hourly[0]["onset"], onset.as_str(), "{of_hourly:?}");
    assert_eq!(house.states(), states(&[("missed_fire", "resolved"); 3]), "they are events");
    daemon.stop();
}
