//! Memory in use: of the host, or of the cgroup whose limit is nearer, and which processes hold it.

use super::Cgroup;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

/// Memory in use. Unit: bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// In use, caches not counted.
    pub used: u64,
    /// All there is.
    pub total: u64,
    /// Whose limit that is; none: the host's.
    pub cgroup: Option<Cgroup>,
}

/// A process and the memory that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Name of its program.
    pub name: String,
    /// Resident memory. Unit: bytes.
    pub bytes: u64,
}

impl Memory {
    /// What is in use on the host now. Err: the system does not say.
    pub fn now() -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Ok(Self { used: system.used_memory(), total: system.total_memory().max(1), cgroup: None })
    }

    /// The same for whatever is nearest to its limit of the host and the cgroups that process `pid` is in.
    pub fn nearest(pid: u32) -> Result<Self, sysinfo::Error> {
        let host = Self::now()?;
        let limited = Cgroup::of(pid).into_iter().flat_map(Cgroup::upwards).filter_map(|cgroup| {
            // a limit above what the host has limits nothing
            let (used, total) = cgroup.usage().filter(|(_, limit)| *limit < host.total)?;
            Some(Self { used, total, cgroup: Some(cgroup) })
        });
        let nearest = limited.max_by(|a, b| a.used_percent().total_cmp(&b.used_percent()));
        Ok(nearest.filter(|cgroup| cgroup.used_percent() > host.used_percent()).unwrap_or(host))
    }

    /// The share in use. Unit: percent.
    pub fn used_percent(&self) -> f64 {
        100.0 * self.used as f64 / self.total as f64
    }

    /// The `n` processes that hold most of it, largest first. Processes of others may be hidden from us.
    pub fn holders(&self, n: usize) -> Vec<Holder> {
        let Ok(mut system) = System::new() else { return Vec::new() };
        let kind = ProcessRefreshKind::nothing().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let mut holders: Vec<Holder> = system
            .processes()
            .values()
            .filter(|process| process.thread_kind().is_none())
            .map(|process| Holder {
                pid: process.pid().as_u32(),
                name: process.name().to_string_lossy().into_owned(),
                bytes: process.memory(),
            })
            .filter(|holder| self.cgroup.as_ref().is_none_or(|cgroup| cgroup.holds(holder.pid)))
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        holders.truncate(n);
        holders
    }
}
