//! A directory with settings, jobs and a daemon of its own.
#![allow(dead_code, reason = "not every test that includes this file needs all of it")]

use assert_cmd::Command;
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Works until it is stopped; each attempt leaves a line.
pub(crate) const SLOW: &str = "[exec]\ncommand = [\"sh\", \"-c\", \"echo begun >> attempts; while [ ! -e done ]; do sleep 0.1; done\"]\n\
    [run]\nretry_delay = \"1s\"\n";

pub(crate) struct Place {
    dir: TempDir,
    state: Option<String>,
}

/// A daemon, killed when the test is over.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::on(None)
    }

    /// With another state database than SQLite beside the jobs.
    pub(crate) fn on(state: Option<String>) -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory"), state };
        fs::create_dir(place.path("jobs")).expect("a directory");
        fs::write(place.path("retraind.toml"), "[daemon]\nmax_running = 2\ngrace = \"2s\"\nstop_grace = \"5s\"\n")
            .expect("written");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn job(&self, name: &str, text: &str) {
        fs::write(self.path(&format!("jobs/{name}.toml")), text).expect("written");
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![("RETRAIND_CONFIG", self.path("retraind.toml").display().to_string())];
        environment.extend(self.state.clone().map(|url| ("RETRAIND_STATE__URL", url)));
        environment
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("retraind").expect("built");
        command.current_dir(self.dir.path()).args(arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RETRAIND_")) {
            command.env_remove(name);
        }
        command.envs(self.environment());
        command
    }

    /// Starts a daemon and waits until it schedules.
    pub(crate) fn daemon(&self) -> Daemon {
        let daemon = self.start(&[]);
        self.wait_for("the daemon", || !self.status().is_empty());
        daemon
    }

    /// Starts a daemon with more in its environment.
    pub(crate) fn start(&self, environment: &[(&str, &str)]) -> Daemon {
        static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = STARTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.path(&format!("daemon-{n}.log"));
        let output = File::create(&log).expect("a log");
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("retraind"));
        command.arg("daemon").current_dir(self.dir.path());
        command.envs(self.environment()).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a log")).stderr(output);
        Daemon { child: command.spawn().expect("started"), log }
    }

    pub(crate) fn stdout(&self, arguments: &[&str], code: i32) -> String {
        let assert = self.command(arguments).assert().code(code);
        String::from_utf8(assert.get_output().stdout.clone()).expect("text")
    }

    pub(crate) fn stderr(&self, arguments: &[&str], code: i32) -> String {
        let assert = self.command(arguments).assert().code(code);
        String::from_utf8(assert.get_output().stderr.clone()).expect("text")
    }

    pub(crate) fn json(&self, arguments: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.stdout(arguments, code)).expect("one JSON document")
    }

    /// What the daemon says of itself; nothing where there is none.
    pub(crate) fn status(&self) -> String {
        self.json(&["jobs", "--json"], 0)["daemon"]["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Runs of a job that have ended, newest first.
    pub(crate) fn ended(&self, job: &str) -> Vec<Value> {
        let runs = self.json(&["runs", job, "--json"], 0);
        runs.as_array().expect("a list").iter().filter(|run| !run["ended_at"].is_null()).cloned().collect()
    }

    pub(crate) fn show(&self, run: i64) -> Value {
        self.json(&["show", &run.to_string(), "--json"], 0)
    }

    pub(crate) fn state_of(&self, run: i64) -> String {
        self.show(run)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The process that has a run, once a worker has taken it.
    pub(crate) fn pid_of(&self, run: i64) -> u32 {
        let mut pid = 0;
        self.wait_for("a worker", || {
            let shown = self.show(run);
            let worker = shown["owner"]["pid"].as_u64().unwrap_or_default() as u32;
            let command = fs::read(format!("/proc/{worker}/cmdline")).unwrap_or_default();
            pid = worker;
            String::from_utf8_lossy(&command).contains("worker")
        });
        pid
    }

    /// How many attempts of [`SLOW`] have begun.
    pub(crate) fn begun(&self) -> usize {
        fs::read_to_string(self.path("attempts")).map_or(0, |text| text.lines().count())
    }

    pub(crate) fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while !holds() {
            if Instant::now() > deadline {
                let logs = fs::read_dir(self.dir.path()).expect("a directory").flatten();
                let logs = logs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
                let logs: Vec<String> = logs.map(|log| fs::read_to_string(log.path()).unwrap_or_default()).collect();
                panic!("waited two minutes for {what}; the daemons said:\n{}", logs.join("\n---\n"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Daemon {
    /// All that it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        kill(self.child.id(), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("its end")
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.wait();
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(mut self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // a stop and not a kill, so that no worker of a failed test stays behind
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(rustix::process::Signal::TERM);
            self.signal(rustix::process::Signal::TERM);
            self.child.wait().expect("its end");
        }
    }
}

pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("signalled");
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
