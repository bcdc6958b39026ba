//! Trainings as a watcher sees them: since when each goes on, and what has come of it.

use super::progress::EpochRow;
use super::{Claim, Epoch, Result, Run, Store, TargetState, now, run::RunRow, run::run_columns};
use chrono::{DateTime, Utc};

/// Where the training of one target of a run stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Training {
    /// `views`, `likes` or `comments`.
    pub target: String,
    /// The attempt that wrote it last.
    pub attempt: i64,
    /// Where the target stands.
    #[sqlx(try_from = "String")]
    pub state: TargetState,
    /// When this attempt's training began.
    pub training_started_at: Option<DateTime<Utc>>,
    /// When it ended, well or not.
    pub training_ended_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Notes that the training of a target begins or ends now.
    pub async fn mark_training(&self, claim: Claim, target: &str, ended: bool) -> Result<()> {
        in_transaction!(self, |tx| {
            hold!(tx, claim);
            sqlx::query(if ended {
                "UPDATE run_targets SET training_ended_at = $3 WHERE run_id = $1 AND target = $2"
            } else {
                "UPDATE run_targets SET training_started_at = $3, training_ended_at = NULL
                 WHERE run_id = $1 AND target = $2"
            })
            .bind(claim.run_id)
            .bind(target)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// The trainings of a run, by target.
    pub async fn trainings(&self, run_id: i64) -> Result<Vec<Training>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT target, attempt, state, training_started_at, training_ended_at
                 FROM run_targets WHERE run_id = $1 ORDER BY target",
            )
            .bind(run_id)
            .fetch_all(pool)
            .await?
        }))
    }

    /// The epochs of one attempt at a target after epoch `after`, in order.
    pub async fn epochs_after(&self, run_id: i64, target: &str, attempt: i64, after: i64) -> Result<Vec<Epoch>> {
        let rows: Vec<EpochRow> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT attempt, epoch, loss, val_loss, mae, val_mae, fixed_loss, seconds FROM epochs
                 WHERE run_id = $1 AND attempt = $2 AND target = $3 AND epoch > $4 ORDER BY epoch",
            )
            .bind(run_id)
            .bind(attempt)
            .bind(target)
            .bind(after)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Runs that have ended and whose end has raised no alerts yet; oldest first.
    pub async fn runs_without_alerts(&self) -> Result<Vec<Run>> {
        let rows: Vec<RunRow> = on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs WHERE ended_at IS NOT NULL AND alerts_raised_at IS NULL ORDER BY id"
            ))
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Notes that a run's end has raised its alerts.
    pub async fn mark_alerts_raised(&self, run_id: i64) -> Result<()> {
        in_transaction!(self, |tx| {
            sqlx::query("UPDATE runs SET alerts_raised_at = $2 WHERE id = $1")
                .bind(run_id)
                .bind(now())
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }
}
