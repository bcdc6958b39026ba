//! Forecasts of the champions, kept for people and for comparing them with what came true.

use chrono::{DateTime, Utc};

use super::{Error, Result, Store, finite, stamp};

/// One forecast for one video.
#[derive(Debug, Clone, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct Prediction {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// `views`, `likes` or `comments`.
    pub target: String,
    /// The version that made it.
    pub version: String,
    /// The video.
    pub video_id: String,
    /// The time of the last recorded row that it saw.
    pub based_on: DateTime<Utc>,
    /// The time that it speaks of.
    pub forecast_for: DateTime<Utc>,
    /// The count at `based_on`.
    pub last_value: f64,
    /// The count expected at `forecast_for`.
    pub forecast: f64,
    /// Lower end of the forecast's interval, where the version gives one.
    pub lower: Option<f64>,
    /// Its upper end.
    pub upper: Option<f64>,
}

impl Store {
    /// Saves forecasts, all or none.
    pub async fn save_predictions(&self, predictions: &[Prediction]) -> Result<()> {
        predictions.iter().try_for_each(Prediction::check)?;
        in_transaction!(self, |tx| {
            for prediction in predictions {
                sqlx::query(
                    "INSERT INTO predictions
                         (made_at, target, version, video_id, based_on, forecast_for, last_value, forecast, lower, upper)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .bind(stamp(prediction.made_at))
                .bind(&prediction.target)
                .bind(&prediction.version)
                .bind(&prediction.video_id)
                .bind(stamp(prediction.based_on))
                .bind(stamp(prediction.forecast_for))
                .bind(prediction.last_value)
                .bind(prediction.forecast)
                .bind(prediction.lower.and_then(finite))
                .bind(prediction.upper.and_then(finite))
                .execute(&mut *tx)
                .await?;
            }
        });
        Ok(())
    }

    /// The last `limit` forecasts, for one target or for all; newest first.
    pub async fn predictions(&self, target: Option<&str>, limit: u32) -> Result<Vec<Prediction>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT made_at, target, version, video_id, based_on, forecast_for, last_value, forecast, lower, upper
                 FROM predictions WHERE $1 IS NULL OR target = $1 ORDER BY id DESC LIMIT $2",
            )
            .bind(target)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        }))
    }
}

impl Prediction {
    /// A forecast that is no number came from a broken model, and nobody should find it in a table.
    fn check(&self) -> Result<()> {
        for (name, number) in [("last value", self.last_value), ("forecast", self.forecast)] {
            if !number.is_finite() {
                let what = format!("{name} of {} for video {}", self.target, self.video_id);
                return Err(Error::NotFinite { what, number });
            }
        }
        Ok(())
    }
}
