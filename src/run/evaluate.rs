//! Kind `evaluate`: the versions in service on rows that they have not been trained on, through ONNX Runtime.
//!
//! Scores go to `model_metrics` under the name `evaluation`, beside those of the day a version was judged; the thresholds are
//! those of its metadata. The trigger `degradation` reads what is written here.

use super::predict::Champion;
use super::{Context, Error};
use crate::data::{Series, Target};
use crate::evaluate::{self, Naive, Scores};
use crate::event::{Event, Listener};
use crate::gate;
use crate::job::Evaluate;
use crate::recipe::STEPS;
use crate::registry::Metadata;
use crate::runtime::{self, Library};
use crate::store::{self, Claim, RunTarget, TargetState};
use chrono::Utc;
use std::time::Instant;

/// How rows of `model_metrics` that evaluations wrote are called.
const DATASET: &str = "evaluation";

/// Scores each target's version. `Ok(false)` when one misses its thresholds.
pub(super) async fn evaluate(
    context: &Context,
    settings: &Evaluate,
    claim: Claim,
    listener: &Listener,
) -> Result<bool, Error> {
    let probed = runtime::find(context.settings.onnxruntime.library.as_deref(), &context.program).await?;
    let library = Library::load(&probed)?;
    let rows = settings.rows_per_video as usize + STEPS + 1;
    let (series, report) = context.source().await?.tail(rows, &[]).await?;
    report.sentences().into_iter().for_each(|sentence| listener(Event::Remark(sentence)));
    let mut all_passed = true;
    for &target in &settings.targets {
        let Some(version) = context.registry.readable_champion(target)? else {
            listener(Event::Remark(format!("{target}: no version is in service, so there is nothing to evaluate")));
            continue;
        };
        let began = Instant::now();
        let metadata = super::verified(context, target, version).await?;
        let mut champion = Champion::open(context, library, target).await?;
        let Some(scores) = tokio::task::block_in_place(|| score(&mut champion, &metadata, &series, listener))? else {
            let last = metadata.training_data_version.last.map_or_else(String::new, |at| format!(" ({at})"));
            let text =
                format!("{target}: no row is later than the training data of {version}{last}; nothing to evaluate");
            listener(Event::Remark(text));
            continue;
        };
        all_passed &= record(context, claim, &metadata, &scores, began.elapsed().as_secs_f64(), listener).await?;
    }
    Ok(all_passed)
}

/// Scores of a version on the rows after its training data. None: there are none.
fn score(
    champion: &mut Champion,
    metadata: &Metadata,
    series: &Series,
    listener: &Listener,
) -> Result<Option<Scores>, Error> {
    let after = metadata.training_data_version.last.map(|at| at.timestamp_micros());
    let prepared = champion.recipe.prepare_with(series, &champion.scalers, after);
    prepared.remarks.iter().cloned().for_each(|remark| listener(Event::Remark(remark)));
    let windows = prepared.validation(metadata.target);
    if windows.is_empty() {
        return Ok(None);
    }
    let forecasts = champion.session.forecast(windows.len(), |range| windows.batch(range))?;
    Ok(Some(evaluate::score(&windows, &forecasts)))
}

async fn record(
    context: &Context,
    claim: Claim,
    metadata: &Metadata,
    scores: &Scores,
    seconds: f64,
    listener: &Listener,
) -> Result<bool, Error> {
    let target: Target = metadata.target;
    let verdict = gate::judge(&metadata.performance_threshold, scores);
    let ratio = scores.own.scaled.mae / metadata.metrics.own.scaled.mae;
    let naive = |which| scores.naive.get(&which).map(|measured| measured.scaled.mae);
    let metrics = store::Metrics {
        target: target.to_string(),
        version: metadata.version.to_string(),
        dataset: DATASET.to_owned(),
        measured_at: Utc::now(),
        run_id: Some(claim.run_id),
        n_points: scores.n as i64,
        mae: scores.own.scaled.mae,
        mse: scores.own.scaled.mse,
        rmse: scores.own.scaled.rmse,
        mae_counts: Some(scores.own.counts.mae),
        mae_last_value: naive(Naive::LastValue),
        mae_drift: naive(Naive::Drift),
        mae_seasonal: None,
        skill: scores.skill,
    };
    context.store.record_metrics(Some(claim), &[metrics]).await?;
    let compared =
        format!("MAE {:.6} on {} new points is {ratio:.2} times that at promotion", scores.own.scaled.mae, scores.n);
    let row = RunTarget {
        target: target.to_string(),
        state: if verdict.passed { TargetState::Succeeded } else { TargetState::Rejected },
        epochs: None,
        best_epoch: None,
        seconds: Some(seconds),
        version: Some(metadata.version.to_string()),
        verdict: Some(verdict.word().to_owned()),
        reasons: std::iter::once(compared).chain(verdict.rules.iter().map(|rule| rule.reason.clone())).collect(),
        error: None,
    };
    context.store.save_target(claim, &row).await?;
    listener(Event::Judged {
        target,
        version: metadata.version.to_string(),
        verdict: verdict.word().to_owned(),
        promoted: false,
    });
    Ok(verdict.passed)
}
