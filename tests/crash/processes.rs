//! The processes that work in a directory, found in /proc.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use std::fs;
use std::path::Path;

/// One of them.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) arguments: Vec<String>,
}

/// All that work there now. One that has ended and was not collected does not.
pub(crate) fn working_in(dir: &Path) -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let place = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|_| place == dir)?;
        let arguments = line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        Some(Process { pid, arguments })
    })
    .collect()
}

/// The leaders of the groups that work on runs. What a leader is about to start has its arguments for a moment.
pub(crate) fn workers_in(dir: &Path) -> Vec<Process> {
    let is_worker = |process: &Process| process.arguments.get(1).is_some_and(|argument| argument == "worker");
    let leads = |process: &Process| {
        let pid = Pid::from_raw(process.pid as i32);
        getpgid(pid).is_ok_and(|group| Some(group) == pid)
    };
    working_in(dir).into_iter().filter(|process| is_worker(process) && leads(process)).collect()
}

/// kill -9 of a process or of the group that it leads. False: it was gone.
pub(crate) fn kill(pid: u32, group: bool) -> bool {
    let pid = Pid::from_raw(pid as i32).expect("a pid");
    let done = if group { kill_process_group(pid, Signal::KILL) } else { kill_process(pid, Signal::KILL) };
    match done {
        Err(Errno::SRCH) => false,
        done => done.map(|()| true).expect("killed"),
    }
}
