//! Kind `evaluate`: the versions in service on rows that they have not been trained on, through ONNX Runtime.
//!
//! Scores go to `model_metrics` under the name `evaluation`, beside those of the day a version was judged; the thresholds are
//! those of its metadata. The trigger `degradation` reads what is written here.

use super::predict::{Unseen, open_one};
use super::{Context, Error, metrics};
use crate::data::Target;
use crate::event::{Event, Listener};
use crate::gate::{self, Rules};
use crate::job::Evaluate;
use crate::recipe::Drift;
use crate::registry::Metadata;
use crate::runtime;
use crate::store::{Claim, RunTarget, TargetState};
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
    let library = runtime::open(context.settings.onnxruntime.library.as_deref(), &context.program).await?;
    let mut champions = Vec::new();
    for &target in &settings.targets {
        let Some(version) = context.registry.readable_champion(target)? else {
            listener(Event::Remark(format!("{target}: no version is in service, so there is nothing to evaluate")));
            continue;
        };
        let metadata = super::verified(context, target, version).await?;
        champions.push((open_one(context, library, target).await?, metadata));
    }
    let looked_back = champions.iter().map(|(champion, _)| champion.rows()).max().unwrap_or(0);
    let rows = settings.rows_per_video as usize + looked_back;
    let (series, report) = context.source().await?.tail(rows, &[]).await?;
    report.sentences().into_iter().for_each(|sentence| listener(Event::Remark(sentence)));
    let mut all_passed = true;
    for (mut champion, metadata) in champions {
        let (target, version) = (metadata.target, metadata.version);
        let began = Instant::now();
        let after = metadata.training_data_version.last.map(|at| at.timestamp_micros());
        let Some(unseen) = tokio::task::block_in_place(|| champion.score_unseen(&metadata, &series, after))? else {
            let last = metadata.training_data_version.last.map_or_else(String::new, |at| format!(" ({at})"));
            let text =
                format!("{target}: no row is later than the training data of {version}{last}; nothing to evaluate");
            listener(Event::Remark(text));
            continue;
        };
        unseen.remarks.iter().cloned().for_each(|remark| listener(Event::Remark(remark)));
        all_passed &= record(context, claim, &metadata, &unseen, began.elapsed().as_secs_f64(), listener).await?;
    }
    Ok(all_passed)
}

async fn record(
    context: &Context,
    claim: Claim,
    metadata: &Metadata,
    unseen: &Unseen,
    seconds: f64,
    listener: &Listener,
) -> Result<bool, Error> {
    let target: Target = metadata.target;
    let Unseen { scores, drift, .. } = unseen;
    // the champion cannot be better than itself
    let thresholds = Rules { better_than_champion: false, ..metadata.performance_threshold };
    let verdict = gate::judge(&thresholds, scores, &gate::Champion::None);
    let ratio = scores.own.scaled.mae / metadata.metrics.own.scaled.mae;
    let mut metrics = metrics::row(metadata, scores, DATASET, Utc::now(), Some(claim.run_id));
    metrics.input_psi = drift.map(|drift| drift.psi);
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
        reasons: std::iter::once(compared)
            .chain(drift.map(drifted))
            .chain(verdict.rules.iter().map(|rule| rule.reason.clone()))
            .collect(),
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

/// How far the growth that the model sees is from that of its training, in words.
fn drifted(drift: Drift) -> String {
    let size = match drift.psi {
        psi if psi < 0.1 => "small",
        psi if psi < 0.25 => "moderate",
        _ => "large: the model sees growth of another kind than it was trained on",
    };
    format!("drift of the input: PSI {:.3}, KS {:.3} over {} windows, {size}", drift.psi, drift.ks, drift.n)
}
