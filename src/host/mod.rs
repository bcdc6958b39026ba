//! The host: its memory and disks, as they are now, and files on them that are written whole or not at all.

mod cgroup;
mod memory;

pub use cgroup::Cgroup;
pub use memory::{Holder, Memory};

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use sysinfo::Disks;

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

/// What [`replace`] writes has a name that begins so, until it is whole.
const NEW: &str = ".new-";

/// Whether a file is what a killed process left of [`replace`], or what one that is alive is writing.
pub fn is_half_written(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NEW))
}

/// Replaces a file by one atomic step; after a crash either the old or the new one is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new()
        .prefix(NEW)
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
