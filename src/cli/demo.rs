//! `retraind demo`

use super::exit::Failure;
use super::output::Output;
use super::{predict, run};
use crate::data::{Imported, Source, sample, write_csv};
use crate::job::{self, WEEKLY_RETRAIN};
use crate::run::{Context, predict as forecast};
use crate::settings::{self, Settings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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

pub(super) async fn demo(args: &Args, config: Option<&Path>, output: &Output) -> Result<ExitCode, Failure> {
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
    let report = run::to_the_end(&context, &job, output).await?;
    run::summary(&report, output)?;

    let targets: Vec<_> = crate::data::Target::ALL
        .into_iter()
        .filter(|&target| matches!(context.registry.champion(target), Ok(Some(_))))
        .collect();
    output.line("")?;
    if targets.is_empty() {
        output.line("no version is in service yet, so there is nothing to forecast with")?;
    } else {
        predict::show(&forecast(&context, &targets, &[]).await?, output)?;
    }
    output.line(&place.farewell())?;
    Ok(ExitCode::SUCCESS)
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
        fs::create_dir_all(dir.join("jobs")).map_err(failed(dir))?;
        let dir = dir.canonicalize().map_err(failed(dir))?;
        let job = dir.join("jobs").join(format!("{}.toml", WEEKLY_RETRAIN.0));
        // a job file that somebody has edited is theirs
        if !job.exists() {
            fs::write(&job, WEEKLY_RETRAIN.1).map_err(failed(&job))?;
        }
        Ok(Self { csv: dir.join("sample.csv"), config: dir.join("retraind.toml"), dir })
    }

    fn settle(&self, settings: &mut Settings) {
        let url = |name: &str| format!("sqlite://{}", self.dir.join(name).display());
        settings.state.url = url("retraind.db");
        settings.source = settings::Source { url: url("data.db"), ..settings::Source::default() };
        settings.jobs.dir = self.dir.join("jobs");
        settings.registry.dir = self.dir.join("models");
    }

    fn write_settings(&self, settings: &Settings) -> Result<(), Failure> {
        #[derive(serde::Serialize)]
        struct Places<'a> {
            state: &'a settings::State,
            source: &'a settings::Source,
            jobs: &'a settings::Jobs,
            registry: &'a settings::Registry,
        }
        let Settings { state, source, jobs, registry, .. } = settings;
        let toml = toml_edit::ser::to_string_pretty(&Places { state, source, jobs, registry })
            .expect("tables of texts are TOML");
        fs::write(&self.config, toml).map_err(|source| Failure::Write { path: self.config.clone(), source })
    }

    fn farewell(&self) -> String {
        let (config, dir) = (self.config.display(), self.dir.display());
        format!(
            "\nThe versions are in {dir}/models, the rows also in {}.\nTry next:\n  \
             retraind --config {config} models\n  \
             retraind --config {config} predict --video sample-bbb0 --json\n  \
             retraind --config {config} run weekly-retrain --set gate.skill_min=0\n  \
             retraind --config {config} check",
            self.csv.display()
        )
    }
}
