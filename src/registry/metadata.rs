//! `metadata.json`: everything about a version that a person, a gate or another program may want to know.

use super::Version;
use crate::data::{DataVersion, Target};
use crate::evaluate::Scores;
use crate::gate::{Rules, Verdict};
use crate::grid;
use crate::recipe::Histogram;
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
    /// `LSTM`, or `ridge` for a challenger.
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
    /// Steps forecast at once.
    #[serde(default = "one")]
    pub horizon: usize,
    /// How recorded rows became what the model sees; none in versions made before that could be chosen.
    #[serde(default)]
    pub data: Option<grid::Settings>,
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
    /// What each network of several adds; empty where there is one.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Trainings on shorter pasts, each judged on what came next; none unless validation is rolling.
    #[serde(default)]
    pub rolling: Option<Rolling>,
    /// How the growth in the training windows was spread, to measure by later how far it has drifted. Unit: scaled
    /// growth a step.
    #[serde(default)]
    pub input_spread: Option<Histogram>,
    /// How much worse the forecasts are without each feature; empty unless the job asked.
    #[serde(default)]
    pub importance: Vec<Importance>,
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

/// One network of several.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// What its random choices follow from.
    pub seed: u64,
    /// Its own MAE on the validation windows, scaled units.
    pub mae: f64,
    /// MAE of the mean of this network and those before it.
    pub mae_so_far: f64,
}

/// What came of a rolling validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rolling {
    /// MAE of each split, scaled units, the shortest past first.
    pub mae: Vec<f64>,
    /// Their mean.
    pub mae_mean: f64,
    /// Their standard deviation.
    pub mae_std: f64,
    /// Skill of each split; none where it is undefined.
    pub skill: Vec<Option<f64>>,
    /// Mean of those that are defined.
    pub skill_mean: Option<f64>,
    /// Their standard deviation.
    pub skill_std: Option<f64>,
}

/// How much a feature matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Its name.
    pub feature: String,
    /// By how much MAE grows when its values are shuffled among the windows; mean over the shuffles, scaled units.
    pub mae_increase: f64,
    /// Standard deviation over the shuffles.
    pub deviation: f64,
}

fn one() -> usize {
    1
}
