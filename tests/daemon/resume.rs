//! A training whose processes are killed goes on from its checkpoint and ends in the bytes of an undisturbed one.

use super::place::{self, Place};
use super::small::{self, Made};
use rustix::process::Signal;
use safetensors::SafeTensors;
use std::fs;
use std::sync::OnceLock;

const TARGETS: [&str; 2] = ["views", "likes"];
/// Some seconds, so that there is something left after the kill.
const EPOCHS: usize = 400;
/// Epochs that are written down before the kill.
const BEFORE: usize = 5;

fn small() -> Place {
    let place = Place::new();
    place.job("small", &format!("{}[run]\nretry_delay = \"1s\"\n", small::job(&TARGETS, EPOCHS as u32, 5)));
    small::import(&place);
    place
}

/// What a run makes that nobody disturbs, in a directory of its own.
fn undisturbed() -> &'static [Made; 2] {
    static MADE: OnceLock<[Made; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = small();
        place.stdout(&["run", "small"], 0);
        TARGETS.map(|target| made(&place, target))
    })
}

fn made(place: &Place, target: &str) -> Made {
    Made::read(&place.path(&format!("models/{target}/v0001")))
}

/// Epochs that a target's checkpoint holds; 0 where there is none.
fn in_checkpoint(place: &Place, target: &str) -> usize {
    let Ok(bytes) = fs::read(place.path(&format!("runs/1/{target}.checkpoint"))) else { return 0 };
    let checkpoint = SafeTensors::deserialize(&bytes).expect("whole, as it is replaced by one step");
    checkpoint.tensor("epochs").expect("a table").shape()[0]
}

/// Epochs of a target that the state database has from one attempt, in order.
fn in_database(place: &Place, target: &str, attempt: i64) -> Vec<usize> {
    let state = rusqlite::Connection::open(place.path("retraind.db")).expect("opened");
    let mut rows = state
        .prepare("SELECT epoch FROM epochs WHERE run_id = 1 AND target = $1 AND attempt = $2 ORDER BY epoch")
        .expect("a query");
    let rows = rows.query_map((target, attempt), |row| row.get::<_, i64>(0)).expect("read");
    rows.map(|epoch| usize::try_from(epoch.expect("read")).expect("from 1")).collect()
}

/// Waits until the run is in the middle of its trainings, and says whose process has it.
fn in_the_middle(place: &Place) -> u32 {
    place.stdout(&["trigger", "small"], 0);
    let pid = place.pid_of(1);
    let written = |target| in_checkpoint(place, target) >= BEFORE && in_database(place, target, 1).len() >= BEFORE;
    place.wait_for("epochs of both models", || TARGETS.into_iter().all(written));
    pid
}

/// The second attempt trained what the first one had not written down, and what came of it is what always comes of it.
fn check_the_end(place: &Place, ending: &str) {
    place.wait_for("its end", || place.state_of(1) == "succeeded");
    let run = place.show(1);
    let ended = &run["attempts"][0]["ending"];
    assert_eq!((&run["attempt"], ended), (&2.into(), &ending.into()), "the kill came too late? {run:#}");
    let log = place.stdout(&["show", "1", "--log"], 0);
    for (target, undisturbed) in TARGETS.into_iter().zip(undisturbed()) {
        let went_on = log.split_once(&format!("{target}: goes on after ")).map(|(_, rest)| rest);
        let went_on = went_on.and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("{target}: {log}"));
        let went_on: usize = went_on.parse().expect("a number of epochs");
        assert!((BEFORE..EPOCHS).contains(&went_on), "{target}: {went_on}");
        let [first, second] = [1, 2].map(|attempt| in_database(place, target, attempt));
        assert!(second.ends_with(&(went_on + 1..=EPOCHS).collect::<Vec<_>>()), "{target}: {second:?}");
        // what was on its way to the table when the first attempt died may be written down by the second one
        let twice: Vec<&usize> = second.iter().filter(|epoch| **epoch <= went_on && first.contains(epoch)).collect();
        assert!(twice.is_empty(), "{target}: trained again: {twice:?}");
        let difference = undisturbed.difference(&made(place, target));
        assert!(difference.is_none(), "{target}: {}", difference.unwrap_or_default());
    }
}

#[test]
fn what_a_run_has_left_that_ended_unseen_is_removed_by_the_next_daemon() {
    let place = Place::new();
    place.job("nothing", "[exec]\ncommand = [\"true\"]\n");
    place.stdout(&["run", "nothing"], 0);
    fs::create_dir_all(place.path("runs/1")).expect("a directory");
    fs::create_dir_all(place.path("runs/2")).expect("a directory");
    let left = ["1/views.checkpoint", "1/.new-a1b2c3", "1/worker.log", "2/views.checkpoint"].map(|name| {
        let path = place.path(&format!("runs/{name}"));
        fs::write(&path, "").expect("written");
        path
    });
    let _daemon = place.daemon();
    let kept = left.map(|path| path.exists());
    assert_eq!(kept, [false, false, true, true], "run 2 is none of this database");
}

#[test]
fn a_training_goes_on_after_its_worker_was_killed() {
    let place = small();
    let _daemon = place.daemon();
    place::kill(in_the_middle(&place), Signal::KILL);
    check_the_end(&place, "died");
}

#[test]
fn a_training_goes_on_after_daemon_and_worker_were_killed() {
    let place = small();
    let daemon = place.daemon();
    let pid = in_the_middle(&place);
    daemon.kill();
    place::kill(pid, Signal::KILL);
    place.wait_for("its end", || !place::is_alive(pid));
    let _daemon = place.daemon();
    check_the_end(&place, "interrupted");
}
