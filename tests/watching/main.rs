//! What people are told, by real trainings, real daemons and a real mail server: each thing once, at the right epoch,
//! second or instant, and once that it is over.

#[path = "../daemon/place.rs"]
mod place;
#[path = "../support/smtp.rs"]
mod smtp;

// Where it happens: a run in the foreground, or a daemon with its workers.
mod foreground;
mod house;

// What happens there.
mod commands;
mod jobs;
mod memory;
mod service;
mod source;
mod trainings;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use smtp::{MailHost, PASSWORD, USER, part};
use std::fmt::Write as _;
use std::path::Path;
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

/// A training that would go on for hours. Its epochs have many steps, so that they can be written down as fast as they come.
const ENDLESS: &str = "epochs = 100000\npatience = 100000\nbatch_size = 1\n";
/// Steps too small for the weights' 32 bits: nothing ever changes.
const STANDSTILL: &str = "learning_rate = 1e-20\n";

/// `[smtp]` and `[alerting]` for the tests' mail server.
fn mail_settings(host: &MailHost, port: u16) -> String {
    format!(
        "[smtp]\nhost = \"localhost\"\nport = {port}\nca_file = \"{}\"\nusername = \"{USER}\"\npassword = \"{PASSWORD}\"\n\
         from = \"retraind@example.org\"\nto = [\"ann@example.org\"]\n[alerting]\nhost = \"trainer\"\ngroup_wait = \"1s\"\n",
        host.authority().display()
    )
}

/// Recorded counts, as CSV: the first video grows steadily, the second one (which `level` validates on) jumps up and down.
fn rows() -> String {
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for (video, n) in [("video-a", 240), ("video-b", 60)] {
        for k in 0..n {
            let views = if video == "video-a" { 1000 + 10 * k } else { 1000 + 900 * (k % 2) };
            writeln!(csv, "2026-01-01T{:02}:{:02}:00Z,{video},{views},{},{}", k / 60, k % 60, 100 + k, k)
                .expect("text");
        }
    }
    csv
}

/// Stops a process between two of its transactions: in the middle of one it would keep the lock of the `state` database.
fn stop(state: &Path, pid: Pid) {
    let state = rusqlite::Connection::open(state).expect("opened");
    state.busy_timeout(Duration::ZERO).expect("set");
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        kill_process(pid, Signal::STOP).expect("stopped");
        sleep(Duration::from_millis(20)); // until each of its threads has seen it
        if state.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok() {
            return;
        }
        kill_process(pid, Signal::CONT).expect("goes on");
        assert!(Instant::now() < deadline, "it always writes");
        sleep(Duration::from_millis(7));
    }
}

/// Runs cases at the same time, however few processors there are: what they do is wait for clocks.
fn side_by_side(cases: &[(&'static str, fn())]) {
    let failed: Vec<&str> = scope(|scope| {
        let start = |(name, case): &(&'static str, fn())| {
            Builder::new().name((*name).to_owned()).spawn_scoped(scope, *case).expect("a thread")
        };
        let running: Vec<_> = cases.iter().map(start).collect();
        let ended = running.into_iter().map(|case| case.join().is_ok());
        cases.iter().zip(ended).filter(|(_, fine)| !fine).map(|((name, _), _)| *name).collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn text(mail: &Value) -> &str {
    part(mail, "text/plain")["text"].as_str().expect("text")
}
