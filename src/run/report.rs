//! A run as people and programs look at it: its row, its targets, what was measured of their versions.

use super::{Context, Error};
use crate::data::Target;
use crate::evaluate::Scores;
use crate::gate::Judged;
use crate::registry::{Importance, Member, Metadata, Rolling, Version};
use crate::store::{self, PromotionState, Run, RunTarget};
use serde::Serialize;

/// One run, whole: what `show`, `run` and their `--json` say.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Its row.
    #[serde(flatten)]
    pub run: Run,
    /// Its targets, in the order of [`Target::ALL`].
    pub targets: Vec<TargetReport>,
    /// Attempts that ended without ending it.
    pub attempts: Vec<store::Attempt>,
    /// What a program of kind `exec` reported.
    pub outputs: Vec<store::Output>,
}

/// What became of one target of a run.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    /// Its row.
    #[serde(flatten)]
    pub row: RunTarget,
    /// The version that was in service when this one was judged.
    pub parent_champion: Option<Version>,
    /// Whether the run brought its version into service.
    pub promoted: bool,
    /// What the gate said, rule by rule; empty where there is no version, or it is gone from the registry.
    pub rules: Vec<Judged>,
    /// What was measured of its version; none where there is no version, or it is gone from the registry.
    pub metrics: Option<Scores>,
    /// More of what its metadata says; none as for `metrics`.
    pub made: Option<Made>,
    /// What an evaluation has measured of a version in service.
    pub evaluation: Option<store::Metrics>,
}

/// What a version is, beside its scores.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// `LSTM`, `dense` or `ridge`.
    pub model_type: String,
    /// What each network of several adds.
    pub members: Vec<Member>,
    /// Trainings on shorter pasts.
    pub rolling: Option<Rolling>,
    /// How much worse the forecasts are without each feature, the most important first.
    pub importance: Vec<Importance>,
}

/// Collects a run's report.
pub async fn report(context: &Context, run_id: i64) -> Result<RunReport, Error> {
    let run = context.store.run(run_id).await?;
    let rows = context.store.targets(run_id).await?;
    let mut targets = Vec::new();
    for target in Target::ALL {
        let Some(row) = rows.iter().find(|row| row.target == target.to_string()).cloned() else { continue };
        let promotions = context.store.promotions(Some(&row.target)).await?;
        let promoted = promotions.iter().any(|p| is_of(p, run_id) && Some(&p.version) == row.version.as_ref());
        let version = row.version.as_deref().and_then(|version| version.parse().ok());
        let metadata = version
            .and_then(|version| context.registry.metadata(target, version).ok())
            .filter(|metadata| metadata.run_id == run_id);
        let parent_champion = metadata.as_ref().and_then(|metadata| metadata.parent_champion);
        let (mut rules, mut metrics, mut made) = (Vec::new(), None, None);
        if let Some(Metadata { verdict, metrics: scores, model_type, members, rolling, importance, .. }) = metadata {
            (rules, metrics) = (verdict.rules, Some(scores));
            made = Some(Made { model_type, members, rolling, importance });
        }
        let measured = match &row.version {
            Some(version) if metrics.is_none() => context.store.metrics(&row.target, version).await?,
            _ => Vec::new(),
        };
        let evaluation = measured.into_iter().find(|measured| measured.run_id == Some(run_id));
        targets.push(TargetReport { row, parent_champion, promoted, rules, metrics, made, evaluation });
    }
    let attempts = context.store.attempts(run_id).await?;
    let outputs = context.store.outputs(run_id).await?;
    Ok(RunReport { run, targets, attempts, outputs })
}

fn is_of(promotion: &store::Promotion, run_id: i64) -> bool {
    promotion.run_id == Some(run_id) && promotion.state == PromotionState::Done
}
