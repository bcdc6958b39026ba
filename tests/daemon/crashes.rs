//! kill -9 of the daemon, of its workers, of both; stops; two daemons.

use super::place::{self, Place, SLOW};
use super::support::postgres::Cluster;
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

fn slow() -> Place {
    let place = Place::new();
    place.job("slow", SLOW);
    place
}

fn finish(place: &Place) {
    fs::write(place.path("done"), "").expect("written");
}

#[test]
fn a_worker_outlives_its_daemon_and_is_found_by_the_next() {
    let place = slow();
    let daemon = place.daemon();
    place.stdout(&["trigger", "slow"], 0);
    let pid = place.pid_of(1);
    daemon.kill();
    assert!(place::is_alive(pid), "it goes on");
    let daemon = place.daemon();
    place.wait_for("its adoption", || daemon.log().contains("found its worker at work"));
    finish(&place);
    place.wait_for("its end", || place.state_of(1) == "succeeded");
    assert_eq!((place.show(1)["attempt"].as_i64(), place.begun()), (Some(1), 1), "the same attempt to the end");
    // it ended while nobody watched: the next one finds nothing to do
    fs::remove_file(place.path("done")).expect("removed");
    place.stdout(&["trigger", "slow"], 0);
    place.pid_of(2);
    daemon.kill();
    finish(&place);
    place.wait_for("its end", || place.state_of(2) == "succeeded");
    let daemon = place.daemon();
    place.stdout(&["trigger", "slow", "--wait"], 0);
    daemon.stop();
}

#[test]
fn a_run_goes_on_after_both_were_killed() {
    let place = slow();
    let daemon = place.daemon();
    place.stdout(&["trigger", "slow"], 0);
    let pid = place.pid_of(1);
    place.wait_for("its begin", || place.begun() == 1);
    daemon.kill();
    place::kill(pid, Signal::KILL);
    place.wait_for("its end", || !place::is_alive(pid));
    assert_eq!(place.state_of(1), "running", "those who only look leave it to the daemon");
    let _daemon = place.daemon();
    place.wait_for("the second attempt", || place.begun() == 2);
    finish(&place);
    place.wait_for("its end", || place.state_of(1) == "succeeded");
    let run = place.show(1);
    assert_eq!((&run["attempt"], &run["attempts"][0]["ending"]), (&2.into(), &"interrupted".into()), "{run:#}");
}

#[test]
fn a_killed_worker_costs_an_attempt() {
    let place = slow();
    let _daemon = place.daemon();
    place.stdout(&["trigger", "slow"], 0);
    for attempt in 1..=3 {
        place.wait_for("an attempt", || place.begun() == attempt && place.show(1)["attempt"] == attempt);
        place::kill(place.pid_of(1), Signal::KILL);
    }
    place.wait_for("its end", || place.state_of(1) == "failed");
    let error = place.show(1)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("killed by signal 9") && error.contains("attempt 3"), "{error}");
}

/// A transaction that is open while nobody lets its process go on: everybody else waits for it.
#[test]
fn a_worker_that_is_stopped_with_the_lock_of_the_database_is_ended_and_taken_up_again() {
    let place = Place::new();
    let hold = "import os, signal, sqlite3, sys
if os.path.exists('again'): sys.exit()
open('again', 'w').close()
state = sqlite3.connect('retraind.db', timeout=60)
state.execute('BEGIN IMMEDIATE')
os.killpg(0, signal.SIGSTOP)
";
    fs::write(place.path("hold.py"), hold).expect("written");
    place.job("holds", "[exec]\ncommand = [\"python3\", \"hold.py\"]\n[run]\nretry_delay = \"1s\"\n");
    let daemon = place.daemon();
    let run = place.json(&["trigger", "holds", "--wait", "--json"], 0);
    assert_eq!((&run["state"], &run["attempt"]), (&"succeeded".into(), &2.into()), "{run:#}");
    assert!(daemon.log().contains("the state database is locked and this worker is stopped"), "{}", daemon.log());
}

#[test]
fn a_stop_leaves_runs_that_go_on_after_the_start() {
    let place = slow();
    let daemon = place.daemon();
    place.stdout(&["trigger", "slow"], 0);
    let pid = place.pid_of(1);
    place.wait_for("its begin", || place.begun() == 1);
    daemon.stop();
    assert!(!place::is_alive(pid), "a stop waits for its workers");
    assert_eq!(place.state_of(1), "queued");
    assert!(place.stdout(&["jobs"], 0).contains("not running"));
    let _daemon = place.daemon();
    place.wait_for("the second attempt", || place.begun() == 2);
    finish(&place);
    place.wait_for("its end", || place.state_of(1) == "succeeded");
    assert_eq!(place.show(1)["attempts"][0]["ending"], "stopped");
}

#[test]
fn a_second_daemon_on_one_sqlite_file_is_refused() {
    let place = slow();
    let daemon = place.daemon();
    let said = place.stderr(&["daemon"], 75);
    assert!(said.contains(&format!("process {}", daemon.child.id())) && said.contains("stop that one first"), "{said}");
    daemon.kill();
    // the lock is gone with its process
    drop(place.daemon());
}

#[test]
fn a_daemon_whose_database_is_replaced_says_so_and_ends() {
    let place = slow();
    let mut daemon = place.daemon();
    fs::rename(place.path("retraind.db"), place.path("away.db")).expect("renamed");
    assert_eq!(daemon.wait().code(), Some(74));
    assert!(daemon.log().contains("retraind.db was removed or replaced while it was in use"), "{}", daemon.log());
    drop(place.daemon());
}

/// A program that is about to become another one has what the daemon that was killed had, its lock too.
#[test]
fn a_lock_without_its_daemon_is_waited_for() {
    let place = slow();
    let mut gone = std::process::Command::new("true").spawn().expect("started");
    gone.wait().expect("its end");
    let lock = fs::File::create(place.path("retraind.db.daemon")).expect("a file");
    lock.lock().expect("locked");
    writeln!(&lock, "{}", gone.id()).expect("written");
    let daemon = place.start(&[]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(place.status().is_empty(), "it waits: {}", daemon.log());
    drop(lock);
    place.wait_for("the daemon", || !place.status().is_empty());
}

#[test]
fn on_postgresql_one_schedules_and_another_takes_over() {
    let place = Place::on(Some(Cluster::shared().url("daemon")));
    place.job("slow", SLOW);
    let first = place.daemon();
    let second = place.start(&[]);
    place.wait_for("the second to stand by", || second.log().contains("standing by"));
    place.stdout(&["trigger", "slow"], 0);
    let pid = place.pid_of(1);
    let killed = Instant::now();
    first.kill();
    place.wait_for("the second to take over", || second.log().contains("found its worker at work"));
    println!("took over after {:.1} s", killed.elapsed().as_secs_f64());
    assert!(killed.elapsed() < Duration::from_mins(1), "15 s, and what a loaded machine adds");
    assert!(place::is_alive(pid));
    finish(&place);
    place.wait_for("its end", || place.state_of(1) == "succeeded");
    assert_eq!(place.begun(), 1);
    second.stop();
}
