//! `retraind check`

use super::exit::{CONFIG, Failure};
use super::output::Output;
use crate::document::Problem;
use crate::job::{self, Job};
use crate::settings;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Fire times shown a job.
const N_FIRES: usize = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 78 when there are problems.")]
pub(super) struct Args {
    /// A job file, or a directory of them; else the settings and the directory they name
    #[arg(value_name = "FILE|DIR")]
    path: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    jobs: Vec<Checked>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Checked {
    job: String,
    file: PathBuf,
    kind: &'static str,
    schedule: Option<String>,
    timezone: Option<String>,
    next: Vec<String>,
}

pub(super) fn check(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let (mut problems, mut jobs) = (Vec::new(), Vec::new());
    let path = match &args.path {
        Some(path) => Some(path.clone()),
        None => match settings::load(config) {
            Ok(loaded) => Some(loaded.settings.jobs.dir),
            Err(found) => {
                problems.extend(found);
                None
            }
        },
    };
    let files = match path {
        Some(path) if path.is_dir() || !path.exists() => job::files(&path).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        }),
        Some(file) => vec![file],
        None => Vec::new(),
    };
    for file in files {
        match Job::read(&file, &[]) {
            Ok(job) => jobs.push(checked(file, &job)),
            Err(found) => problems.extend(found),
        }
    }
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CONFIG) };
    if args.json {
        output.json(&Report { jobs, problems: problems.iter().map(Problem::to_string).collect() })?;
        return Ok(code);
    }
    for job in &jobs {
        let schedule = match (&job.schedule, &job.timezone) {
            (Some(schedule), Some(zone)) => format!("{schedule} ({zone})"),
            _ => "no trigger: runs by hand only".to_owned(),
        };
        output.line(&format!("{}  {}  {schedule}", job.file.display(), job.kind))?;
        for fire in &job.next {
            output.line(&format!("    next  {fire}"))?;
        }
    }
    problems.iter().for_each(|problem| output.error(&problem.to_string()));
    if problems.is_empty() {
        output.line(&format!("{} job file(s), no problems", jobs.len()))?;
    }
    Ok(code)
}

fn checked(file: PathBuf, job: &Job) -> Checked {
    let mut next = Vec::new();
    if let Some(cron) = &job.cron {
        let mut now: DateTime<Utc> = Utc::now();
        while let Some(fire) = cron.next(now).filter(|_| next.len() < N_FIRES) {
            next.push(fire.format("%a %Y-%m-%d %H:%M:%S %z (%Z)").to_string());
            now = fire.to_utc();
        }
    }
    Checked {
        job: job.name.clone(),
        file,
        kind: job.kind.name(),
        schedule: job.cron.as_ref().map(|cron| cron.schedule().to_owned()),
        timezone: job.cron.as_ref().map(|cron| cron.zone().to_string()),
        next,
    }
}
