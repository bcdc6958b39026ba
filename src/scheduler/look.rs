//! What triggers ask for: rows that are new, evaluations of versions in service; and what the scheduler remembers of jobs.

use crate::data::Target;
use crate::job::{Job, Kind};
use crate::run::{Context, Error};
use crate::store::JobRow;
use crate::trigger::degradation::Seen;
use chrono::{DateTime, Utc};
use std::path::Path;

/// Evaluations' name in `model_metrics`.
const EVALUATION: &str = "evaluation";

/// Rows later than what the newest models of the job were trained on: of its targets, the one that was trained longest ago
/// counts. All rows where a target has no model yet. Counts as far as the trigger needs to know.
pub(super) async fn new_rows(context: &Context, job: &Job) -> Result<u64, Error> {
    let enough = job.triggers.data_volume.as_ref().map_or(u64::MAX, |trigger| u64::from(trigger.min_new_rows.get()));
    let watermark = watermark(context, targets(job))?;
    Ok(context.source().await?.count_since(watermark, enough).await?)
}

fn watermark(context: &Context, targets: &[Target]) -> Result<Option<DateTime<Utc>>, Error> {
    let mut oldest: Option<DateTime<Utc>> = None;
    for &target in targets {
        let Some(newest) = context.registry.versions(target)?.into_iter().max() else { return Ok(None) };
        let trained_on = context.registry.metadata(target, newest)?.training_data_version.last;
        let Some(trained_on) = trained_on else { return Ok(None) };
        oldest = Some(oldest.map_or(trained_on, |oldest| oldest.min(trained_on)));
    }
    Ok(oldest)
}

/// What evaluations say of the job's versions in service. A version that was never judged here says nothing.
pub(super) async fn evaluations(context: &Context, job: &Job) -> Result<Vec<Seen>, Error> {
    let mut seen = Vec::new();
    for &target in targets(job) {
        let Some(version) = context.registry.readable_champion(target)? else { continue };
        let (target, version) = (target.to_string(), version.to_string());
        let metrics = context.store.metrics(&target, &version).await?;
        let Some(judged) = metrics.iter().find(|row| row.dataset != EVALUATION) else { continue };
        let evaluations =
            metrics.iter().filter(|row| row.dataset == EVALUATION).map(|row| (row.measured_at, row.mae)).collect();
        seen.push(Seen { mae_at_promotion: judged.mae, target, version, evaluations });
    }
    Ok(seen)
}

fn targets(job: &Job) -> &[Target] {
    match &job.kind {
        Kind::Retrain(settings) => &settings.targets,
        Kind::Evaluate(settings) => &settings.targets,
        Kind::Predict(settings) => &settings.targets,
        Kind::Exec(_) => &Target::ALL,
    }
}

/// Puts a job into its row. Another trigger than before begins now: it catches nothing up.
pub(super) fn take_job(row: &mut JobRow, job: &Job, now: DateTime<Utc>) {
    let schedule = job.triggers.cron.as_ref().map(ToString::to_string);
    if schedule != row.schedule || row.fired_up_to.is_none() {
        row.fired_up_to = schedule.as_ref().map(|_| now);
        row.schedule = schedule;
    }
    if row.after_up_to.is_none() || job_of(row).is_none_or(|before| before.triggers.after != job.triggers.after) {
        row.after_up_to = Some(now);
    }
    row.job_toml = job.to_toml();
    row.file_problem = None;
}

/// The job in a row, where this version of retraind can read it.
pub(super) fn job_of(row: &JobRow) -> Option<Job> {
    Job::parse(&Path::new(&row.name).with_extension("toml"), &row.job_toml, &[]).ok()
}
