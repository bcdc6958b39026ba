//! At most one daemon schedules on a state database: a lock on a file beside SQLite's, a lease in PostgreSQL.

use super::Error;
use crate::store::{self, Lead, Owner, Store};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};

/// The right to schedule, and the lock that goes with it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lead: Lead,
    /// Held until it is dropped; the kernel drops it with the process. Workers do not inherit it.
    _lock: Option<File>,
}

/// Takes the place. [`Error::Locked`] or [`store::Error::Led`] while another daemon has it.
pub(super) async fn take(store: &Store, owner: &Owner) -> Result<Place, Error> {
    let lock = lock(store, owner)?;
    let lead = store.take_lead(owner, |holder| !holder.is_alive()).await?;
    Ok(Place { lead, _lock: lock })
}

fn lock(store: &Store, owner: &Owner) -> Result<Option<File>, Error> {
    let Some(path) = store.lock_file() else { return Ok(None) };
    let failed = |source| Error::Lock { path: path.clone(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        file.read_to_string(&mut pid).map_err(failed)?;
        return Err(Error::Locked { path: path.clone(), pid: pid.trim().to_owned() });
    }
    // for the message above
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", owner.pid).map_err(failed)?;
    Ok(Some(file))
}

/// Whether somebody else has the place, which may be free later.
pub(super) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Store(store::Error::Led { .. } | store::Error::NotLeading { .. }))
}
