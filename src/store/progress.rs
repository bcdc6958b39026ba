//! What a worker reports while it works: its epochs, and what became of each target.

use super::words::{from_json, to_json, words};
use super::{Claim, Result, Store, clean, finite};

/// One epoch of one target. A number may be NaN: the epoch diverged.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Epoch {
    /// Which attempt measured it. On the way in, the claim's counts.
    pub attempt: i64,
    /// From 1.
    pub epoch: i64,
    /// Training loss.
    pub loss: f64,
    /// Validation loss.
    pub val_loss: f64,
    /// Training MAE, scaled units.
    pub mae: f64,
    /// Validation MAE, scaled units.
    pub val_mae: f64,
    /// Training loss on a fixed sample, dropout off: what to compare the validation loss with.
    pub fixed_loss: f64,
    /// How long it took.
    pub seconds: f64,
}

words! {
    /// Where one target of a run stands.
    TargetState {
        /// Being trained or measured.
        Running = "running",
        /// Has a version that passed the gate.
        Succeeded = "succeeded",
        /// Has a version that the gate refused.
        Rejected = "rejected",
        /// Ended by an error.
        Failed = "failed",
        /// Stopped with its run.
        Cancelled = "cancelled",
    }
}

/// What became of one target of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunTarget {
    /// `views`, `likes` or `comments`.
    pub target: String,
    /// Where it stands.
    pub state: TargetState,
    /// Epochs trained.
    pub epochs: Option<i64>,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: Option<i64>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// The version that came of it.
    pub version: Option<String>,
    /// The gate's verdict.
    pub verdict: Option<String>,
    /// The gate's reasons.
    pub reasons: Vec<String>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Store {
    /// Records epochs of one target, all or none. Recording one again replaces it, so that a write whose
    /// answer was lost can be repeated.
    pub async fn record_epochs(&self, claim: Claim, target: &str, epochs: &[Epoch]) -> Result<()> {
        in_transaction!(self, |tx| {
            hold!(tx, claim);
            for epoch in epochs {
                sqlx::query(
                    "INSERT INTO epochs (run_id, attempt, target, epoch, loss, val_loss, mae, val_mae, seconds,
                         fixed_loss)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                     ON CONFLICT (run_id, attempt, target, epoch) DO UPDATE SET
                         loss = excluded.loss, val_loss = excluded.val_loss,
                         mae = excluded.mae, val_mae = excluded.val_mae, seconds = excluded.seconds,
                         fixed_loss = excluded.fixed_loss",
                )
                .bind(claim.run_id)
                .bind(claim.attempt)
                .bind(target)
                .bind(epoch.epoch)
                .bind(finite(epoch.loss))
                .bind(finite(epoch.val_loss))
                .bind(finite(epoch.mae))
                .bind(finite(epoch.val_mae))
                .bind(finite(epoch.seconds))
                .bind(finite(epoch.fixed_loss))
                .execute(&mut *tx)
                .await?;
            }
        });
        Ok(())
    }

    /// The epochs of one target of a run, in order of attempts and then of epochs. An attempt that went on
    /// from a checkpoint has only the epochs after it.
    pub async fn epochs(&self, run_id: i64, target: &str) -> Result<Vec<Epoch>> {
        let rows: Vec<EpochRow> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT attempt, epoch, loss, val_loss, mae, val_mae, fixed_loss, seconds FROM epochs
                 WHERE run_id = $1 AND target = $2 ORDER BY attempt, epoch",
            )
            .bind(run_id)
            .bind(target)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Seconds an epoch took in the job's latest run on a host that has any, the median, and which run that was.
    pub async fn epoch_seconds(&self, job: &str, host: &str) -> Result<Option<(i64, f64)>> {
        let rows: Vec<(i64, f64)> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT e.run_id, e.seconds FROM epochs e
                 WHERE e.seconds IS NOT NULL AND e.run_id = (
                     SELECT max(r.id) FROM runs r WHERE r.job = $1 AND r.owner_host = $2
                         AND EXISTS (SELECT 1 FROM epochs x WHERE x.run_id = r.id))
                 ORDER BY e.seconds",
            )
            .bind(job)
            .bind(host)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.get(rows.len() / 2).copied())
    }

    /// Writes what is known of one target so far, replacing what was known before.
    pub async fn save_target(&self, claim: Claim, row: &RunTarget) -> Result<()> {
        in_transaction!(self, |tx| {
            hold!(tx, claim);
            sqlx::query(
                "INSERT INTO run_targets (run_id, attempt, target, state, epochs, best_epoch, seconds,
                     version, verdict, reasons, error)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                 ON CONFLICT (run_id, target) DO UPDATE SET
                     attempt = excluded.attempt, state = excluded.state, epochs = excluded.epochs,
                     best_epoch = excluded.best_epoch, seconds = excluded.seconds,
                     version = excluded.version, verdict = excluded.verdict,
                     reasons = excluded.reasons, error = excluded.error,
                     -- the clock of an attempt that was given up is not this one's
                     training_started_at = CASE WHEN run_targets.attempt = excluded.attempt
                         THEN run_targets.training_started_at END,
                     training_ended_at = CASE WHEN run_targets.attempt = excluded.attempt
                         THEN run_targets.training_ended_at END",
            )
            .bind(claim.run_id)
            .bind(claim.attempt)
            .bind(&row.target)
            .bind(row.state.as_str())
            .bind(row.epochs)
            .bind(row.best_epoch)
            .bind(row.seconds.and_then(finite))
            .bind(row.version.as_deref())
            .bind(row.verdict.as_deref())
            .bind(to_json(&row.reasons))
            .bind(row.error.as_deref().map(clean))
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// The targets of a run, by name.
    pub async fn targets(&self, run_id: i64) -> Result<Vec<RunTarget>> {
        let rows: Vec<TargetRow> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT target, state, epochs, best_epoch, seconds, version, verdict, reasons, error
                 FROM run_targets WHERE run_id = $1 ORDER BY target",
            )
            .bind(run_id)
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct EpochRow {
    attempt: i64,
    epoch: i64,
    loss: Option<f64>,
    val_loss: Option<f64>,
    mae: Option<f64>,
    val_mae: Option<f64>,
    fixed_loss: Option<f64>,
    seconds: Option<f64>,
}

impl From<EpochRow> for Epoch {
    fn from(row: EpochRow) -> Self {
        let number = |stored: Option<f64>| stored.unwrap_or(f64::NAN);
        Self {
            attempt: row.attempt,
            epoch: row.epoch,
            loss: number(row.loss),
            val_loss: number(row.val_loss),
            mae: number(row.mae),
            val_mae: number(row.val_mae),
            fixed_loss: number(row.fixed_loss),
            seconds: number(row.seconds),
        }
    }
}

#[derive(sqlx::FromRow)]
struct TargetRow {
    target: String,
    state: String,
    epochs: Option<i64>,
    best_epoch: Option<i64>,
    seconds: Option<f64>,
    version: Option<String>,
    verdict: Option<String>,
    reasons: String,
    error: Option<String>,
}

impl TryFrom<TargetRow> for RunTarget {
    type Error = super::Error;

    fn try_from(row: TargetRow) -> Result<Self> {
        Ok(Self {
            target: row.target,
            state: row.state.parse()?,
            epochs: row.epochs,
            best_epoch: row.best_epoch,
            seconds: row.seconds,
            version: row.version,
            verdict: row.verdict,
            reasons: from_json(&row.reasons)?,
            error: row.error,
        })
    }
}
