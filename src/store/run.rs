//! What a run is: its states, what it starts from, how it ends.

use chrono::{DateTime, Utc};

use super::words::words;
use super::{Claim, Error, Owner, Result, clean};

words! {
    /// Where a run is in its life.
    RunState {
        /// Asked for; nobody works on it yet.
        Queued = "queued",
        /// An attempt has it.
        Running = "running",
        /// Done, with everything that it was to make.
        Succeeded = "succeeded",
        /// Done, and the gate refused what it made: a verdict, not a failure.
        Rejected = "rejected",
        /// Ended by an error.
        Failed = "failed",
        /// Ended by a person or by a shutdown.
        Cancelled = "cancelled",
        /// Ended because it took longer than it may.
        TimedOut = "timed_out",
    }
}

impl RunState {
    /// Whether nothing can change it any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A run to be queued.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// Job, cause and scheduled instant: what makes it the same run when asked for twice.
    pub run_key: &'a str,
    /// The job's name.
    pub job: &'a str,
    /// `retrain`, `evaluate`, ….
    pub kind: &'a str,
    /// `cron`, `data_volume`, `person`, ….
    pub cause: &'a str,
    /// The job file as it will run, defaults filled in.
    pub job_toml: &'a str,
    /// The instant that a trigger was due; none for a person's wish.
    pub scheduled_for: Option<DateTime<Utc>>,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// Its number, in order of queueing.
    pub id: i64,
    /// See [`NewRun::run_key`].
    pub run_key: String,
    /// The job's name.
    pub job: String,
    /// `retrain`, `evaluate`, ….
    pub kind: String,
    /// `cron`, `data_volume`, `person`, ….
    pub cause: String,
    /// Where it is in its life.
    pub state: RunState,
    /// The newest attempt; 0 before the first.
    pub attempt: i64,
    /// The process that has it, or had it last.
    pub owner: Option<Owner>,
    /// The job file as it ran.
    pub job_toml: String,
    /// Started by a daemon, which takes it up again after a crash; others end with their process.
    pub supervised: bool,
    /// The instant that its trigger was due; none for a person's wish.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it was asked for.
    pub queued_at: DateTime<Utc>,
    /// A retry waits until then.
    pub not_before: Option<DateTime<Utc>>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When its newest attempt began.
    pub attempt_started_at: Option<DateTime<Utc>>,
    /// Attempts that failed without ending it.
    pub n_failures: i64,
    /// Attempts that others cut short.
    pub n_interruptions: i64,
    /// When its worker wrote last.
    pub heard_at: Option<DateTime<Utc>>,
    /// When it reached its final state.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it failed, was cancelled or timed out.
    pub error: Option<String>,
}

impl Run {
    /// The claim of the attempt that has it; none unless it is running.
    pub fn claim(&self) -> Option<Claim> {
        (self.state == RunState::Running).then_some(Claim { run_id: self.id, attempt: self.attempt })
    }
}

/// How an attempt ends its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All done.
    Succeeded,
    /// The gate refused.
    Rejected,
    /// An error, in words.
    Failed(String),
    /// Who or what cancelled it.
    Cancelled(String),
    /// Which limit it passed.
    TimedOut(String),
}

impl Outcome {
    /// The state that the run is in from then on.
    pub const fn state(&self) -> RunState {
        match self {
            Self::Succeeded => RunState::Succeeded,
            Self::Rejected => RunState::Rejected,
            Self::Failed(_) => RunState::Failed,
            Self::Cancelled(_) => RunState::Cancelled,
            Self::TimedOut(_) => RunState::TimedOut,
        }
    }

    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Succeeded | Self::Rejected => None,
            Self::Failed(text) | Self::Cancelled(text) | Self::TimedOut(text) => Some(clean(text)),
        }
    }
}

/// Named one by one: a newer program may add columns while this one runs, and `PostgreSQL` refuses a prepared
/// `SELECT *` from then on.
macro_rules! run_columns {
    () => {
        "id, run_key, job, kind, cause, state, attempt, owner_host, owner_boot_id, owner_pid, owner_process_start,
         job_toml, supervised, scheduled_for, queued_at, not_before, started_at, attempt_started_at, n_failures,
         n_interruptions, heard_at, ended_at, error"
    };
}
pub(super) use run_columns;

/// Queues a run for a daemon. None: its key has been used.
macro_rules! queue_run {
    ($tx:ident, $new:ident) => {
        sqlx::query_as(concat!(
            "INSERT INTO runs (run_key, job, kind, cause, state, job_toml, queued_at, scheduled_for, supervised)
             VALUES ($1, $2, $3, $4, 'queued', $5, $6, $7, TRUE)
             ON CONFLICT (run_key) DO NOTHING
             RETURNING ",
            run_columns!()
        ))
        .bind($new.run_key)
        .bind($new.job)
        .bind($new.kind)
        .bind($new.cause)
        .bind($new.job_toml)
        .bind(now())
        .bind($new.scheduled_for.map(stamp))
        .fetch_optional(&mut *$tx)
        .await?
    };
}
pub(super) use queue_run;

/// As in the table.
#[derive(sqlx::FromRow)]
pub(super) struct RunRow {
    id: i64,
    run_key: String,
    job: String,
    kind: String,
    cause: String,
    state: String,
    attempt: i64,
    owner_host: Option<String>,
    owner_boot_id: Option<String>,
    owner_pid: Option<i64>,
    owner_process_start: Option<i64>,
    job_toml: String,
    supervised: bool,
    scheduled_for: Option<DateTime<Utc>>,
    queued_at: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    attempt_started_at: Option<DateTime<Utc>>,
    n_failures: i64,
    n_interruptions: i64,
    heard_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

impl TryFrom<RunRow> for Run {
    type Error = Error;

    fn try_from(row: RunRow) -> Result<Self> {
        let owner = match (row.owner_host, row.owner_boot_id, row.owner_pid, row.owner_process_start) {
            (Some(host), Some(boot_id), Some(pid), Some(process_start)) => {
                Some(Owner { host, boot_id, pid, process_start })
            }
            _ => None,
        };
        Ok(Self {
            id: row.id,
            run_key: row.run_key,
            job: row.job,
            kind: row.kind,
            cause: row.cause,
            state: row.state.parse()?,
            attempt: row.attempt,
            owner,
            job_toml: row.job_toml,
            supervised: row.supervised,
            scheduled_for: row.scheduled_for,
            queued_at: row.queued_at,
            not_before: row.not_before,
            started_at: row.started_at,
            attempt_started_at: row.attempt_started_at,
            n_failures: row.n_failures,
            n_interruptions: row.n_interruptions,
            heard_at: row.heard_at,
            ended_at: row.ended_at,
            error: row.error,
        })
    }
}
