//! A trigger's due instants become runs: by their keys, before anything starts.

use chrono::{DateTime, Utc};

use super::run::{RunRow, queue_run, run_columns};
use super::{Lead, NewRun, Result, Run, RunState, Store, clean, now, stamp};

/// What is written down together with the runs, or instead of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Every due instant up to here is decided on.
    pub fired_up_to: Option<DateTime<Utc>>,
    /// Ends of other jobs' runs up to here were looked at.
    pub after_up_to: Option<DateTime<Utc>>,
    /// Why a due trigger started nothing.
    pub skipped_because: Option<String>,
}

impl Store {
    /// Queues the runs of jobs that are due, as far as their keys are not used yet, and writes down what was decided: all or
    /// nothing. Returns those of each job that are queued now; a key that was used means that this was done before.
    pub async fn fire(&self, lead: Lead, fires: &[(&str, &Decision, Vec<NewRun<'_>>)]) -> Result<Vec<Vec<Run>>> {
        let fired: Vec<Vec<RunRow>> = in_transaction!(self, |tx| {
            led!(tx, lead);
            let mut fired = Vec::with_capacity(fires.len());
            for (job, decision, runs) in fires {
                let mut rows = Vec::new();
                for new in runs {
                    let row: Option<RunRow> = queue_run!(tx, new);
                    rows.extend(row);
                }
                sqlx::query(
                    "UPDATE jobs SET fired_up_to = COALESCE($2, fired_up_to), after_up_to = COALESCE($3, after_up_to),
                         skipped_because = COALESCE($4, skipped_because),
                         skipped_at = CASE WHEN $4 IS NULL THEN skipped_at ELSE $5 END
                     WHERE name = $1",
                )
                .bind(*job)
                .bind(decision.fired_up_to.map(stamp))
                .bind(decision.after_up_to.map(stamp))
                .bind(decision.skipped_because.as_deref().map(clean))
                .bind(now())
                .execute(&mut *tx)
                .await?;
                fired.push(rows);
            }
            fired
        });
        fired.into_iter().map(|rows| rows.into_iter().map(TryInto::try_into).collect()).collect()
    }

    /// Queued and running runs; oldest first.
    pub async fn open_runs(&self) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs WHERE state IN ('queued', 'running') ORDER BY id"
            ))
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Runs of a job that ended at `since` or later: when, which and how; oldest first.
    pub async fn ended_since(&self, job: &str, since: DateTime<Utc>) -> Result<Vec<(DateTime<Utc>, i64, RunState)>> {
        let rows: Vec<(DateTime<Utc>, i64, String)> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT ended_at, id, state FROM runs WHERE job = $1 AND ended_at >= $2 ORDER BY ended_at, id LIMIT 1000",
            )
            .bind(job)
            .bind(stamp(since))
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(|(at, id, state)| Ok((at, id, state.parse()?))).collect()
    }

    /// Jobs of which a run ended at `since` or later, with their kinds.
    pub async fn jobs_that_ended(&self, since: DateTime<Utc>) -> Result<Vec<(String, String)>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as("SELECT DISTINCT job, kind FROM runs WHERE ended_at >= $1")
                .bind(stamp(since))
                .fetch_all(pool)
                .await?
        }))
    }

    /// When the job's last run ended.
    pub async fn last_ended(&self, job: &str) -> Result<Option<DateTime<Utc>>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_scalar("SELECT MAX(ended_at) FROM runs WHERE job = $1").bind(job).fetch_one(pool).await?
        }))
    }
}
