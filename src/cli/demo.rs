//! `retraind demo`

use super::exit::Failure;
use super::output::Output;
use super::summary::summary;
use super::{predict, run};
use crate::data::{Imported, Source, Target, sample, write_csv};
use crate::host::replace;
use crate::job::{self, WEEKLY_RETRAIN};
use crate::registry::Version;
use crate::run::{Context, RunReport, predict as forecast, promote};
use crate::settings::{self, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// First line of the settings of a directory that a demo made.
const MARK: &str = "# Written by `retraind demo`; it uses this directory again.";
/// The sample is the same for everybody.
const SEED: u64 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 when everything worked, whatever the gates' verdicts.")]
pub(super) struct Args {
    /// Where to put everything; made where missing, used again where there
    #[arg(long, default_value = "demo")]
    dir: PathBuf,
    /// Set a value of the job file for this run, such as retrain.epochs=10; may be given more than once
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) async fn demo(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let place = Place::prepare(&args.dir)?;
    // what the user set for the host holds here too, the places apart
    let mut settings = settings::load(config)?.settings;
    place.settle(&mut settings);
    place.write_settings(&settings)?;

    let series = sample(SEED);
    write_csv(&place.csv, &series)?;
    let source = &settings.source;
    let Imported { inserted, updated, unchanged, videos } =
        Source::import(&source.url, &source.table, source.statement_timeout, &series, |_, _| ()).await?;
    output.say(&format!(
        "{} rows of {videos} sample videos: {inserted} new, {} there already",
        series.len(),
        updated + unchanged
    ));

    let job = job::find(&settings.jobs.dir, WEEKLY_RETRAIN.0, &args.set)?;
    let context = Context::open(settings).await?;
    let (report, failure) = run::to_the_end(&context, &job, output).await?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    summary(&report, output)?;

    output.line("")?;
    promote_rejected(&context, &report, output).await?;
    predict::show(&forecast(&context, &Target::ALL, &[]).await?, output)?;
    output.line(&place.farewell())?;
    Ok(ExitCode::SUCCESS)
}

/// Brings versions into service by hand where the gate left a target without any: the demo is to show forecasts, too.
async fn promote_rejected(context: &Context, report: &RunReport, output: Output) -> Result<(), Failure> {
    let mut promoted = Vec::new();
    for target in &report.targets {
        let Ok(name) = target.row.target.parse::<Target>() else { continue };
        let version: Option<Version> = target.row.version.as_deref().and_then(|version| version.parse().ok());
        if let (None, Some(version)) = (context.registry.champion(name)?, version) {
            promote(context, name, version, true).await?;
            promoted.push(format!("promote {name} {version} --force"));
        }
    }
    if !promoted.is_empty() {
        output.line(&format!(
            "Nothing was in service where the gate refused. To have something to forecast with, these were promoted by \
             hand:\n  {}\n",
            promoted.join("\n  ")
        ))?;
    }
    Ok(())
}

/// The settings that lead to the demo's places.
#[derive(serde::Serialize)]
struct Places<'a> {
    state: &'a settings::State,
    source: &'a settings::Source,
    jobs: &'a settings::Jobs,
    registry: &'a settings::Registry,
    runs: &'a settings::Runs,
}

/// Where the demo puts things.
struct Place {
    dir: PathBuf,
    csv: PathBuf,
    config: PathBuf,
}

impl Place {
    fn prepare(dir: &Path) -> Result<Self, Failure> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Failure::Write { path, source }
        };
        let config = dir.join("retraind.toml");
        let made_here = fs::read_to_string(&config).is_ok_and(|text| text.starts_with(MARK));
        let empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        if !made_here && !empty {
            return Err(Failure::NotOurs { path: dir.to_owned() });
        }
        fs::create_dir_all(dir.join("jobs")).map_err(failed(dir))?;
        let dir = dir.canonicalize().map_err(failed(dir))?;
        let job = dir.join("jobs").join(format!("{}.toml", WEEKLY_RETRAIN.0));
        // a job file that somebody has edited is theirs; half a one would stop every later demo
        if !job.exists() {
            replace(&job, WEEKLY_RETRAIN.1.as_bytes()).map_err(failed(&job))?;
        }
        Ok(Self { csv: dir.join("sample.csv"), config: dir.join("retraind.toml"), dir })
    }

    fn settle(&self, settings: &mut Settings) {
        // in a URL, these would not stand for themselves
        let dir = self.dir.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let url = |name: &str| format!("sqlite://{dir}/{name}");
        settings.state.url = url("retraind.db");
        settings.source = settings::Source { url: url("data.db"), ..settings::Source::default() };
        settings.jobs.dir = self.dir.join("jobs");
        settings.registry.dir = self.dir.join("models");
        settings.runs.dir = self.dir.join("runs");
    }

    /// Settings that lead here for later commands; those of an earlier demo, with what was added to them, stay.
    fn write_settings(&self, settings: &Settings) -> Result<(), Failure> {
        if self.config.exists() {
            return Ok(());
        }
        let Settings { state, source, jobs, registry, runs, .. } = settings;
        let toml = toml_edit::ser::to_string_pretty(&Places { state, source, jobs, registry, runs })
            .expect("tables of texts are TOML");
        fs::write(&self.config, format!("{MARK}\n\n{toml}"))
            .map_err(|source| Failure::Write { path: self.config.clone(), source })
    }

    fn farewell(&self) -> String {
        let (config, dir) = (self.config.display(), self.dir.display());
        let program = std::env::current_exe().map_or_else(|_| "retraind".to_owned(), |exe| exe.display().to_string());
        format!(
            "\nThe versions are in {dir}/models, the rows also in {}.\nTry next:\n  \
             export RETRAIND_CONFIG={config}\n  \
             {program} models\n  \
             {program} predict --video smpl-steady --json\n  \
             {program} run weekly-retrain --set gate.skill_min=-100\n  \
             {program} check",
            self.csv.display()
        )
    }
}
