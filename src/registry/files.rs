//! Files that are written whole or not at all.

use super::Error;
use sha2::{Digest, Sha256};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long to wait for another process. It holds the lock from the export to the last rename, the judging of every
/// validation window included: under a second for thousands of windows, minutes for a hundred million.
const PATIENCE: Duration = Duration::from_mins(5);

/// An exclusive lock, freed when dropped or when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: PathBuf) -> Result<Self, Error> {
        let file = match File::options().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(source) => return Err(Error::Write { path, source }),
        };
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(source)) => return Err(Error::Write { path, source }),
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { path, seconds: PATIENCE.as_secs() });
                }
            }
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Writes a new file and flushes it to the disk.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what a killed process left half written.
pub(super) fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(".staging-") {
            fs::remove_dir_all(entry.path())?;
        } else if name.to_string_lossy().starts_with(".new-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
