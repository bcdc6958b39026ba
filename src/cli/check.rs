//! `retraind check`

use super::exit::{CONFIG, Failure};
use super::output::Output;
use crate::data::Source;
use crate::document::Problem;
use crate::job::{self, Job};
use crate::run::chain;
use crate::settings::{self, Loaded, Settings};
use crate::store::Store;
use crate::trigger::Cron;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
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
    /// Read the rows and say what a run of this job would take: windows, parameters, seconds an epoch, memory
    #[arg(long, value_name = "JOB", conflicts_with = "path")]
    pub(super) plan: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    jobs: Vec<Checked>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Checked {
    job: String,
    file: PathBuf,
    kind: &'static str,
    triggers: Vec<String>,
    schedule: Option<String>,
    timezone: Option<String>,
    gate: Option<String>,
    next: Vec<DateTime<Tz>>,
}

pub(super) fn check(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let (mut problems, mut jobs) = (Vec::new(), Vec::new());
    let path = match &args.path {
        Some(path) => Some(path.clone()),
        None => match settings::load(config) {
            Ok(loaded) => {
                problems.extend(addresses(&loaded));
                Some(loaded.settings.jobs.dir)
            }
            Err(found) => {
                problems.extend(found);
                // the jobs are checked all the same
                Some(settings::jobs_dir(config)).filter(|dir| dir.is_dir())
            }
        },
    };
    let files = match path {
        Some(path) if args.path.is_some() && !path.exists() => {
            let problem = Problem::general(&path, "there is no such file or directory");
            problems.push(problem.help("name a job file, such as jobs/weekly-retrain.toml, or a directory of them"));
            Vec::new()
        }
        Some(path) if path.is_dir() || !path.exists() => job::files(&path).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        }),
        Some(file) => vec![file],
        None => Vec::new(),
    };
    let names: Vec<String> = files.iter().map(|file| job::stem(file)).collect();
    let mut after = Vec::new();
    for file in files {
        let read = Job::read(&file, &[]);
        after.extend(job::starts_after(&file, &read).map(|before| (file.clone(), before)));
        match read {
            Ok(job) => jobs.push(checked(file, &job)),
            Err(found) => problems.extend(found),
        }
    }
    // one file alone may name a job that lies elsewhere
    if args.path.as_ref().is_none_or(|path| path.is_dir()) {
        problems.extend(job::check_together(&after, &names));
    }
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CONFIG) };
    if args.json {
        output.json(&Report { jobs, problems })?;
        return Ok(code);
    }
    for job in &jobs {
        let triggers = match job.triggers.as_slice() {
            [] => "no trigger: runs by hand only".to_owned(),
            triggers => triggers.join("; "),
        };
        output.line(&format!("{}  {}  {triggers}", job.file.display(), job.kind))?;
        if let Some(gate) = &job.gate {
            output.line(&format!("    gate  {gate}"))?;
        }
        for fire in &job.next {
            output.line(&format!("    next  {}", fire.format("%a %Y-%m-%d %H:%M:%S %z (%Z)")))?;
        }
    }
    problems.iter().for_each(|problem| output.error(&problem.to_string()));
    if problems.is_empty() {
        output.line(&format!("{} job file(s), no problems", jobs.len()))?;
    } else {
        output.line(&format!("{} problem(s), {} job file(s) without", problems.len(), jobs.len()))?;
    }
    Ok(code)
}

/// What is wrong with the databases' addresses, as far as can be told without opening them.
fn addresses(loaded: &Loaded) -> Vec<Problem> {
    let Settings { state, source, .. } = &loaded.settings;
    let place = loaded.file.clone().unwrap_or_else(|| PathBuf::from("RETRAIND_SOURCE__URL or RETRAIND_STATE__URL"));
    let state = Store::check_address(&state.url).map_err(|e| format!("[state] url: failed to {}", chain(&e)));
    let source = Source::check_address(&source.url, &source.table)
        .map_err(|e| format!("[source] url, table: failed to {}", chain(&e)));
    [state, source].into_iter().filter_map(Result::err).map(|message| Problem::general(&place, message)).collect()
}

fn checked(file: PathBuf, job: &Job) -> Checked {
    let cron = job.triggers.cron.as_ref();
    let next = cron.map_or_else(Vec::new, |cron| next_fires(cron, &job.name, N_FIRES));
    Checked {
        job: job.name.clone(),
        file,
        kind: job.kind.name(),
        triggers: job.triggers.sentences(),
        schedule: cron.map(|cron| cron.schedule.clone()),
        timezone: cron.map(|cron| cron.timezone.clone()),
        gate: job.kind.makes_versions().then(|| job.gate.to_string()),
        next,
    }
}

/// The next `n` times that the clock starts the job, its jitter included.
pub(super) fn next_fires(cron: &Cron, job: &str, n: usize) -> Vec<DateTime<Tz>> {
    let Ok(schedule) = cron.read() else { return Vec::new() };
    let delay = cron.delay(job);
    let mut at: DateTime<Utc> = Utc::now() - delay;
    std::iter::from_fn(|| {
        let next = schedule.next(at)?;
        at = next.to_utc();
        Some(next + delay)
    })
    .take(n)
    .collect()
}
