//! Runs: queued, claimed by an attempt, ended once and for all.

use super::run::{RunRow, queue_run, run_columns};
use super::{Claim, Error, Lead, NewRun, Outcome, Owner, Result, Run, RunState, Store, clean, now, stamp};

/// Why a step that starts from `queued` matched no row.
macro_rules! not_queued {
    ($tx:ident, $run_id:ident, $step:literal) => {{
        let found: Option<String> =
            sqlx::query_scalar("SELECT state FROM runs WHERE id = $1").bind($run_id).fetch_optional(&mut *$tx).await?;
        not_in_state($run_id, $step, found)
    }};
}

/// Which run has used a key already.
macro_rules! key_taken {
    ($tx:ident, $new:ident) => {{
        let run_id = sqlx::query_scalar("SELECT id FROM runs WHERE run_key = $1")
            .bind($new.run_key)
            .fetch_one(&mut *$tx)
            .await?;
        Error::RunKeyTaken { run_key: $new.run_key.to_owned(), run_id }
    }};
}

/// Why a run could not begin: its key is used, or its job is running.
macro_rules! not_begun {
    ($tx:ident, $new:ident) => {{
        let other: Option<(i64, String)> = sqlx::query_as(
            "SELECT id, run_key FROM runs WHERE run_key = $1 OR (job = $2 AND state = 'running')
             ORDER BY CASE WHEN run_key = $1 THEN 0 ELSE 1 END",
        )
        .bind($new.run_key)
        .bind($new.job)
        .fetch_optional(&mut *$tx)
        .await?;
        match other {
            Some((run_id, run_key)) if run_key == $new.run_key => Error::RunKeyTaken { run_key, run_id },
            Some((run_id, _)) => Error::JobRunning { job: $new.job.to_owned(), run_id: Some(run_id) },
            // it ended between the two statements: whoever tries again gets through
            None => Error::JobRunning { job: $new.job.to_owned(), run_id: None },
        }
    }};
}

impl Store {
    /// Queues a run for a daemon, unless its key has been used: [`Error::RunKeyTaken`].
    pub async fn enqueue_run(&self, new: NewRun<'_>) -> Result<Run> {
        let row: RunRow = in_transaction!(self, |tx| {
            ring!(tx);
            let queued = queue_run!(tx, new);
            match queued {
                Some(queued) => queued,
                None => return Err(key_taken!(tx, new)),
            }
        });
        row.try_into()
    }

    /// Begins a run that nobody queued: from its first moment on it has an owner, so that a crash cannot leave it waiting
    /// for somebody to take it up. [`Error::RunKeyTaken`] if its key has been used,
    /// [`Error::JobRunning`] while another run of the job is running.
    pub async fn begin_run(&self, new: NewRun<'_>, owner: &Owner) -> Result<Run> {
        let row: RunRow = in_transaction!(self, |tx| {
            ring!(tx);
            let begun = sqlx::query_as(concat!(
                "INSERT INTO runs (run_key, job, kind, cause, state, job_toml, queued_at, attempt, started_at,
                     attempt_started_at, heard_at, owner_host, owner_boot_id, owner_pid, owner_process_start)
                 VALUES ($1, $2, $3, $4, 'running', $5, $6, 1, $6, $6, $6, $7, $8, $9, $10)
                 ON CONFLICT DO NOTHING
                 RETURNING ",
                run_columns!()
            ))
            .bind(new.run_key)
            .bind(new.job)
            .bind(new.kind)
            .bind(new.cause)
            .bind(new.job_toml)
            .bind(now())
            .bind(&owner.host)
            .bind(&owner.boot_id)
            .bind(owner.pid)
            .bind(owner.process_start)
            .fetch_optional(&mut *tx)
            .await?;
            match begun {
                Some(begun) => begun,
                None => return Err(not_begun!(tx, new)),
            }
        });
        row.try_into()
    }

    /// Claims a queued run for `owner`: from here on it is running.
    pub async fn start_run(&self, id: i64, owner: &Owner) -> Result<Claim> {
        self.start(None, id, owner, None).await
    }

    /// The same by the scheduler, on behalf of a process that is about to be started: that one takes the run over by
    /// [`Store::take_run`] and the same `nonce`.
    pub async fn start_attempt(&self, lead: Lead, id: i64, owner: &Owner, nonce: &str) -> Result<Claim> {
        self.start(Some(lead), id, owner, Some(nonce)).await
    }

    async fn start(&self, lead: Option<Lead>, id: i64, owner: &Owner, nonce: Option<&str>) -> Result<Claim> {
        let attempt = in_transaction!(self, |tx| {
            if let Some(lead) = lead {
                led!(tx, lead);
            }
            let attempt = sqlx::query_scalar(
                "UPDATE runs SET state = 'running', attempt = attempt + 1, started_at = COALESCE(started_at, $2),
                     attempt_started_at = $2, heard_at = $2, not_before = NULL, owner_host = $3, owner_boot_id = $4,
                     owner_pid = $5, owner_process_start = $6, owner_nonce = $7
                 WHERE id = $1 AND state = 'queued'
                 RETURNING attempt",
            )
            .bind(id)
            .bind(now())
            .bind(&owner.host)
            .bind(&owner.boot_id)
            .bind(owner.pid)
            .bind(owner.process_start)
            .bind(nonce)
            .fetch_optional(&mut *tx)
            .await
            .map_err(|error| job_running(error, id))?;
            let Some(attempt) = attempt else { return Err(not_queued!(tx, id, "start")) };
            attempt
        });
        Ok(Claim { run_id: id, attempt })
    }

    /// Gives the run to a new attempt; from here on `given_up` can write nothing.
    pub async fn next_attempt(&self, given_up: Claim, owner: &Owner) -> Result<Claim> {
        in_transaction!(self, |tx| {
            hold!(tx, given_up);
            sqlx::query(
                "UPDATE runs SET attempt = attempt + 1,
                     owner_host = $2, owner_boot_id = $3, owner_pid = $4, owner_process_start = $5
                 WHERE id = $1",
            )
            .bind(given_up.run_id)
            .bind(&owner.host)
            .bind(&owner.boot_id)
            .bind(owner.pid)
            .bind(owner.process_start)
            .execute(&mut *tx)
            .await?;
        });
        Ok(Claim { attempt: given_up.attempt + 1, ..given_up })
    }

    /// Ends a run. Final: whoever comes second gets [`Error::Fenced`].
    pub async fn finish_run(&self, claim: Claim, outcome: &Outcome) -> Result<()> {
        in_transaction!(self, |tx| {
            ring!(tx);
            let ended = sqlx::query(
                "UPDATE runs SET state = $3, ended_at = $4, error = $5
                 WHERE id = $1 AND attempt = $2 AND state = 'running'",
            )
            .bind(claim.run_id)
            .bind(claim.attempt)
            .bind(outcome.state().as_str())
            .bind(now())
            .bind(outcome.error())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if ended == 0 {
                return Err(refusal!(tx, claim));
            }
            // Targets end with their run: a killed worker cannot say so itself.
            let left = if outcome.state() == RunState::Cancelled { "cancelled" } else { "failed" };
            sqlx::query(
                "UPDATE run_targets SET state = $2, error = COALESCE(error, $3) WHERE run_id = $1 AND state = 'running'",
            )
            .bind(claim.run_id)
            .bind(left)
            .bind(outcome.error())
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// Cancels a run that nobody has started. A running one is ended through its claim.
    pub async fn cancel_queued_run(&self, id: i64, reason: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            ring!(tx);
            let cancelled = sqlx::query(
                "UPDATE runs SET state = 'cancelled', ended_at = $2, error = $3
                 WHERE id = $1 AND state = 'queued'",
            )
            .bind(id)
            .bind(now())
            .bind(clean(reason))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if cancelled == 0 {
                return Err(not_queued!(tx, id, "cancel"));
            }
        });
        Ok(())
    }

    /// One run.
    pub async fn run(&self, id: i64) -> Result<Run> {
        let row: Option<RunRow> = on_pool!(self, |pool| {
            sqlx::query_as(concat!("SELECT ", run_columns!(), " FROM runs WHERE id = $1"))
                .bind(id)
                .fetch_optional(pool)
                .await?
        });
        row.ok_or(Error::NoSuchRun(id))?.try_into()
    }

    /// The last `limit` runs, of one job or of all; newest first.
    pub async fn runs(&self, job: Option<&str>, limit: u32) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs WHERE $1 IS NULL OR job = $1 ORDER BY id DESC LIMIT $2"
            ))
            .bind(job)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Runs that wait for a worker; oldest first.
    pub async fn queued_runs(&self) -> Result<Vec<Run>> {
        self.unfinished_runs(RunState::Queued).await
    }

    /// Runs that an attempt has; oldest first.
    pub async fn running_runs(&self) -> Result<Vec<Run>> {
        self.unfinished_runs(RunState::Running).await
    }

    async fn unfinished_runs(&self, state: RunState) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = on_pool!(self, |pool| {
            // Naming both states lets the planner see that the partial index covers the question.
            sqlx::query_as(concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs WHERE state IN ('queued', 'running') AND state = $1 ORDER BY id"
            ))
            .bind(state.as_str())
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }
}

/// The index of running jobs refused a start: another run of the job has it.
fn job_running(error: sqlx::Error, run_id: i64) -> Error {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        return Error::JobRunning { job: format!("the job of run {run_id}"), run_id: None };
    }
    error.into()
}

fn not_in_state(run_id: i64, step: &'static str, found: Option<String>) -> Error {
    match found.map(|word| word.parse()) {
        None => Error::NoSuchRun(run_id),
        Some(Ok(found)) => Error::NotInState { run_id, step, needed: RunState::Queued, found },
        Some(Err(error)) => error,
    }
}
