//! `metadata.json`: everything about a version that a person, a gate or another program may want to know.

use super::Version;
use crate::data::{DataVersion, Target};
use crate::evaluate::Scores;
use crate::gate::{Rules, Verdict};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a version is, what it was made of and how it was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// What it forecasts.
    pub target: Target,
    /// Its name.
    pub version: Version,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// The run that made it.
    pub run_id: i64,
    /// The attempt of that run.
    pub attempt: i64,
    /// What trained it, such as `burn 0.22.1`.
    pub framework: String,
    /// `LSTM`.
    pub model_type: String,
    /// How series became training pairs.
    pub recipe: String,
    /// The rows used: hash, count, time range.
    pub training_data_version: DataVersion,
    /// Changes with the meaning of the features.
    pub feature_version: String,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// Steps a window holds.
    pub sequence_length: usize,
    /// How the validation points were chosen.
    pub validation_method: String,
    /// What all random choices follow from.
    pub seed: u64,
    /// Trainable parameters of the network.
    pub n_parameters: usize,
    /// Settings of the training.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// Epochs trained.
    pub epochs: usize,
    /// The epoch the weights are from.
    pub best_epoch: usize,
    /// Wall time of the training.
    pub training_seconds: f64,
    /// Errors of the version and of the naive forecasts on the same points.
    pub metrics: Scores,
    /// Largest difference between the network in memory and the exported file, scaled.
    pub export_difference: f64,
    /// What it had to reach; `null` where a rule did not decide.
    pub performance_threshold: Rules,
    /// What the gate said, rule by rule.
    pub verdict: Verdict,
    /// The version in service when this one was judged.
    pub parent_champion: Option<Version>,
    /// Version of retraind.
    pub program_version: String,
    /// sha256 of every file beside this one.
    pub files: BTreeMap<String, String>,
}
