//! `retraind check --plan JOB`

use super::check::Args;
use super::exit::Failure;
use super::output::Output;
use super::progress::Progress;
use crate::bytes::Bytes;
use crate::event::Event;
use crate::job::{self, Kind};
use crate::recipe::Recipe;
use crate::run::{self, Context};
use crate::settings;
use std::path::Path;
use std::process::ExitCode;

pub(super) async fn plan(name: &str, args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let job = job::find(&settings.jobs.dir, name, &[])?;
    let Kind::Retrain(retrain) = &job.kind else {
        output.line(&format!("{name} is a job of kind {}: only a retrain has windows to plan for", job.kind.name()))?;
        return Ok(ExitCode::SUCCESS);
    };
    let (context, progress) = (Context::open(settings).await?, Progress::new(output));
    let listener = progress.listener();
    let plan = run::plan(&context, &job, retrain, |rows| listener(Event::Reading { rows })).await;
    progress.done_reading();
    let plan = plan?;
    if args.json {
        output.json(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    output.line(&format!(
        "{} rows of {} video(s): {} windows to train on, {} to judge on",
        plan.rows, plan.videos, plan.train_windows, plan.validation_windows
    ))?;
    output.line(&format!(
        "{} parameters a network, {} epochs{}",
        plan.parameters,
        retrain.epochs,
        if retrain.recipe == Recipe::Level { " at most" } else { "" }
    ))?;
    output.line(&plan.division.sentence())?;
    if let Some(limit) = retrain.memory_limit {
        output
            .line(&format!("memory limit {limit}, {} are left", Bytes(limit.0.saturating_sub(plan.division.memory))))?;
    }
    output.line(&match (plan.epoch_seconds, plan.epoch_seconds_of_run) {
        (Some(seconds), Some(run)) => format!("{seconds:.2} s an epoch of a model, as in run {run} on this host"),
        _ => "no run of this job on this host yet, so the time of an epoch is not known".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}
