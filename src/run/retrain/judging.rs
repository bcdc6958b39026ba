//! The judging step: a trained network becomes a file, and the file is scored through ONNX Runtime.

use super::Shared;
use crate::data::Target;
use crate::evaluate;
use crate::export::{self, Description};
use crate::gate;
use crate::job::Retrain;
use crate::model;
use crate::recipe::{FEATURES, STEPS};
use crate::registry::{Metadata, Staging, Version, file};
use crate::run::Error;
use crate::runtime::Session;
use crate::train::{self, Trained};
use chrono::Utc;
use serde_json::json;

/// A version before anyone sees it.
pub(super) struct Candidate {
    pub(super) staging: Staging,
    pub(super) metadata: Metadata,
}

/// Exports, compares, scores through ONNX Runtime and asks the gate. What is judged is the file on the disk.
pub(super) fn judge(
    shared: &Shared,
    target: Target,
    trained: &Trained,
    training_seconds: f64,
    used: Option<Version>,
) -> Result<Candidate, Error> {
    let registry = &shared.context.registry;
    let validation = shared.prepared.validation(target);
    let in_memory = train::forecast(&trained.network, &validation);
    let weights = trained.network.weights();
    let description = Description {
        target: target.to_string(),
        recipe: shared.settings.recipe.to_string(),
        features: FEATURES.map(str::to_owned).to_vec(),
        steps: STEPS,
        training_data_version: shared.data_version.sha256.clone(),
    };
    let mut staging = registry.stage(target, used)?;
    staging.write(file::MODEL, &export::to_onnx(&weights, &description))?;

    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut session = Session::open(&shared.library, &staging.read(file::MODEL)?, threads)?;
    let exported = session.forecast(validation.len(), |range| validation.batch(range))?;
    let export_difference =
        export::check_parity(&in_memory, &exported).map_err(|source| Error::Parity { target, source })?;
    let scores = evaluate::score(&validation, &exported);
    let verdict = gate::judge(&shared.job.gate, &scores);
    tracing::info!(%target, export_difference, mae = scores.own.scaled.mae, verdict = verdict.word(), "version judged");

    staging.write(file::SCALER, &pretty(&shared.prepared.scalers))?;
    staging.write(file::HISTORY, &pretty(&trained.epochs))?;
    staging.write(file::JOB, shared.job.to_toml().as_bytes())?;
    let metadata = Metadata {
        target,
        version: staging.version(),
        created_at: Utc::now(),
        run_id: shared.claim.run_id,
        attempt: shared.claim.attempt,
        framework: format!("burn {}", model::BURN_VERSION),
        model_type: "LSTM".to_owned(),
        recipe: shared.settings.recipe.to_string(),
        training_data_version: shared.data_version.clone(),
        feature_version: shared.settings.recipe.feature_version().to_owned(),
        features: description.features,
        sequence_length: STEPS,
        validation_method: shared.settings.recipe.validation_method().to_owned(),
        seed: shared.settings.seed,
        n_parameters: weights.config.n_parameters(),
        parameters: parameters(&shared.settings),
        epochs: trained.epochs.len(),
        best_epoch: trained.best_epoch,
        training_seconds,
        metrics: scores,
        export_difference,
        performance_threshold: shared.job.gate,
        verdict,
        parent_champion: registry.readable_champion(target)?,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        // filled in from what was written
        files: std::collections::BTreeMap::new(),
    };
    Ok(Candidate { staging, metadata })
}

fn parameters(settings: &Retrain) -> std::collections::BTreeMap<String, serde_json::Value> {
    [
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
    .into()
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("plain structs with text keys are JSON");
    json.push(b'\n');
    json
}
