//! Executor `local`: an attempt is a child process of the same program, in a process group of its own.
//!
//! The worker writes to its log itself, so that it goes on when the daemon dies; another daemon finds it by boot id, process id
//! and start time, and watches it by a file descriptor of the process.

use crate::settings::Settings;
use crate::store::{Claim, Owner};
use crate::train;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// Clock ticks a second in /proc: fixed for user space on Linux.
const TICKS: u64 = 100;

/// A run's log.
pub fn log_file(settings: &Settings, run_id: i64) -> PathBuf {
    settings.runs.of(run_id).join("worker.log")
}

/// Starts the worker of an attempt. It gets the settings on its standard input: they may hold passwords, which have no place
/// among arguments or in the environment.
pub(super) async fn start(program: &Path, settings: &Settings, claim: Claim, nonce: &str) -> io::Result<Child> {
    let dir = settings.runs.of(claim.run_id);
    fs::create_dir_all(&dir)?;
    let log: File = OpenOptions::new().create(true).append(true).open(log_file(settings, claim.run_id))?;
    let mut child = Command::new(program)
        .args(["worker", &claim.run_id.to_string(), &claim.attempt.to_string(), nonce])
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // whoever starts the daemon as a service waits for the daemon's word, not for a worker's
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .process_group(0)
        .spawn()?;
    let text = serde_json::to_vec(settings)?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(&text).await,
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    // one that is gone already is seen to end; what it said stands in its log
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(child),
    }
}

/// Signals the whole process group of a worker. A group that is gone needs none.
pub fn signal(leader: i64, kill: bool) -> io::Result<()> {
    let pid = i32::try_from(leader).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    match kill_process_group(pid, if kill { Signal::KILL } else { Signal::TERM }) {
        Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

/// Kills what a worker that is gone has left running in its group: nothing of a run outlives its attempt.
pub fn end_group(worker: &Owner) -> io::Result<()> {
    // a number is given to no new process while a group has it: another process with it means that the group is gone
    let found = Owner::of_process(u32::try_from(worker.pid).unwrap_or(0));
    let is_its_own = worker.is_of_this_boot() && found.map_or(true, |found| found == *worker);
    if is_its_own { signal(worker.pid, true) } else { Ok(()) }
}

/// A process that is no child of ours, to be waited for by [`wait_for`]. None: it is gone.
pub fn watch(owner: &Owner) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(owner.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // only now: the number may have been given to another process until the descriptor was there
    Ok(owner.is_alive().then_some(descriptor))
}

/// Blocks until a process has ended.
pub fn wait_for(process: &OwnedFd) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// When a process of this host began, on the clock that starts with the host.
pub fn began(owner: &Owner) -> Duration {
    let ticks = u64::try_from(owner.process_start).unwrap_or(0);
    Duration::from_millis(ticks * (1_000 / TICKS))
}

/// Runs that have a directory, the first one first.
pub fn directories(settings: &Settings) -> io::Result<Vec<i64>> {
    let entries = match fs::read_dir(&settings.runs.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let run_id = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok());
        runs.extend(run_id.filter(|_| entry.path().is_dir()));
    }
    runs.sort_unstable();
    Ok(runs)
}

/// Runs whose directories hold more than a run that has ended needs.
pub fn unclean(settings: &Settings) -> io::Result<Vec<i64>> {
    let mut unclean = Vec::new();
    for run_id in directories(settings)? {
        if !train::leavings(&settings.runs.of(run_id))?.is_empty() {
            unclean.push(run_id);
        }
    }
    Ok(unclean)
}

/// Removes what a run that has ended needs no longer; its log stays.
pub fn clean_up(settings: &Settings, run_id: i64) -> io::Result<()> {
    train::remove_checkpoints(&settings.runs.of(run_id))
}
