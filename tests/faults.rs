//! Kills, full disks, two at once: whatever happens, the registry and the state database agree and nothing is lost.

use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TARGETS: [&str; 3] = ["views", "likes", "comments"];

fn place(epochs: u32, hidden: u32) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("jobs")).expect("a directory");
    let job = format!("[retrain]\nepochs = {epochs}\nhidden = {hidden}\ndense = 3\n[gate]\nmae_max = 10.0\n");
    fs::write(dir.path().join("jobs/weekly.toml"), job).expect("written");
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for k in 0..90 {
        let (hour, minute) = (k / 60, k % 60);
        writeln!(csv, "2026-01-01T{hour:02}:{minute:02}:00Z,video-a,{},{},{}", 1000 + 13 * k, 100 + k, k / 3)
            .expect("text");
    }
    fs::write(dir.path().join("rows.csv"), csv).expect("written");
    assert!(output(dir.path(), &["import", "rows.csv"]).status.success());
    dir
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retraind"));
    command
        .current_dir(dir)
        .args(arguments)
        .env("RETRAIND_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().expect("it starts")
}

fn json(dir: &Path, arguments: &[&str]) -> Value {
    let output = output(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// What must hold whenever nothing is running.
fn check_invariants(dir: &Path) {
    let runs = json(dir, &["runs", "--json", "--limit", "1000"]);
    for run in runs.as_array().expect("a list") {
        let state = run["state"].as_str().expect("a state");
        assert!(!["queued", "running"].contains(&state), "run {} is still {state}", run["id"]);
        for target in run["targets"].as_array().expect("a list") {
            assert_ne!(target["state"], "running", "{run}");
        }
    }
    let models = json(dir, &["models", "--json"]);
    for model in models.as_array().expect("a list") {
        assert!(model["damaged"].is_null(), "{model}");
    }
    for target in TARGETS {
        let dir = dir.join("models").join(target);
        if let Ok(champion) = fs::read_to_string(dir.join("champion")) {
            assert!(dir.join(champion.trim()).join("model.onnx").is_file(), "{target}: {champion}");
        }
    }
}

fn leftovers(dir: &Path) -> Vec<PathBuf> {
    TARGETS
        .iter()
        .filter_map(|target| fs::read_dir(dir.join("models").join(target)).ok())
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".staging-")))
        .collect()
}

#[test]
fn killed_at_any_moment_it_goes_on_as_if_nothing_had_been() {
    let place = place(2, 4);
    let dir = place.path();
    let began = Instant::now();
    assert!(output(dir, &["run", "weekly"]).status.success());
    let whole = began.elapsed();
    let n = 24;
    for k in 0..n {
        let mut child = command(dir, &["run", "weekly"]).spawn().expect("it starts");
        sleep(whole * k / n);
        child.kill().expect("SIGKILL");
        child.wait().expect("gone");
        check_invariants(dir);
    }
    assert!(output(dir, &["run", "weekly"]).status.success(), "a run after all the kills");
    check_invariants(dir);
    assert_eq!(leftovers(dir), Vec::<PathBuf>::new(), "the next run clears what killed ones left");

    // every version on the disk is a row, and every row is on the disk
    let models = json(dir, &["models", "--json"]);
    let connection = Command::new("python3")
        .args(["-c", "import sqlite3; print(sqlite3.connect('retraind.db').execute('SELECT count(*) FROM versions').fetchone()[0], sqlite3.connect('retraind.db').execute(\"SELECT count(*) FROM promotions WHERE state = 'pending'\").fetchone()[0])"])
        .current_dir(dir)
        .output()
        .expect("python3");
    let counted = String::from_utf8(connection.stdout).expect("UTF-8");
    assert_eq!(counted.trim(), format!("{} 0", models.as_array().expect("a list").len()));
}

#[test]
fn a_signal_stops_a_run_at_a_safe_point() {
    let place = place(100_000, 4);
    for (signal, code) in
        [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143), (rustix::process::Signal::HUP, 129)]
    {
        let child = command(place.path(), &["run", "weekly", "--set", "retrain.patience=100000"]).spawn();
        let child = child.expect("it starts");
        sleep(Duration::from_millis(1500));
        let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("sent");
        let output = child.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let runs = json(place.path(), &["runs", "--json"]);
    assert_eq!((&runs[0]["state"], &runs[1]["state"]), (&"cancelled".into(), &"cancelled".into()));
    check_invariants(place.path());
}

#[test]
fn of_two_at_once_one_gives_way() {
    let place = place(300, 16);
    let spawn = || command(place.path(), &["run", "weekly"]).spawn().expect("it starts");
    let children = [spawn(), spawn(), spawn()];
    let mut codes: Vec<_> =
        children.map(|child| child.wait_with_output().expect("ended").status.code().expect("a code")).into();
    codes.sort_unstable();
    assert_eq!(codes, [0, 75, 75], "one runs, the others give way");
    check_invariants(place.path());
}

#[test]
fn a_full_disk_fails_the_run_and_keeps_the_champion() {
    let place = place(1, 50);
    let dir = place.path();
    assert!(output(dir, &["run", "weekly"]).status.success());
    // A file system of its own for the registry, too small for one more model (134 kB each); only this process sees it.
    let script = "set -e; cp -a models kept; mount -t tmpfs -o size=600k none models; cp -a kept/. models/; \
                  for n in 1 2 3 4 5 6 7 8 9; do \"$0\" run weekly && continue; code=$?; \"$0\" models --json >&3; exit $code; done";
    let file = fs::File::create(dir.join("models.json")).expect("a file");
    let root = rustix::process::getuid().is_root();
    let mut shell = Command::new("unshare");
    shell.args(if root { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
    shell.args(["sh", "-c", &format!("exec 3>models.json; {script}"), env!("CARGO_BIN_EXE_retraind")]);
    let output = shell.current_dir(dir).env("RETRAIND_CONFIG", "/dev/null").output().expect("unshare, from util-linux");
    drop(file);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("No space left on device") && said.contains("model.onnx"), "{said}");
    let models: Value =
        serde_json::from_slice(&fs::read(dir.join("models.json")).expect("read")).expect("one JSON document");
    let champions = models.as_array().expect("a list").iter().filter(|m| m["champion"] == true).count();
    assert!(champions >= 1 && models.as_array().expect("a list").iter().all(|m| m["damaged"].is_null()), "{models}");
    let runs = json(dir, &["runs", "--json", "--limit", "1"]);
    assert_eq!(runs[0]["state"], "failed");
}

#[test]
fn a_registry_that_cannot_be_written_is_said() {
    let place = place(1, 4);
    // a file where a directory should be stops root, too
    fs::write(place.path().join("models"), "").expect("written");
    let output = output(place.path(), &["run", "weekly"]);
    assert_eq!(output.status.code(), Some(73), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.signal().is_none());
}
