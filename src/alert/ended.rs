//! What follows from the end of a run: it failed, its gate refused, a version came into service, or all is well again.

use super::watcher::Step;
use super::{Condition, Rule, end, raise};
use crate::data::Target;
use crate::gate::{Judged, P_MAX};
use crate::job::{Alerts, Job, Kind};
use crate::registry::{Metadata, Registry};
use crate::store::{self, PromotionState, Run, RunState, RunTarget, Store};
use std::path::Path;

/// Everything that the end of `run` raises and resolves, in order.
pub(super) async fn steps(
    store: &Store,
    registry: &Registry,
    run: &Run,
    limits: &Alerts,
) -> Result<Vec<Step>, store::Error> {
    let mut steps = Vec::new();
    for alert in store.open_alerts().await?.into_iter().filter(|alert| alert.run_id == Some(run.id)) {
        let Ok(rule) = alert.rule.parse::<Rule>() else { continue };
        if rule.ends_with_its_run() && alert.resolved_at.is_none() {
            let how = format!("run {} has ended: {}", run.id, run.state.as_str().replace('_', " "));
            steps.push(Step::Resolve { rule, job: alert.job, target: alert.target, onset: Some(alert.onset), how });
        }
    }
    match run.state {
        RunState::Failed | RunState::TimedOut if limits.run_failed => {
            steps.push(Step::raise(Condition::run_failed(run)));
        }
        RunState::Succeeded | RunState::Rejected => {
            let how = format!("run {} went through to its end", run.id);
            steps.push(over(Rule::RunFailed, run, "", how));
        }
        _ => {}
    }
    for row in store.targets(run.id).await? {
        let Ok(target) = row.target.parse::<Target>() else { continue };
        let version = row.version.as_deref().and_then(|version| version.parse().ok());
        let metadata = version
            .and_then(|version| registry.metadata(target, version).ok())
            .filter(|metadata| metadata.run_id == run.id);
        let champion = registry.readable_champion(target).ok().flatten().map(|version| version.to_string());
        match row.verdict.as_deref() {
            Some("rejected") if limits.gate_failed => {
                steps.push(Step::raise(gate_failed(run, &row, metadata.as_ref(), champion.as_deref())));
            }
            Some("passed") => {
                let how = format!("{} passed the gate", row.version.as_deref().unwrap_or("a version"));
                steps.push(over(Rule::GateFailed, run, &row.target, how));
            }
            _ => {}
        }
        if limits.no_better_than_naive
            && let Some(condition) = metadata.as_ref().and_then(|metadata| no_better_than_naive(run, &row, metadata))
        {
            steps.push(Step::raise(condition));
        }
        if let (Some(limit), "evaluate") = (limits.input_drift_above, run.kind.as_str()) {
            steps.extend(drifted(store, run, &row, limit).await?);
        }
        let promotions = store.promotions(Some(&row.target)).await?.into_iter();
        let ours = promotions.filter(|p| p.run_id == Some(run.id) && p.state == PromotionState::Done);
        for promotion in ours {
            steps.extend(replaced(store, &promotion).await?.into_iter().map(|(rule, alert)| Step::Resolve {
                rule,
                job: alert.job,
                target: alert.target,
                onset: Some(alert.onset),
                how: replaced_by(&promotion),
            }));
            if limits.promotion {
                steps.push(Step::raise(promoted(&run.job, run.id, &promotion, metadata.as_ref())));
            }
        }
    }
    Ok(steps)
}

/// A version that a person brought into service: told as if the run that trained it had done it, to the same people.
pub async fn promoted_by_hand(store: &Store, metadata: &Metadata) -> Result<(), store::Error> {
    let newest_first = store.promotions(Some(&metadata.target.to_string())).await?;
    let Some(promotion) = newest_first.into_iter().find(|promotion| promotion.state == PromotionState::Done) else {
        return Ok(());
    };
    if promotion.version != metadata.version.to_string() {
        // another one came meanwhile, and is told by whoever brought it
        return Ok(());
    }
    let run = match store.run(metadata.run_id).await {
        Ok(run) => run,
        // a version from another state database: nobody here asked to be told of it
        Err(store::Error::NoSuchRun(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let limits = limits_of(&run);
    for (rule, alert) in replaced(store, &promotion).await? {
        end(store, rule, &alert.job, &alert.target, Some(&alert.onset), &replaced_by(&promotion)).await?;
    }
    if limits.promotion {
        let condition = promoted(&run.job, run.id, &promotion, Some(metadata));
        raise(store, &condition.addressed(&limits)).await?;
    }
    Ok(())
}

/// The run's job, as it ran: the file may have changed since. None: a newer program wrote it.
pub(super) fn job_of(run: &Run) -> Option<Job> {
    Job::parse(Path::new(&format!("{}.toml", run.job)), &run.job_toml, &[]).ok()
}

/// What the run's job wants told; one that a newer program wrote is watched by the defaults.
fn limits_of(run: &Run) -> Alerts {
    job_of(run).map_or_else(Alerts::default, |job| job.alerts)
}

/// Epochs of each network that a job trains one after another; none where it trains one.
pub(super) fn network_epochs(job: &Job) -> Option<i64> {
    match &job.kind {
        Kind::Retrain(retrain) if retrain.members > 1 => Some(retrain.epochs.into()),
        _ => None,
    }
}

/// What is said of the version that a promotion takes out of service, and is over with it.
async fn replaced(store: &Store, promotion: &store::Promotion) -> Result<Vec<(Rule, store::Alert)>, store::Error> {
    let of_its_target = store.open_alerts().await?.into_iter().filter_map(|alert| {
        let rule = alert.rule.parse().ok().filter(|rule: &Rule| rule.is_of_a_champion())?;
        (alert.target == promotion.target && alert.resolved_at.is_none()).then_some((rule, alert))
    });
    Ok(of_its_target.collect())
}

fn replaced_by(promotion: &store::Promotion) -> String {
    format!("{} has taken its place", promotion.version)
}

/// Whether the growth that an evaluation met is of the kind that the version was trained on.
async fn drifted(store: &Store, run: &Run, row: &RunTarget, limit: f64) -> Result<Option<Step>, store::Error> {
    let Some(version) = &row.version else { return Ok(None) };
    let measured = store.metrics(&row.target, version).await?.into_iter().find(|m| m.run_id == Some(run.id));
    let Some(psi) = measured.and_then(|measured| measured.input_psi) else { return Ok(None) };
    if psi <= limit {
        let how = format!("its PSI is {psi:.3}, within {limit}");
        return Ok(Some(over(Rule::InputDrift, run, &row.target, how)));
    }
    let summary = format!("{version} in service sees growth of another kind than it was trained on: PSI {psi:.3}");
    let condition = Condition::new(Rule::InputDrift, &run.job, format!("run {}", run.id), summary)
        .of_run(run.id, Some(&row.target))
        .measured(format!("PSI {psi:.3}"), format!("PSI {limit}"));
    Ok(Some(Step::raise(condition)))
}

fn over(rule: Rule, run: &Run, target: &str, how: String) -> Step {
    Step::Resolve { rule, job: run.job.clone(), target: target.to_owned(), onset: None, how }
}

fn gate_failed(run: &Run, row: &RunTarget, metadata: Option<&Metadata>, champion: Option<&str>) -> Condition {
    let version = row.version.as_deref().unwrap_or("the new version");
    let failed: Vec<_> = metadata.iter().flat_map(|m| &m.verdict.rules).filter(|rule| !rule.passed).collect();
    let reasons: Vec<String> =
        if failed.is_empty() { row.reasons.clone() } else { failed.iter().map(|rule| rule.reason.clone()).collect() };
    // an evaluation judges the version in service, and takes nothing out of it
    let in_service = champion == Some(version);
    let summary = if in_service {
        format!("{version} in service misses its thresholds: {}", reasons.join("; "))
    } else {
        format!("the gate refused {version}: {}", reasons.join("; "))
    };
    let condition = Condition::new(Rule::GateFailed, &run.job, format!("run {}", run.id), summary)
        .of_run(run.id, Some(&row.target));
    let number = |value: Option<f64>| value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.6}"));
    // a gain may be on the right side and still be chance: the reason has both numbers
    let measured = |rule: &Judged| match rule.rule.as_str() {
        "better_than_champion" => {
            (rule.reason.clone(), format!("at least {} % better, with p ≤ {P_MAX}", rule.limit * 100.0))
        }
        name => (format!("{name} {}", number(rule.value)), format!("{name} {}", rule.limit)),
    };
    let (values, limits): (Vec<_>, Vec<_>) = failed.into_iter().map(measured).unzip();
    let kept = match champion {
        Some(_) if in_service => "The version stays in service until another one passes its gate.".to_owned(),
        Some(champion) => format!("The version is kept and marked as rejected; {champion} stays in service."),
        None => "The version is kept and marked as rejected; no version is in service.".to_owned(),
    };
    let details = metadata.into_iter().flat_map(|m| m.metrics.sentences());
    let details = reasons.into_iter().chain(details.filter(|_| !in_service)).collect();
    Condition { done: kept, details, ..condition }.measured(values.join(", "), limits.join(", "))
}

/// Stopped early, so it had its chance, and its MAE is not below that of the best naive forecast on the same points.
fn no_better_than_naive(run: &Run, row: &RunTarget, metadata: &Metadata) -> Option<Condition> {
    let most = metadata.parameters.get("epochs")?.as_u64()?;
    let skill = metadata.metrics.skill.filter(|skill| *skill <= 0.0)?;
    if metadata.epochs as u64 >= most {
        return None;
    }
    let own = metadata.metrics.own.scaled.mae;
    let naive = metadata.metrics.naive.values().map(|naive| naive.scaled.mae).fold(f64::INFINITY, f64::min);
    let summary = format!(
        "stopped early at epoch {} with {} no better than a naive forecast (skill {skill:.3})",
        metadata.epochs, metadata.version
    );
    let condition = Condition::new(Rule::NoBetterThanNaive, &run.job, format!("run {}", run.id), summary)
        .of_run(run.id, Some(&row.target));
    let limit = format!("MAE {naive:.6}, the best naive forecast's on the same points");
    Some(Condition { epoch: Some(metadata.best_epoch as i64), ..condition }.measured(format!("MAE {own:.6}"), limit))
}

fn promoted(job: &str, run_id: i64, promotion: &store::Promotion, metadata: Option<&Metadata>) -> Condition {
    let before = match &promotion.previous_version {
        Some(previous) => format!("in the place of {previous}"),
        None => "as the first one".to_owned(),
    };
    let summary = format!("{} came into service {before}", promotion.version);
    let condition = Condition::new(Rule::Promotion, job, format!("promotion {}", promotion.id), summary)
        .of_run(run_id, Some(&promotion.target));
    let mut details = vec![promotion.cause.clone()];
    details.extend(metadata.into_iter().flat_map(|m| {
        let mut lines = m.metrics.sentences();
        lines.extend(m.verdict.rules.iter().map(|rule| rule.reason.clone()));
        lines
    }));
    Condition { since: promotion.settled_at.unwrap_or(condition.since), details, ..condition }
}
