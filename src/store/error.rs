//! What can go wrong here, each with the facts a person or the retry rule needs.

use std::path::PathBuf;

use super::{PromotionState, RunState};

/// Completes "failed to …". Causes are in `source()`; no message ever holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names no database, or cannot be read.
    #[error(
        "open the state database: {problem}; \
         use sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE in `[state] url`"
    )]
    BadUrl {
        /// What is wrong with it, without quoting it: it may hold a password.
        problem: String,
    },

    /// The directory that the `SQLite` file should be in does not exist.
    #[error(
        "open the state database {}: directory {} does not exist; create it or correct `[state] url`",
        .file.display(), .directory.display()
    )]
    NoDirectory {
        /// The database file.
        file: PathBuf,
        /// Its missing parent.
        directory: PathBuf,
    },

    /// The `SQLite` file or its directory cannot be read or written.
    #[error(
        "open the state database {} for writing; give this user write access to the file and its directory \
         (SQLite keeps two more files beside it)",
        .file.display()
    )]
    Unwritable {
        /// The database file.
        file: PathBuf,
        /// `SQLite`'s own words.
        source: sqlx::Error,
    },

    /// The file is there, but `SQLite` did not write it.
    #[error(
        "open the state database {}: the file is not an SQLite database; \
         move it away or correct `[state] url`",
        .file.display()
    )]
    NotADatabase {
        /// The file.
        file: PathBuf,
        /// `SQLite`'s own words.
        source: sqlx::Error,
    },

    /// Nobody answers at the address, or the server is not ready yet.
    #[error("reach the state database {location}; check that the server runs and the network lets us through")]
    Unreachable {
        /// Where it was looked for.
        location: String,
        /// What the network or the server said.
        source: sqlx::Error,
    },

    /// The server answers and does not let us in: password, database name, encryption.
    #[error("open the state database {location}; the server refused the connection, correct `[state] url`")]
    Refused {
        /// Which database.
        location: String,
        /// The server's own words.
        source: sqlx::Error,
    },

    /// A newer program has been here.
    #[error(
        "open the state database {location}: it is at schema version {found}, \
         this program knows versions up to {known}; run the newer retraind or restore an older backup"
    )]
    NewerSchema {
        /// Which database.
        location: String,
        /// A version in the database that this program has not.
        found: i64,
        /// The newest one that it has.
        known: i64,
    },

    /// A migration was edited after it had been applied.
    #[error(
        "open the state database {location}: its schema version {version} was applied from another text \
         than this program holds; use the program that made it or restore a backup"
    )]
    AlteredSchema {
        /// Which database.
        location: String,
        /// The migration.
        version: i64,
    },

    /// A migration failed; its transaction was rolled back.
    #[error("bring the state database {location} to the schema of this program")]
    Migration {
        /// Which database.
        location: String,
        /// What failed.
        source: Box<sqlx::migrate::MigrateError>,
    },

    /// A query failed.
    #[error("read or write the state database")]
    Database(#[from] sqlx::Error),

    /// A newer program's word, or an edited row.
    #[error("read the state database: `{word}` is no {kind} that this version of retraind knows")]
    UnknownWord {
        /// The set of words.
        kind: &'static str,
        /// What was found.
        word: String,
    },

    /// Another run of the job is running, and a job runs once at a time.
    #[error(
        "start {job}: {} is under way; wait for it to end, or end it with `retraind cancel RUN`",
        run_id.map_or_else(|| "another run".to_owned(), |run| format!("run {run} of it"))
    )]
    JobRunning {
        /// Whose.
        job: String,
        /// The other run; none where it could not be told.
        run_id: Option<i64>,
    },
    /// Another scheduler has taken over: whoever gets this starts nothing more.
    #[error("schedule: {holder} has taken over")]
    NotLeading {
        /// Who.
        holder: String,
    },
    /// Another scheduler is at work.
    #[error("schedule: {holder} does already; stop that one first, or give this one a state database of its own")]
    Led {
        /// Who.
        holder: String,
    },
    /// No such job has been seen by a daemon.
    #[error("find job {0}: no daemon has seen it yet; `retraind check` says whether its file is right")]
    NoSuchJob(String),
    /// This has been asked for before: not a fault when two schedulers meet.
    #[error("queue a run: {run_key} is run {run_id} already")]
    RunKeyTaken {
        /// The key.
        run_key: String,
        /// The run that has it.
        run_id: i64,
    },

    /// No run has this id.
    #[error("find run {0}: there is none; `retraind runs` lists them")]
    NoSuchRun(i64),

    /// The run is not in the state that the step starts from.
    #[error("{step} run {run_id}: it is {found}, not {needed}")]
    NotInState {
        /// The run.
        run_id: i64,
        /// What was tried: `start`, `cancel`, ….
        step: &'static str,
        /// The state that this takes.
        needed: RunState,
        /// The state it is in.
        found: RunState,
    },

    /// A newer attempt has the run, or the run has ended: whoever gets this stops working.
    #[error("write for attempt {attempt} of run {run_id}: the run is {state} at attempt {current}")]
    Fenced {
        /// The run.
        run_id: i64,
        /// The attempt that was given up.
        attempt: i64,
        /// The attempt that the run is at.
        current: i64,
        /// The state that the run is in.
        state: RunState,
    },

    /// A version is immutable, and another one has this name.
    #[error("register {target} version {version}: another version of that name is registered already")]
    VersionTaken {
        /// The target.
        target: String,
        /// The version.
        version: String,
    },

    /// Metrics of a version that has not been registered.
    #[error("record metrics of {target} version {version}: it is not registered")]
    NoSuchVersion {
        /// The target.
        target: String,
        /// The version.
        version: String,
    },

    /// One promotion of a target at a time.
    #[error("begin a promotion of {target}: promotion {id} is still pending; settle that one first")]
    PromotionPending {
        /// The target.
        target: String,
        /// The promotion in the way.
        id: i64,
    },

    /// No promotion has this id.
    #[error("find promotion {0}: there is none")]
    NoSuchPromotion(i64),

    /// It was settled the other way before.
    #[error("settle promotion {id}: it is {state} already")]
    PromotionSettled {
        /// The promotion.
        id: i64,
        /// How it was settled.
        state: PromotionState,
    },

    /// A number that must be one is NaN or infinite.
    #[error("record {what}: {number} is no measurement")]
    NotFinite {
        /// Which number of what.
        what: String,
        /// The number.
        number: f64,
    },

    /// The kernel's files that tell one process from another cannot be read.
    #[error("tell this process from others: {file} cannot be read; is /proc mounted?")]
    ProcessIdentity {
        /// The file.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether another process has held the lock of an `SQLite` file for longer than a writer waits.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().is_some_and(|code| is_lock(&code)))
    }

    /// Whether waiting and trying again may help: a lock, a restart, a network, a full disk.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database(error) => is_transient(error),
            Self::Migration { source, .. } => match &**source {
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => is_transient(error),
                _ => false,
            },
            _ => false,
        }
    }
}

pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_code(&code)),
        _ => false,
    }
}

/// `SQLite`'s codes are decimal numbers with the primary code in the low byte, `PostgreSQL`'s have five
/// characters; none of those listed here is both.
fn is_transient_code(code: &str) -> bool {
    // Source: PostgreSQL, appendix A. Connection lost; out of resources (disk, memory, connections);
    // shut down, crashed, starting up; and transactions that another one pushed aside.
    const POSTGRES: [&str; 7] = ["08", "53", "57P01", "57P02", "57P03", "40001", "40P01"];

    is_lock(code) || code.len() == 5 && POSTGRES.iter().any(|known| code.starts_with(known))
}

fn is_lock(code: &str) -> bool {
    const SQLITE_BUSY: u32 = 5;
    const SQLITE_LOCKED: u32 = 6;

    code.len() < 5 && code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, SQLITE_BUSY | SQLITE_LOCKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_by_waiting() {
        let check = |code: &str, expected: bool| assert_eq!(is_transient_code(code), expected, "{code}");
        check("5", true); // busy
        check("517", true); // busy: snapshot
        check("6", true); // table locked
        check("13", false); // disk full: a person has to make room
        check("2067", false); // unique
        check("11", false); // corrupt
        check("08006", true); // connection failure
        check("53100", true); // disk full
        check("57P03", true); // starting up
        check("57014", false); // cancelled by a person
        check("40P01", true); // deadlock
        check("23505", false); // unique
        check("28P01", false); // password
    }

    #[test]
    fn a_lost_connection_is_transient_a_refused_write_is_not() {
        assert!(Error::Database(sqlx::Error::PoolTimedOut).is_transient());
        assert!(!Error::NoSuchRun(1).is_transient());
        assert!(!Error::Database(sqlx::Error::RowNotFound).is_transient());
    }
}
