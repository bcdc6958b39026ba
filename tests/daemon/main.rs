//! The daemon with real processes, as a person uses it: files are edited, runs triggered, processes killed.
//!
//! Nothing here depends on how fast the machine is: what is to happen is waited for, long.

#[path = "../support/mod.rs"]
mod support;

mod crashes;
mod place;
mod resume;
#[path = "../crash/small.rs"]
mod small;
mod systemd;
mod volume;

use place::{Place, SLOW};
use std::fs;

/// Runs every second, and says so.
const SECONDLY: &str = "[exec]\ncommand = [\"sh\", \"-c\", \"echo hello from $0; exit 0\", \"secondly\"]\n\
    [trigger.cron]\nschedule = \"* * * * * *\"\n";

#[test]
fn the_clock_starts_runs_and_their_logs_are_kept() {
    let place = Place::new();
    place.job("secondly", SECONDLY);
    let daemon = place.daemon();
    place.wait_for("three runs by the clock", || place.ended("secondly").len() >= 3);
    let runs = place.ended("secondly");
    let keys: std::collections::BTreeSet<&str> = runs.iter().filter_map(|run| run["run_key"].as_str()).collect();
    assert_eq!(keys.len(), runs.len(), "each due instant once: {runs:#?}");
    assert!(runs.iter().all(|run| run["state"] == "succeeded" && run["cause"] == "cron"), "{runs:#?}");
    let log = place.stdout(&["show", &runs[0]["id"].to_string(), "--log"], 0);
    assert!(log.contains("hello from secondly"), "{log}");
    assert!(daemon.log().contains("hello from secondly"), "the journal has it too: {}", daemon.log());
}

#[test]
fn a_person_triggers_follows_and_cancels() {
    let place = Place::new();
    place.job(
        "quick",
        "[exec]\ncommand = [\"sh\", \"-c\", \"cat >&2; echo '{\\\"metric\\\": \\\"n\\\", \\\"value\\\": 7}'\"]\n",
    );
    place.job("slow", SLOW);
    let unreachable = place.stderr(&["trigger", "quick"], 69);
    assert!(unreachable.contains("retraind daemon"), "{unreachable}");
    let _daemon = place.daemon();

    let run = place.json(&["trigger", "quick", "--set", "exec.settings.who=world", "--wait", "--json"], 0);
    assert_eq!((&run["state"], &run["cause"], &run["attempt"]), (&"succeeded".into(), &"person".into(), &1.into()));
    assert_eq!(run["outputs"][0]["value"], 7.0, "{run:#}");
    let log = place.stdout(&["show", &run["id"].to_string(), "--log", "-f"], 0);
    assert!(log.contains("\"who\":\"world\""), "{log}");

    // overlap = "skip" is the default, for people as well
    place.stdout(&["trigger", "slow"], 0);
    place.wait_for("the slow one", || place.state_of(2) == "running");
    let second = place.json(&["trigger", "slow", "--wait", "--json"], 1);
    assert_eq!(second["state"], "cancelled");
    assert!(second["error"].as_str().is_some_and(|error| error.contains("run 2 was not over")), "{second:#}");
    let pid = place.pid_of(2);
    place.stdout(&["cancel", "2"], 0);
    assert_eq!(place.state_of(2), "cancelled");
    place.wait_for("its worker to end", || !place::is_alive(pid));
    // its place is free again
    assert_eq!(place.json(&["trigger", "quick", "--wait", "--json"], 0)["state"], "succeeded");
}

#[test]
fn files_are_taken_up_while_it_runs() {
    let place = Place::new();
    place.job("first", "[exec]\ncommand = [\"true\"]\n");
    let daemon = place.daemon();
    place.wait_for("one job", || place.status().contains("1 job"));
    place.job("second", "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"0 4 * * *\"\n");
    place.wait_for("two jobs", || place.status().contains("2 jobs") && place.status().contains("next second"));

    // a broken file leaves what it was before in force, and the others alone
    place.job("second", "[exec]\ncomand = [\"true\"]\n");
    place.wait_for("the problem", || daemon.log().contains("unknown field `comand`"));
    let text = place.stdout(&["jobs"], 0);
    assert!(text.contains("what it was before stays in force") && text.contains("0 4 * * *"), "{text}");
    assert!(place.status().contains("2 jobs"), "{}", place.status());
    assert_eq!(place.json(&["trigger", "first", "--wait", "--json"], 0)["state"], "succeeded");

    // editors write beside a file and rename
    fs::write(place.path("jobs/.second.swp"), "[exec]\ncommand = [\"true\"]\n").expect("written");
    fs::rename(place.path("jobs/.second.swp"), place.path("jobs/second.toml")).expect("renamed");
    place.wait_for("its mending", || daemon.log().contains("the job's file is right again"));
    assert!(!place.status().contains("next second"), "the schedule is gone: {}", place.status());
    fs::remove_file(place.path("jobs/second.toml")).expect("removed");
    place.wait_for("one job again", || place.status().contains("1 job"));
}

#[test]
fn failures_are_tried_again_when_they_may_pass_and_pause_a_job_when_they_do_not() {
    let place = Place::new();
    let flaky = "[ -e again ] && exit 0; touch again; exit 75";
    let run = "[run]\nretry_delay = \"1s\"\npause_after_failures = 2\n";
    place.job("flaky", &format!("[exec]\ncommand = [\"sh\", \"-c\", \"{flaky}\"]\n{run}"));
    place.job("broken", &format!("[exec]\ncommand = [\"false\"]\n{run}"));
    let _daemon = place.daemon();
    let run = place.json(&["trigger", "flaky", "--wait", "--json"], 0);
    assert_eq!((&run["state"], &run["attempt"]), (&"succeeded".into(), &2.into()), "{run:#}");
    assert_eq!(run["attempts"][0]["ending"], "transient", "{run:#}");
    for _ in 0..2 {
        let run = place.json(&["trigger", "broken", "--wait", "--json"], 1);
        assert_eq!((&run["state"], &run["attempt"]), (&"failed".into(), &1.into()), "not worth another try: {run:#}");
    }
    place.wait_for("the pause", || place.stdout(&["jobs"], 0).contains("broken: paused (its last 2 runs failed)"));
    place.stdout(&["resume", "broken"], 0);
    assert!(!place.stdout(&["jobs"], 0).contains("paused"));
    place.stdout(&["pause", "broken", "--because", "holidays"], 0);
    assert!(place.stdout(&["status"], 0).contains("paused (holidays)"));
    assert!(place.stderr(&["pause", "nothing"], 66).contains("no daemon has seen it"));
}

#[test]
fn a_run_that_takes_too_long_is_ended_with_all_that_it_started() {
    let place = Place::new();
    let stubborn = "trap '' TERM; sleep 600 & echo $! > child; wait; sleep 600";
    place.job("stubborn", &format!("[exec]\ncommand = [\"sh\", \"-c\", \"{stubborn}\"]\n[run]\ntimeout = \"1s\"\n"));
    let _daemon = place.daemon();
    let run = place.json(&["trigger", "stubborn", "--wait", "--json"], 1);
    assert_eq!(run["state"], "timed_out", "{run:#}");
    let child: u32 = fs::read_to_string(place.path("child")).expect("a pid").trim().parse().expect("a number");
    place.wait_for("the group to be killed", || !place::is_alive(child));
}

#[test]
fn a_program_may_write_without_end_and_leave_something_behind() {
    let place = Place::new();
    // more than is written down within a second after the program's end
    let endless = r#"head -c 3000000 /dev/zero | tr '\0' a; echo; seq 1500 | sed 's/.*/{"metric": "m&", "value": &}/'"#;
    place.job("endless", &format!("[exec]\ncommand = [\"sh\", \"-c\", '''{endless}''']\n"));
    place.job("forks", "[exec]\ncommand = [\"sh\", \"-c\", \"sleep 600 & echo done\"]\n[run]\ntimeout = \"40d\"\n");
    let _daemon = place.daemon();
    let run = place.json(&["trigger", "endless", "--wait", "--json"], 0);
    let shown = place.stdout(&["show", &run["id"].to_string()], 0);
    assert!(shown.contains("m1: 1\n") && shown.contains("m1500: 1500\n"), "what follows is read: {shown}");
    // its output stays open for ten minutes
    place.json(&["trigger", "forks", "--wait", "--json"], 0);
}

#[test]
fn what_a_run_left_is_removed_when_it_is_old_and_its_row_is_not() {
    let place = Place::new();
    place.job("quick", "[exec]\ncommand = [\"true\"]\n");
    let daemon = place.daemon();
    place.json(&["trigger", "quick", "--wait", "--json"], 0);
    daemon.stop();
    let log = place.path("runs/1/worker.log");
    assert!(log.is_file());
    place.daemon().stop();
    assert!(log.is_file(), "a year has not passed");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let daemon = place.start(&[("RETRAIND_RUNS__KEEP_FOR", "1s")]);
    place.wait_for("its removal", || !log.exists());
    assert_eq!(place.show(1)["state"], "succeeded");
    assert!(place.stderr(&["show", "1", "--log"], 0).contains("keep_for"));
    daemon.stop();
}

#[test]
fn a_job_after_one_that_is_not_there_is_a_broken_file_until_it_is() {
    let place = Place::new();
    place.job("second", "[exec]\ncommand = [\"true\"]\n[trigger.after]\njob = \"first\"\n");
    let _daemon = place.daemon();
    let broken = "second: its file is broken";
    place.wait_for("the problem", || place.stdout(&["jobs"], 0).contains(broken));
    place.job("first", "[exec]\ncommand = [\"true\"]\n");
    place.wait_for("it to be right", || place.stdout(&["alerts"], 0).starts_with("no alerts"));
    assert!(!place.stdout(&["jobs"], 0).contains(broken));
    place.stdout(&["trigger", "first", "--wait"], 0);
    place.wait_for("the second", || place.stdout(&["runs", "second"], 0).contains("succeeded"));
}

#[test]
fn jobs_in_a_circle_are_broken_files_until_they_are_in_none() {
    let place = Place::new();
    place.job("first", "[exec]\ncommand = [\"true\"]\n");
    place.job("second", "[exec]\ncommand = [\"true\"]\n[trigger.after]\njob = \"first\"\n");
    let _daemon = place.daemon();
    place.wait_for("both", || place.status().contains("2 jobs"));
    place.job("first", "[exec]\ncommand = [\"true\"]\n[trigger.after]\njob = \"second\"\n");
    place.wait_for("the problem", || place.stdout(&["alerts"], 0).contains("first → second → first"));
    // what it was before is in force: the circle is not closed
    place.stdout(&["trigger", "first", "--wait"], 0);
    place.wait_for("the second", || place.ended("second").len() == 1);
    // the other one's file may end it
    place.job("second", "[exec]\ncommand = [\"true\"]\n");
    place.wait_for("its end", || place.stdout(&["alerts"], 0).starts_with("no alerts"));
    place.stdout(&["trigger", "second", "--wait"], 0);
    place.wait_for("the first", || place.ended("first").len() == 2);
}

#[test]
fn programs_get_no_secrets_of_the_daemon() {
    let place = Place::new();
    place.job("nosy", "[exec]\ncommand = [\"sh\", \"-c\", \"env; cat /proc/$PPID/cmdline\"]\n");
    let secrets = ["RETRAIND_SMTP__PASSWORD", "RETRAIND_ALERTING__WEBHOOK__SECRET"];
    let _daemon = place.start(&secrets.map(|variable| (variable, "hush-hush")));
    place.wait_for("the daemon", || !place.status().is_empty());
    place.stdout(&["trigger", "nosy", "--wait"], 0);
    let log = place.stdout(&["show", "1", "--log"], 0);
    assert!(log.contains("PATH=") && !log.contains("hush-hush"), "{log}");
}

#[test]
fn one_job_starts_after_another() {
    let place = Place::new();
    place.job("first", "[exec]\ncommand = [\"true\"]\n");
    place.job("second", "[exec]\ncommand = [\"true\"]\n[trigger.after]\njob = \"first\"\n");
    let _daemon = place.daemon();
    place.wait_for("both", || place.status().contains("2 jobs"));
    place.json(&["trigger", "first", "--wait", "--json"], 0);
    place.wait_for("the second", || !place.ended("second").is_empty());
    let run = &place.ended("second")[0];
    assert_eq!((&run["cause"], &run["run_key"]), (&"after".into(), &"second/after/first-1".into()));
    // a run in the foreground counts as well
    place.stdout(&["run", "first"], 0);
    place.wait_for("the second again", || place.ended("second").len() == 2);
}
