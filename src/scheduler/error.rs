//! What ends the daemon.

use crate::{run, store};
use std::io;
use std::path::PathBuf;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Versions, or whatever runs work with.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The lock beside an `SQLite` file.
    #[error("lock {}: {source}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon holds it.
    #[error(
        "start the daemon: another one (process {pid}) schedules on this state database and holds {}; stop that one first, \
         or give this one a `[state] url` of its own", .path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Its process.
        pid: String,
    },
    /// Whatever is written now is in a file that nobody finds.
    #[error(
        "go on: {} was removed or replaced while it was in use; start again to go on with what is there now, or put a \
         backup in its place first", .0.display()
    )]
    Replaced(PathBuf),
    /// Signals, timers, files.
    #[error("{doing}: {source}")]
    Os {
        /// What.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The timers.
    #[error("set a timer: {0}")]
    Timer(String),
}

impl Error {
    /// Whether a process holds the state database's lock and does not let go.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_locked())
    }
}
