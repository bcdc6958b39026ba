//! The host itself: memory, disks, clock.

use super::{Finding, State};
use crate::cli::output::time;
use crate::host::{Memory, disk_free};
use crate::settings::Settings;
use crate::store::Store;
use chrono::Utc;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// Less than this and a retrain may not be able to write its version.
const DISK_FLOOR: u64 = 100 << 20;
/// Longer than systemd's tools ever take to answer.
const LIMIT: Duration = Duration::from_secs(5);

pub(super) fn memory() -> Finding {
    let (state, says) = match Memory::now() {
        Err(error) => (State::Warning, format!("unknown, so the alert on it cannot work: {error}")),
        Ok(memory) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let says = format!("{} of {} MiB used, {cores} core(s)", memory.used >> 20, memory.total >> 20);
            (if memory.used_percent() > 80.0 { State::Warning } else { State::Ok }, says)
        }
    };
    Finding { what: "memory", state, says }
}

/// One finding a file system: two directories on one share its space.
pub(super) fn disks(settings: &Settings) -> Vec<Finding> {
    let mut disks: BTreeMap<String, (u64, Vec<&str>)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (what, path) in written(settings) {
        if let Some((free, mount)) = disk_free(existing(&path)) {
            disks.entry(mount).or_insert((free, Vec::new())).1.push(what);
        } else {
            let says = format!("the file system of the {what} ({}) could not be found", path.display());
            findings.push(Finding { what: "disk", state: State::Warning, says });
        }
    }
    findings.extend(disks.into_iter().map(|(mount, (free, what))| Finding {
        what: "disk",
        state: if free < DISK_FLOOR { State::Missing } else { State::Ok },
        says: format!("{} MiB free on {mount} for the {}", free >> 20, what.join(", ")),
    }));
    findings
}

/// Places that retraind writes to: what for, and where.
pub(super) fn written(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let mut places = vec![("registry", settings.registry.dir.clone()), ("runs", settings.runs.dir.clone())];
    if let Some(directory) = Store::file_of(&settings.state.url).as_deref().and_then(Path::parent) {
        places.push(("state database", directory.to_owned()));
    }
    places
}

/// The path itself, or the nearest directory above it that is there.
fn existing(path: &Path) -> &Path {
    // the last ancestor of a relative path is the empty one
    let found = path.ancestors().find(|path| path.exists() || path.as_os_str().is_empty()).unwrap_or(path);
    if found.as_os_str().is_empty() { Path::new(".") } else { found }
}

pub(super) async fn clock() -> Finding {
    let now = Utc::now();
    // before the first release of this program, the clock cannot be right
    if now.timestamp() < 1_790_000_000 {
        return Finding { what: "clock", state: State::Missing, says: format!("{}: set it", time(now)) };
    }
    // the kernel's own flag, whichever program disciplines the clock
    let synchronised = ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await;
    let (state, says) = match synchronised.as_deref().map(str::trim) {
        Some("yes") => (State::Ok, ", synchronised"),
        Some("no") => (
            State::Warning,
            ", not synchronised, and jobs start by it; `timedatectl set-ntp true`, or install an NTP client",
        ),
        _ => (State::Ok, "; whether it is synchronised is not known here"),
    };
    Finding { what: "clock", state, says: format!("{}{says}", time(now)) }
}

/// What a tool of systemd answers. None: there is none, or it has no answer.
pub(super) async fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let answer = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, answer).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_the_disk_of_its_parent() {
        assert_eq!(existing(Path::new("/proc/nowhere/models")), Path::new("/proc"));
        assert_eq!(existing(Path::new("nowhere/models")), Path::new("."));
    }
}
