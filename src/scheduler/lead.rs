//! At most one daemon schedules on a state database: a lock on a file beside SQLite's, a lease in PostgreSQL.

use super::Error;
use crate::store::{self, Lead, Owner, Store};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock is waited for whose daemon is gone, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// The right to schedule, and the lock that goes with it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lead: Lead,
    /// Held until it is dropped; the kernel drops it with the process. Workers do not inherit it.
    _lock: Option<File>,
    /// The file of the state database, and which one it is.
    file: Option<(PathBuf, (u64, u64))>,
}

impl Place {
    /// Err: the database's file is another one than that which is open, or none.
    pub(super) fn check_file(&self) -> Result<(), Error> {
        match &self.file {
            Some((path, identity)) if identity_of(path) != Some(*identity) => Err(Error::Replaced(path.clone())),
            _ => Ok(()),
        }
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Takes the place. [`Error::Locked`] or [`store::Error::Led`] while another daemon has it.
pub(super) async fn take(store: &Store, owner: &Owner) -> Result<Place, Error> {
    let lock = lock(store, owner).await?;
    let lead = store.take_lead(owner, |holder| !holder.is_alive()).await?;
    let file = store.file().and_then(|path| Some((path.to_owned(), identity_of(path)?)));
    Ok(Place { lead, _lock: lock, file })
}

/// A program that a killed daemon was about to start has its files, and so its lock, until it is itself: for as long, whoever
/// comes next waits. One that is alive is told of at once.
async fn lock(store: &Store, owner: &Owner) -> Result<Option<File>, Error> {
    let Some(path) = store.lock_file() else { return Ok(None) };
    let failed = |source| Error::Lock { path: path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let began = Instant::now();
    while let Err(error) = file.try_lock() {
        if let TryLockError::Error(source) = error {
            return Err(failed(source));
        }
        let mut pid = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut pid)).map_err(failed)?;
        let pid = pid.trim();
        let is_there = pid.parse().is_ok_and(|pid| Owner::of_process(pid).is_ok_and(|holder| holder.is_alive()));
        if is_there || began.elapsed() > PATIENCE {
            return Err(Error::Locked { path: path.clone(), pid: pid.to_owned() });
        }
        tokio::time::sleep(LOOK).await;
    }
    // for whoever finds it locked
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", owner.pid).map_err(failed)?;
    Ok(Some(file))
}

/// Whether somebody else has the place, which may be free later.
pub(super) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Store(store::Error::Led { .. } | store::Error::NotLeading { .. }))
}
