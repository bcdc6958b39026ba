//! `retraind models`, `promote` and `rollback`

use super::exit::Failure;
use super::output::{Output, number, skill, text, time};
use crate::data::Target;
use crate::evaluate::figure;
use crate::registry::{Metadata, Registry, Version};
use crate::run::{self, Context};
use crate::settings;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only versions of this target: views, likes or comments
    target: Option<Target>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 3 when the gate rejected the version and --force is not given.")]
pub(super) struct PromoteArgs {
    /// views, likes or comments
    target: Target,
    /// Such as v0003
    version: Version,
    /// Also a version that the gate rejected
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    /// views, likes or comments
    target: Target,
}

#[derive(Serialize)]
struct Listed {
    target: Target,
    version: Version,
    champion: bool,
    /// Why the version cannot be used; its metadata is none then.
    damaged: Option<String>,
    metadata: Option<Metadata>,
}

pub(super) fn list(args: &ListArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    let registry = Registry::at(&settings.registry.dir);
    let targets = args.target.map_or_else(|| Target::ALL.to_vec(), |target| vec![target]);
    let mut listed = Vec::new();
    for target in targets {
        let champion = registry.champion(target).unwrap_or_else(|error| {
            output.warn(&format!("failed to {error}"));
            None
        });
        if let Some(missing) = champion.filter(|c| !registry.path(target, *c).is_dir()) {
            output.warn(&format!(
                "{target}: the champion file names {missing}, which is not there; `retraind promote {target} VERSION` \
                 brings another one into service"
            ));
        }
        for version in registry.versions(target)? {
            let (metadata, damaged) = match registry.verify(target, version) {
                Ok(metadata) => (Some(metadata), None),
                Err(error) => (None, Some(error.to_string())),
            };
            listed.push(Listed { target, version, champion: champion == Some(version), damaged, metadata });
        }
    }
    if args.json {
        output.json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if listed.is_empty() {
        let dir = registry.root().display();
        output.line(&format!("no versions in {dir} yet; `retraind run weekly-retrain` trains the first"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [
        text("target"),
        text("version"),
        text("in service"),
        text("verdict"),
        number("MAE"),
        number("skill"),
        text("recipe"),
        number("run"),
        text("created"),
    ];
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|one| {
            let of = |say: fn(&Metadata) -> String| one.metadata.as_ref().map_or_else(String::new, say);
            vec![
                one.target.to_string(),
                one.version.to_string(),
                if one.champion { "yes".to_owned() } else { String::new() },
                one.metadata.as_ref().map_or("damaged", |m| m.verdict.word()).to_owned(),
                of(|m| figure(m.metrics.own.scaled.mae)),
                of(|m| skill(m.metrics.skill)),
                of(|m| m.recipe.clone()),
                of(|m| m.run_id.to_string()),
                of(|m| time(m.created_at)),
            ]
        })
        .collect();
    output.table(&columns, &rows)?;
    for damaged in listed.iter().filter_map(|one| one.damaged.as_deref()) {
        output.warn(&format!("failed to {damaged}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn promote(args: &PromoteArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let PromoteArgs { target, version, force } = *args;
    let context = Context::open(settings::load(config)?.settings).await?;
    let said = match run::promote(&context, target, version, force).await? {
        Some(previous) if previous == version => format!("{target}: {version} is in service already"),
        Some(previous) => format!("{target}: {version} is in service, in the place of {previous}"),
        None => format!("{target}: {version} is in service, the first of this target"),
    };
    output.line(&said)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn rollback(args: &RollbackArgs, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let target = args.target;
    let context = Context::open(settings::load(config)?.settings).await?;
    let (left, came) = run::rollback(&context, target).await?;
    output.line(&format!("{target}: {came} is in service again, in the place of {left}"))?;
    Ok(ExitCode::SUCCESS)
}
