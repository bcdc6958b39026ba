//! The host: its memory and disks, as they are now, and files on them that are written whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use sysinfo::{Disks, MemoryRefreshKind, System};

/// Memory of the host. Unit: bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// In use, caches not counted.
    pub used: u64,
    /// All there is.
    pub total: u64,
}

impl Memory {
    /// What is in use now. Err: the system does not say.
    pub fn now() -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Ok(Self { used: system.used_memory(), total: system.total_memory().max(1) })
    }

    /// The share in use. Unit: percent.
    pub fn used_percent(self) -> f64 {
        100.0 * self.used as f64 / self.total as f64
    }
}

/// Free bytes of the file system that `dir` is on, and where that is mounted. None: it cannot be found.
pub fn disk_free(dir: &Path) -> Option<(u64, String)> {
    let dir = dir.canonicalize().ok()?;
    let disks = Disks::new_with_refreshed_list().ok()?;
    // the longest mount point above a directory is the file system it is on
    let disk = disks
        .iter()
        .filter(|disk| dir.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    Some((disk.available_space(), disk.mount_point().display().to_string()))
}

/// Replaces a file by one atomic step; after a crash either the old or the new one is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(dir)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    flush_dir(dir)
}

/// Makes names created or renamed in `dir` survive a power cut.
pub fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
