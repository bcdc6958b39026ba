//! Which process has a run, and whether that process is still there.

use std::fs;
use std::io;

use super::Error;

/// One process, told apart from every other one for ever: a pid alone is used again after a while, and
/// after a reboot at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// Host name.
    pub host: String,
    /// Changes with every boot of the host.
    pub boot_id: String,
    /// Process id.
    pub pid: i64,
    /// When the process started. Unit: clock ticks since boot.
    pub process_start: i64,
}

const HOST: &str = "/proc/sys/kernel/hostname";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Owner {
    /// The process that asks.
    pub fn this_process() -> Result<Self, Error> {
        Self::of_process(std::process::id())
    }

    /// A process of this host that is there now.
    pub fn of_process(pid: u32) -> Result<Self, Error> {
        let read = |file: &str| {
            fs::read_to_string(file)
                .map(|text| text.trim().to_owned())
                .map_err(|source| Error::ProcessIdentity { file: file.to_owned(), source })
        };
        let file = format!("/proc/{pid}/stat");
        let stat = Stat::parse(&read(&file)?)
            .ok_or_else(|| Error::ProcessIdentity { file, source: io::Error::from(io::ErrorKind::InvalidData) })?;
        Ok(Self { host: read(HOST)?, boot_id: read(BOOT_ID)?, pid: i64::from(pid), process_start: stat.start })
    }

    /// Whether it is, or was, a process of this host.
    pub fn is_local(&self) -> bool {
        fs::read_to_string(HOST).is_ok_and(|text| text.trim() == self.host)
    }

    /// Whether it is, or was, a process of this host since it started last.
    pub fn is_of_this_boot(&self) -> bool {
        self.is_local() && fs::read_to_string(BOOT_ID).is_ok_and(|text| text.trim() == self.boot_id)
    }

    /// Whether the process may still be at work. In doubt it is: a run wrongly taken for dead would be
    /// done twice, one wrongly taken for alive waits for a person or its time limit.
    pub fn is_alive(&self) -> bool {
        let here = |file, name: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == name);
        if !here(HOST, &self.host) {
            return true; // another host: cannot be seen from here
        }
        if !here(BOOT_ID, &self.boot_id) {
            return false; // the host has restarted since
        }
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(text) => Stat::parse(&text).is_none_or(|stat| stat.start == self.process_start && !stat.ended),
            // Other users' processes are missing in /proc where it is mounted with hidepid, as systemd's
            // ProtectProc= does. A signal tells "not yours" from "not there".
            Err(_) => self.answers_a_signal(),
        }
    }

    /// Whether it is a process of this host that a signal (SIGSTOP, SIGTSTP) has stopped, and that nobody has let go on.
    pub fn is_stopped(&self) -> bool {
        self.is_of_this_boot()
            && fs::read_to_string(format!("/proc/{}/stat", self.pid))
                .is_ok_and(|text| Stat::parse(&text).is_some_and(|s| s.start == self.process_start && s.stopped))
    }

    fn answers_a_signal(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// The fields of /proc/PID/stat that matter here.
struct Stat {
    /// Exited, and nobody has collected it yet.
    ended: bool,
    stopped: bool,
    start: i64,
}

impl Stat {
    /// Source: proc(5). Field 2 is the command in parentheses and may hold spaces and parentheses
    /// itself, so fields are counted from the last one: 3 is the state, 22 the start time.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let start = fields.nth(22 - 4)?.parse().ok()?;
        Some(Self { ended: matches!(state, "Z" | "X" | "x"), stopped: state == "T", start })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert!(Owner::this_process().unwrap().is_alive());
    }

    #[test]
    fn what_is_not_this_process() {
        let this = Owner::this_process().unwrap();
        let check = |owner: Owner, alive: bool| assert_eq!(owner.is_alive(), alive, "{owner:?}");
        check(Owner { process_start: this.process_start + 1, ..this.clone() }, false);
        check(Owner { boot_id: "an earlier one".into(), ..this.clone() }, false);
        check(Owner { pid: i64::from(i32::MAX), ..this.clone() }, false);
        check(Owner { pid: i64::MAX, ..this.clone() }, false);
        check(Owner { host: "elsewhere".into(), pid: i64::from(i32::MAX), ..this }, true);
    }

    #[test]
    fn a_child_is_dead_once_killed_even_before_it_is_collected() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        let owner = Owner::of_process(child.id()).unwrap();
        assert!(owner.is_alive() && !owner.is_stopped());
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !owner.is_stopped() {
            assert!(std::time::Instant::now() < deadline, "a stopped child does not count as stopped");
            std::thread::yield_now();
        }
        assert!(owner.is_alive(), "it may go on");
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while owner.is_alive() {
            assert!(std::time::Instant::now() < deadline, "a killed child still counts as alive");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!owner.is_alive());
    }

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c)) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.start, stat.ended), (4242, false));
        assert!(Stat::parse("7 (zombie) Z 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 5 1").unwrap().ended);
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("7 (short) S 1").is_none());
    }
}
