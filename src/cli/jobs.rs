//! `retraind jobs`, `pause` and `resume`

use super::check::next_fires;
use super::exit::Failure;
use super::output::{Output, text, time};
use super::trigger::daemon_is_there;
use crate::alert;
use crate::document::Problem;
use crate::job::{self, Job};
use crate::run::Context;
use crate::settings;
use crate::store::{JobRow, Run};
use chrono::{DateTime, Timelike, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only this job
    job: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// Name of the job
    job: String,
    /// Why, for those who wonder later
    #[arg(long, default_value = "by hand")]
    because: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// Name of the job
    job: String,
}

#[derive(Serialize)]
struct Report {
    daemon: Daemon,
    jobs: Vec<Line>,
}

#[derive(Serialize)]
struct Daemon {
    running: bool,
    status: Option<String>,
}

#[derive(Serialize)]
struct Line {
    job: String,
    description: String,
    kind: Option<&'static str>,
    triggers: Vec<String>,
    next: Option<DateTime<chrono_tz::Tz>>,
    paused_since: Option<DateTime<Utc>>,
    paused_because: Option<String>,
    /// What is wrong with its file; what it was before is in force.
    problem: Option<String>,
    skipped_at: Option<DateTime<Utc>>,
    skipped_because: Option<String>,
    last_run: Option<Run>,
}

pub(super) async fn list(args: &ListArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let dir = settings.jobs.dir.clone();
    let mut files: BTreeMap<String, Result<Job, Vec<Problem>>> = BTreeMap::new();
    let found = job::files(&dir).map_err(|problem| vec![problem])?;
    let names: Vec<String> = found.iter().map(|file| job::stem(file)).collect();
    let mut after = Vec::new();
    for file in found {
        let read = Job::read(&file, &[]);
        after.extend(job::starts_after(&file, &read).map(|before| (file.clone(), before)));
        files.insert(job::stem(&file), read);
    }
    for problem in job::check_together(&after, &names) {
        if let Some(read) = files.get_mut(&job::stem(&problem.file)).filter(|read| read.is_ok()) {
            *read = Err(vec![problem]);
        }
    }
    if let Some(job) = args.job.as_ref().filter(|job| !files.contains_key(*job)) {
        job::find(&dir, job, &[])?;
    }
    let context = Context::open_existing(settings).await?;
    let mut rows: BTreeMap<String, JobRow> = BTreeMap::new();
    let mut daemon = Daemon { running: false, status: None };
    if let Some(context) = &context {
        rows = context.store.jobs(false).await?.into_iter().map(|row| (row.name.clone(), row)).collect();
        daemon.running = daemon_is_there(&context.store).await?;
        daemon.status = context.store.scheduler().await?.status.filter(|_| daemon.running);
    }
    let mut lines = Vec::new();
    for (name, read) in files.into_iter().filter(|(name, _)| args.job.as_ref().is_none_or(|job| job == name)) {
        let last_run = match &context {
            Some(context) => context.store.runs(Some(&name), 1).await?.into_iter().next(),
            None => None,
        };
        let row = rows.remove(&name);
        lines.push(line(name, read, row, last_run));
    }
    if args.json {
        output.json(&Report { daemon, jobs: lines })?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&daemon, &lines, output)?;
    Ok(ExitCode::SUCCESS)
}

fn line(name: String, read: Result<Job, Vec<Problem>>, row: Option<JobRow>, last_run: Option<Run>) -> Line {
    let (in_force, problem) = match read {
        Ok(job) => (Some(job), None),
        Err(problems) => {
            let problem = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            // what the daemon goes on with
            let before = row.as_ref().filter(|row| !row.job_toml.is_empty());
            let before =
                before.and_then(|row| Job::parse(&Path::new(&name).with_extension("toml"), &row.job_toml, &[]).ok());
            (before, Some(problem))
        }
    };
    let paused_since = row.as_ref().and_then(|row| row.paused_at);
    let cron = in_force.as_ref().and_then(|job| job.triggers.cron.as_ref()).filter(|_| paused_since.is_none());
    Line {
        next: cron.and_then(|cron| next_fires(cron, &name, 1).into_iter().next()),
        description: in_force.as_ref().map(|job| job.description.clone()).unwrap_or_default(),
        kind: in_force.as_ref().map(|job| job.kind.name()),
        triggers: in_force.as_ref().map(|job| job.triggers.sentences()).unwrap_or_default(),
        job: name,
        paused_since,
        paused_because: row.as_ref().and_then(|row| row.paused_because.clone()),
        problem,
        skipped_at: row.as_ref().and_then(|row| row.skipped_at),
        skipped_because: row.and_then(|row| row.skipped_because),
        last_run,
    }
}

fn show(daemon: &Daemon, lines: &[Line], output: Output) -> std::io::Result<()> {
    match (daemon.running, &daemon.status) {
        (true, Some(status)) => output.line(&format!("daemon: {status}"))?,
        (true, None) => output.line("daemon: starting")?,
        (false, _) => output.line("daemon: not running; nothing starts by itself until `retraind daemon` does")?,
    }
    output.line("")?;
    let columns = [text("job"), text("starts"), text("next"), text("last run"), text("ended")];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let starts = match (line.kind, line.triggers.as_slice()) {
                (None, _) => "not in force".to_owned(),
                (Some(_), []) => "by hand".to_owned(),
                (Some(_), triggers) => triggers.join("; "),
            };
            let next = match (&line.paused_since, &line.next) {
                (Some(_), _) => "paused".to_owned(),
                (None, Some(next)) if next.second() == 0 => next.format("%a %Y-%m-%d %H:%M %z").to_string(),
                (None, Some(next)) => next.format("%a %Y-%m-%d %H:%M:%S %z").to_string(),
                (None, None) => String::new(),
            };
            let last = line.last_run.as_ref().map_or_else(String::new, |run| format!("{} {}", run.id, run.state));
            let ended = line.last_run.as_ref().and_then(|run| run.ended_at).map_or_else(String::new, time);
            vec![line.job.clone(), starts, next, last, ended]
        })
        .collect();
    output.table(&columns, &rows)?;
    for line in lines {
        let name = &line.job;
        if let Some(problem) = &line.problem {
            let stays = if line.kind.is_some() { "what it was before stays in force" } else { "it is not in force" };
            output.line(&format!("\n{name}: its file is broken, and {stays}:\n  {}", problem.replace('\n', "\n  ")))?;
        }
        if let Some(because) = &line.paused_because {
            output.line(&format!("\n{name}: paused ({because}); `retraind resume {name}` goes on"))?;
        }
        if let (Some(at), Some(because)) = (line.skipped_at, &line.skipped_because)
            && line.last_run.as_ref().is_none_or(|run| run.queued_at < at)
        {
            output.line(&format!("\n{name}: nothing was started at {}: {because}", time(at)))?;
        }
    }
    Ok(())
}

pub(super) async fn pause(args: &PauseArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    context.store.pause_job(&args.job, &args.because).await?;
    output.line(&format!("{} is paused: its triggers start nothing, `retraind trigger` still does", args.job))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(args: &ResumeArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    let was_paused = context.store.paused_jobs().await?.contains_key(&args.job);
    context.store.resume_job(&args.job).await?;
    alert::resolve(&context.store, alert::Rule::Paused, &args.job, None, "resumed by hand").await?;
    let says = if was_paused { "goes on; what was due meanwhile is not caught up" } else { "was not paused" };
    output.line(&format!("{} {says}", args.job))?;
    Ok(ExitCode::SUCCESS)
}
