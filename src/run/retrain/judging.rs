//! The judging step: a contender becomes a file, and the file is scored through ONNX Runtime.

use super::Shared;
use super::contender::{Contender, InMemory, Model, in_range};
use super::importance;
use crate::data::Target;
use crate::evaluate::{self, Ends, Forecasts};
use crate::export::{self, Description};
use crate::gate::{self, Champion};
use crate::job::Retrain;
use crate::model;
use crate::recipe::{Blend, Histogram, Intervals, Plan, Recipe, Scalers, Table, Windows};
use crate::registry::{Metadata, Rolling, Staging, Version, file};
use crate::run::Error;
use crate::runtime::{CountForecasts, Input, Library, Session};
use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// A version before anyone sees it.
pub(super) struct Candidate {
    pub(super) staging: Staging,
    pub(super) metadata: Metadata,
}

/// What an exported file says of windows, in units of [`Windows::range`], `[windows, outputs]`.
struct Said {
    values: Vec<f64>,
    intervals: Option<(Vec<f64>, Vec<f64>)>,
}

impl Said {
    /// With intervals made from the errors on the windows at these positions.
    fn forecasts<'a>(&'a self, made_from: &'a [u32]) -> Forecasts<'a> {
        let intervals = self.intervals.as_ref().map(|(lower, upper)| Ends { lower, upper, made_from });
        Forecasts { values: &self.values, intervals }
    }
}

/// Exports, compares, scores through ONNX Runtime and asks the gate. What is judged is the file on the disk.
pub(super) fn judge(
    shared: &Shared,
    target: Target,
    library: Library,
    contender: &Contender,
    rolling: Option<&Rolling>,
    used: Option<Version>,
) -> Result<Candidate, Error> {
    let registry = &shared.context.registry;
    let prepared = &shared.prepared;
    let validation = prepared.validation(target);
    let description = Description {
        target: target.to_string(),
        recipe: shared.settings.recipe.to_string(),
        features: validation.features(),
        steps: validation.steps(),
        training_data_version: shared.data_version.sha256.clone(),
    };
    let intervals = contender.intervals(prepared, target, shared.settings.interval);
    let mut staging = registry.stage(target, used)?;
    staging.write(file::MODEL, &contender.to_onnx(validation.plan(), intervals.as_ref(), &description))?;

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut session = Session::open(&library, &staging.read(file::MODEL)?, threads)?;
    let in_memory = contender.ask(&validation);
    let (said, export_difference) = compare(&mut session, &validation, &in_memory, target)?;
    let scores = evaluate::score(&prepared.train(target), &validation, said.forecasts(&prepared.split.calibration));
    let champion = champion(shared, target, library, &validation, &said, threads)?;
    let verdict = gate::judge(&shared.job.gate, &scores, &champion);
    tracing::info!(%target, export_difference, mae = scores.own.scaled.mae, verdict = verdict.word(), "version judged");

    staging.write(file::SCALER, &pretty(&scaling(shared, validation.plan(), contender, intervals.as_ref())))?;
    let epochs = contender.epochs();
    staging.write(file::HISTORY, &pretty(&epochs))?;
    staging.write(file::JOB, shared.job.to_toml().as_bytes())?;
    let importance = match &contender.model {
        Model::Mixture(members) if shared.settings.importance => {
            let importance = importance::measure(members, prepared, target, shared.settings.seed);
            staging.write(file::IMPORTANCE, importance::plot(target, &importance).as_bytes())?;
            importance
        }
        _ => Vec::new(),
    };
    let metadata = Metadata {
        target,
        version: staging.version(),
        created_at: Utc::now(),
        run_id: shared.claim.run_id,
        attempt: shared.claim.attempt,
        framework: format!("burn {}", model::BURN_VERSION),
        model_type: contender.model_type().to_owned(),
        recipe: shared.settings.recipe.to_string(),
        training_data_version: shared.data_version.clone(),
        feature_version: shared.settings.recipe.feature_version().to_owned(),
        features: description.features,
        sequence_length: description.steps,
        horizon: validation.outputs(),
        data: Some(shared.job.data),
        validation_method: shared.settings.recipe.validation_method(&shared.job.data),
        seed: shared.settings.seed,
        n_parameters: contender.n_parameters(),
        parameters: parameters(&shared.settings, contender),
        epochs: epochs.len(),
        best_epoch: contender.best_epoch(),
        training_seconds: contender.training_seconds,
        metrics: scores,
        members: contender.members(prepared, target, shared.settings.seed),
        // the trainings on shorter pasts are those of the LSTM
        rolling: rolling.filter(|_| contender.model_type() == "LSTM").cloned(),
        input_spread: Histogram::of(&mut prepared.train(target).increments()),
        importance,
        export_difference,
        performance_threshold: shared.job.gate,
        verdict,
        parent_champion: registry.readable_champion(target)?,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        // filled in from what was written
        files: BTreeMap::new(),
    };
    Ok(Candidate { staging, metadata })
}

/// What the file says, and the largest difference from what the model says in memory.
fn compare(
    session: &mut Session,
    windows: &Windows<'_>,
    in_memory: &InMemory,
    target: Target,
) -> Result<(Said, f64), Error> {
    let parity = |source| Error::Parity { target, source };
    match in_memory {
        InMemory::Scaled(outputs) => {
            let exported = session.forecast(windows.len(), |range| windows.batch(range))?;
            let difference = export::check_parity(outputs, &exported).map_err(parity)?;
            Ok((Said { values: exported.into_iter().map(f64::from).collect(), intervals: None }, difference))
        }
        InMemory::Growth { growth, sizes, .. } => {
            let found = ask_counts(session, windows)?;
            // before rounding, which would make a whole count of the smallest difference; weights are in 32 bits, so
            // that differences grow with what is weighed
            let differences = growth.iter().zip(&found.growth).zip(sizes).map(|((a, b), size)| (a - b).abs() / size);
            let difference = export::largest(differences).map_err(parity)?;
            Ok((said(windows, &found), difference))
        }
    }
}

/// What a file that takes counts says of windows.
fn ask_counts(session: &mut Session, windows: &Windows<'_>) -> Result<CountForecasts, Error> {
    let Input::Counts { history } = *session.input() else {
        panic!("a graph that takes counts");
    };
    Ok(session.forecast_counts(windows.len(), |range| windows.raw_batch(range, history))?)
}

fn said(windows: &Windows<'_>, found: &CountForecasts) -> Said {
    let judged = |counts: &[f64]| in_range(windows, counts);
    let intervals = found.intervals.as_ref().map(|(lower, upper)| (judged(lower), judged(upper)));
    Said { values: judged(&found.values), intervals }
}

/// The version in service on the same windows, where a rule asks for it.
fn champion(
    shared: &Shared,
    target: Target,
    library: Library,
    windows: &Windows<'_>,
    challenger: &Said,
    threads: usize,
) -> Result<Champion, Error> {
    if !shared.job.gate.better_than_champion {
        return Ok(Champion::None);
    }
    let registry = &shared.context.registry;
    let Some(version) = registry.readable_champion(target)? else { return Ok(Champion::None) };
    // a damaged champion cannot keep a sound version out
    let metadata = match registry.verify(target, version) {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Champion::Incomparable(format!("{version} could not be read: {error}"))),
    };
    if let Some(why) = incomparable(&metadata, shared) {
        return Ok(Champion::Incomparable(format!("{version} {why}")));
    }
    let model = registry.verified(&metadata, target, version, file::MODEL)?;
    let mut session = Session::open(&library, &model, threads)?;
    let theirs = in_range(windows, &ask_counts(&mut session, windows)?.values);
    let paired = evaluate::compare(windows, &theirs, challenger.forecasts(&[]), shared.job.gate.champion_margin);
    Ok(paired.map_or(Champion::None, |paired| Champion::Compared { version: version.to_string(), paired }))
}

/// Why a version does not forecast the same points, if it does not.
fn incomparable(metadata: &Metadata, shared: &Shared) -> Option<String> {
    if metadata.recipe != shared.settings.recipe.to_string() {
        return Some(format!("is of recipe `{}`, which forecasts other points", metadata.recipe));
    }
    if shared.settings.recipe == Recipe::Level {
        return Some("has scalers of its own, as every version of recipe `level`".to_owned());
    }
    let grid = shared.job.data.grid;
    metadata.data.is_none_or(|data| data.grid != grid).then(|| format!("forecasts on another grid than {grid}"))
}

/// `scaler.json`, one variant a recipe.
#[derive(Serialize)]
#[serde(untagged)]
enum Scaling<'a> {
    /// What a caller of the graph must do.
    Videos(&'a Scalers),
    /// What the graph does by itself; for people.
    InTheGraph {
        method: &'static str,
        grid_seconds: i64,
        history: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        blend: Option<&'a Blend>,
        intervals: Option<&'a Intervals>,
    },
}

fn scaling<'a>(
    shared: &'a Shared,
    plan: Option<&Plan>,
    contender: &'a Contender,
    intervals: Option<&'a Intervals>,
) -> Scaling<'a> {
    match (&shared.prepared.table, plan) {
        (Table::Level(rows), _) => Scaling::Videos(&rows.scalers),
        (Table::Increment(counts), plan) => {
            let plan = plan.unwrap_or(counts.plan());
            Scaling::InTheGraph {
                method: "in model.onnx: growth in units of the window's own pace over its last day",
                grid_seconds: plan.step,
                history: plan.history,
                blend: if let Model::Ridge(blend) = &contender.model { Some(blend) } else { None },
                intervals,
            }
        }
    }
}

fn parameters(settings: &Retrain, contender: &Contender) -> BTreeMap<String, serde_json::Value> {
    if let Model::Ridge(_) = contender.model {
        let ridge = [("loss", json!("mae relative to the best naive")), ("horizon", json!(settings.horizon))];
        return ridge.map(|(name, value)| (name.to_owned(), value)).into();
    }
    let mut parameters: BTreeMap<String, serde_json::Value> = [
        ("hidden", json!(settings.hidden)),
        ("dense", json!(settings.dense)),
        ("dropout", json!(settings.dropout)),
        ("epochs", json!(settings.epochs)),
        ("patience", json!(settings.patience)),
        ("batch_size", json!(settings.batch_size)),
        ("learning_rate", json!(settings.learning_rate)),
        ("optimizer", json!("adam")),
        ("loss", json!("mse")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if settings.recipe == Recipe::Increment {
        let more = [
            ("members", json!(settings.members)),
            ("interval", json!(settings.interval)),
            ("optimizer", json!("adamw, learning rate falling along a cosine")),
            ("loss", json!("mae relative to the best naive")),
        ];
        parameters.remove("patience");
        parameters.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    parameters
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("plain structs with text keys are JSON");
    json.push(b'\n');
    json
}
