//! Scores as a row of `model_metrics`.

use crate::evaluate::{Naive, Scores};
use crate::registry::Metadata;
use crate::store;
use chrono::{DateTime, Utc};

/// What a version scored on the rows that `dataset` names. Errors are in the reference's scaled units unless their name says counts.
pub(super) fn row(
    metadata: &Metadata,
    scores: &Scores,
    dataset: &str,
    measured_at: DateTime<Utc>,
    run_id: Option<i64>,
) -> store::Metrics {
    let naive = |which| scores.naive.get(&which).map(|measured| measured.scaled.mae);
    store::Metrics {
        target: metadata.target.to_string(),
        version: metadata.version.to_string(),
        dataset: dataset.to_owned(),
        measured_at,
        run_id,
        n_points: scores.n as i64,
        mae: scores.own.scaled.mae,
        mse: scores.own.scaled.mse,
        rmse: scores.own.scaled.rmse,
        mae_counts: Some(scores.own.counts.mae),
        mae_last_value: naive(Naive::LastValue),
        mae_drift: naive(Naive::Drift),
        mae_seasonal: naive(Naive::SeasonalDrift),
        skill: scores.skill,
        mae_drift_day: naive(Naive::DriftDay),
        mase: scores.mase,
        share_beaten: scores.share_beaten,
        coverage: scores.coverage,
        input_psi: None,
    }
}
