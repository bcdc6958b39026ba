//! The state database: what was run, how it went, which versions came of it, which is in service.
//!
//! Enters: runs to queue, an attempt's progress and end, what a scheduler remembers of each job, versions with their
//! metrics, promotions, forecasts, alerts and the messages about them. Leaves: the same as plain structs, newest first,
//! ready for `--json`.
//!
//! This room never knows what a job file means, how a model is trained or what the registry's files
//! hold: kinds, causes, targets, recipes and verdicts are words here. It imports nothing of ours.
//!
//! What it promises:
//! - **Nothing runs twice**: a run key is unique in the database.
//! - **Final is final**: states move only as [`Life`] says, each step a compare-and-set.
//! - **A given-up worker writes nothing**: whatever a worker writes carries its [`Claim`], and a claim
//!   that is no longer the run's newest attempt is refused with [`Error::Fenced`].
//! - **One schedules**: whatever a scheduler writes carries its [`Lead`], and is refused once another has taken over.
//! - **What was recorded stays**: a write that returned survives a power cut.
//!
//! `SQLite` and `PostgreSQL` hold the same tables and run the same SQL text.

/// Runs a body on the pool at hand, whichever database it belongs to. The drivers' types differ, so a
/// generic function would need a page of bounds for each query; a macro lets one text serve both.
macro_rules! on_pool {
    ($store:expr, |$pool:ident| $body:expr) => {
        match &$store.backend {
            crate::store::Backend::Sqlite($pool) => $body,
            crate::store::Backend::Postgres($pool) => $body,
        }
    };
}

/// Runs a body in a transaction and commits it; leaving the body early (`?`, `return`) rolls back.
///
/// `SQLite` begins with `BEGIN IMMEDIATE`: a transaction that reads first and writes later fails at once
/// with "database is locked" when another process wrote in between, whatever the busy timeout says.
/// Every write that returns rows runs in here too, as outside of a transaction the driver commits
/// while it drops the statement and swallows the error if that fails.
macro_rules! in_transaction {
    ($store:expr, |$tx:ident| $body:block) => {
        match &$store.backend {
            crate::store::Backend::Sqlite(pool) => {
                let mut $tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let value = $body;
                $tx.commit().await?;
                value
            }
            crate::store::Backend::Postgres(pool) => {
                let mut $tx = pool.begin().await?;
                let value = $body;
                $tx.commit().await?;
                value
            }
        }
    };
}

// How the database is reached, and how it is said that it is not.
mod describe;
mod error;
mod open;
mod words;

// Runs, who has them, and what is known of them while they run.
#[macro_use]
mod claim;
#[macro_use]
mod scheduler;
mod attempts;
mod fires;
mod jobs;
mod life;
mod owner;
mod progress;
mod reap;
mod run;
mod runs;
mod trainings;

// What came of them.
mod outputs;
mod predictions;
mod promotions;
mod versions;

// What people are told of it.
mod alerts;
mod outbox;

pub use alerts::{Agenda, Alert, AlertState, NewAlert, Silence, Told};
pub use attempts::{Attempt, Ending};
pub use claim::Claim;
pub use describe::Description;
pub use error::Error;
pub use fires::Decision;
pub use jobs::JobRow;
pub use life::{Life, Step};
pub use outbox::{FirstNotice, NewMessage, Notice, OutboxRow, OutboxState, Telling};
pub use outputs::Output;
pub use owner::Owner;
pub use predictions::Prediction;
pub use progress::{Epoch, RunTarget, TargetState};
pub use promotions::{NewPromotion, Promotion, PromotionKind, PromotionState, Settlement};
pub use run::{NewRun, Outcome, Run, RunState};
pub use scheduler::{LEASE, Lead, Scheduler};
pub use trainings::Training;
pub use versions::{Metrics, Version};
pub(crate) use words::words;

use chrono::{DateTime, SubsecRound, Utc};
use sqlx::{PgPool, SqlitePool};

/// What the room's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A handle on the state database; cheap to clone, and clones share their connections.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    /// Where it is, for messages; never holds a password.
    location: String,
}

#[derive(Debug, Clone)]
enum Backend {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Microseconds are what `PostgreSQL` keeps, so that both databases return what they were given.
fn stamp(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn now() -> DateTime<Utc> {
    stamp(Utc::now())
}

/// Text from programs' output may hold NUL, which `PostgreSQL` refuses; a refused row would lose the
/// very error that it reports.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// NULL for NaN and the infinities, which `SQLite` and JSON have no words for.
fn finite(number: f64) -> Option<f64> {
    Some(number).filter(|number| number.is_finite())
}
