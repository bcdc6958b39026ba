//! Versions and what was measured of them.

use chrono::{DateTime, Utc};

use super::words::{from_json, to_json};
use super::{Claim, Error, Result, Store, finite, stamp};

/// A trained, exported, measured model in the registry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Version {
    /// `views`, `likes` or `comments`.
    pub target: String,
    /// Its name: the directory in the registry.
    pub version: String,
    /// The run that made it, where this database knows it.
    pub run_id: Option<i64>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How series became training pairs.
    pub recipe: String,
    /// Hash of the rows that it was trained on.
    pub training_data_version: String,
    /// The champion at that time.
    pub parent_version: Option<String>,
    /// The gate's verdict.
    pub verdict: String,
    /// The gate's reasons.
    pub reasons: Vec<String>,
    /// Of `metadata.json`, and through it of every file of the version.
    pub metadata_sha256: String,
}

/// One measurement of a version on one set of points.
#[derive(Debug, Clone, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct Metrics {
    /// The target.
    pub target: String,
    /// The version.
    pub version: String,
    /// `validation`, or what a later evaluation calls its points.
    pub dataset: String,
    /// When it was measured.
    pub measured_at: DateTime<Utc>,
    /// The run that measured it.
    pub run_id: Option<i64>,
    /// Forecasts scored.
    pub n_points: i64,
    /// Mean absolute error, scaled units.
    pub mae: f64,
    /// Mean squared error, scaled units.
    pub mse: f64,
    /// Its root.
    pub rmse: f64,
    /// Mean absolute error in views, likes or comments.
    pub mae_counts: Option<f64>,
    /// MAE of repeating the last value, scaled units.
    pub mae_last_value: Option<f64>,
    /// MAE of the drift over the window, scaled units.
    pub mae_drift: Option<f64>,
    /// MAE of the growth of the same hours a day ago, scaled units.
    pub mae_seasonal: Option<f64>,
    /// 1 − MAE / MAE of the best naive forecast: the median over series and horizons.
    pub skill: Option<f64>,
    /// MAE of the drift over a day, scaled units.
    pub mae_drift_day: Option<f64>,
    /// MAE / MAE of repeating the last value on the training points; the median over series.
    pub mase: Option<f64>,
    /// Share of series and horizons at which every naive forecast is beaten.
    pub share_beaten: Option<f64>,
    /// Share of truths within the intervals.
    pub coverage: Option<f64>,
    /// How far the growth that was seen has drifted from that of the training: population stability index.
    pub input_psi: Option<f64>,
}

/// Inserts one measurement, once.
macro_rules! insert_metrics {
    ($tx:ident, $metrics:ident) => {
        sqlx::query(
            "INSERT INTO model_metrics (target, version, dataset, measured_at, run_id, n_points, mae, mse, rmse,
                 mae_counts, mae_last_value, mae_drift, mae_seasonal, skill, mae_drift_day, mase, share_beaten,
                 coverage, input_psi)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
             ON CONFLICT (target, version, dataset, measured_at) DO NOTHING",
        )
        .bind(&$metrics.target)
        .bind(&$metrics.version)
        .bind(&$metrics.dataset)
        .bind(stamp($metrics.measured_at))
        .bind($metrics.run_id)
        .bind($metrics.n_points)
        .bind($metrics.mae)
        .bind($metrics.mse)
        .bind($metrics.rmse)
        .bind($metrics.mae_counts.and_then(finite))
        .bind($metrics.mae_last_value.and_then(finite))
        .bind($metrics.mae_drift.and_then(finite))
        .bind($metrics.mae_seasonal.and_then(finite))
        .bind($metrics.skill.and_then(finite))
        .bind($metrics.mae_drift_day.and_then(finite))
        .bind($metrics.mase.and_then(finite))
        .bind($metrics.share_beaten.and_then(finite))
        .bind($metrics.coverage.and_then(finite))
        .bind($metrics.input_psi.and_then(finite))
        .execute(&mut *$tx)
        .await
        .map_err(|error| $metrics.problem(error))?
    };
}

impl Store {
    /// Registers a version together with what was measured of it.
    ///
    /// Doing it again changes nothing, so that a registration cut short can be repeated; doing it with
    /// other files under the same name is [`Error::VersionTaken`]. A worker passes its claim.
    pub async fn register_version(&self, claim: Option<Claim>, version: &Version, metrics: &[Metrics]) -> Result<()> {
        metrics.iter().try_for_each(Metrics::check)?;
        in_transaction!(self, |tx| {
            if let Some(claim) = claim {
                hold!(tx, claim);
            }
            sqlx::query(
                "INSERT INTO versions (target, version, run_id, created_at, recipe, training_data_version,
                     parent_version, verdict, reasons, metadata_sha256)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                 ON CONFLICT (target, version) DO NOTHING",
            )
            .bind(&version.target)
            .bind(&version.version)
            .bind(version.run_id)
            .bind(stamp(version.created_at))
            .bind(&version.recipe)
            .bind(&version.training_data_version)
            .bind(version.parent_version.as_deref())
            .bind(&version.verdict)
            .bind(to_json(&version.reasons))
            .bind(&version.metadata_sha256)
            .execute(&mut *tx)
            .await?;
            let registered: String =
                sqlx::query_scalar("SELECT metadata_sha256 FROM versions WHERE target = $1 AND version = $2")
                    .bind(&version.target)
                    .bind(&version.version)
                    .fetch_one(&mut *tx)
                    .await?;
            if registered != version.metadata_sha256 {
                return Err(Error::VersionTaken { target: version.target.clone(), version: version.version.clone() });
            }
            for metrics in metrics {
                insert_metrics!(tx, metrics);
            }
        });
        Ok(())
    }

    /// Records later measurements of versions that are registered, as evaluations make them.
    pub async fn record_metrics(&self, claim: Option<Claim>, metrics: &[Metrics]) -> Result<()> {
        metrics.iter().try_for_each(Metrics::check)?;
        in_transaction!(self, |tx| {
            if let Some(claim) = claim {
                hold!(tx, claim);
            }
            for metrics in metrics {
                insert_metrics!(tx, metrics);
            }
        });
        Ok(())
    }

    /// The versions of one target or of all; newest first.
    pub async fn versions(&self, target: Option<&str>) -> Result<Vec<Version>> {
        let rows: Vec<VersionRow> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT target, version, run_id, created_at, recipe, training_data_version, parent_version,
                     verdict, reasons, metadata_sha256
                 FROM versions WHERE $1 IS NULL OR target = $1
                 ORDER BY created_at DESC, target, version DESC",
            )
            .bind(target)
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// What was measured of a version; newest first.
    pub async fn metrics(&self, target: &str, version: &str) -> Result<Vec<Metrics>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT target, version, dataset, measured_at, run_id, n_points, mae, mse, rmse,
                     mae_counts, mae_last_value, mae_drift, mae_seasonal, skill, mae_drift_day, mase, share_beaten,
                     coverage, input_psi
                 FROM model_metrics WHERE target = $1 AND version = $2
                 ORDER BY measured_at DESC, dataset",
            )
            .bind(target)
            .bind(version)
            .fetch_all(pool)
            .await?
        }))
    }
}

impl Metrics {
    fn check(&self) -> Result<()> {
        for (name, number) in [("mae", self.mae), ("mse", self.mse), ("rmse", self.rmse)] {
            if !number.is_finite() {
                let what = format!("{name} of {} version {} on {}", self.target, self.version, self.dataset);
                return Err(Error::NotFinite { what, number });
            }
        }
        Ok(())
    }

    fn problem(&self, error: sqlx::Error) -> Error {
        // Nothing else that a row refers to can be missing but its version; a run is there or fenced.
        if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) {
            return Error::NoSuchVersion { target: self.target.clone(), version: self.version.clone() };
        }
        Error::Database(error)
    }
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    target: String,
    version: String,
    run_id: Option<i64>,
    created_at: DateTime<Utc>,
    recipe: String,
    training_data_version: String,
    parent_version: Option<String>,
    verdict: String,
    reasons: String,
    metadata_sha256: String,
}

impl TryFrom<VersionRow> for Version {
    type Error = Error;

    fn try_from(row: VersionRow) -> Result<Self> {
        Ok(Self {
            target: row.target,
            version: row.version,
            run_id: row.run_id,
            created_at: row.created_at,
            recipe: row.recipe,
            training_data_version: row.training_data_version,
            parent_version: row.parent_version,
            verdict: row.verdict,
            reasons: from_json(&row.reasons)?,
            metadata_sha256: row.metadata_sha256,
        })
    }
}
