//! `[alerts]`: when a person should know.

use super::spec::{above_zero, percent, positive};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits to watch while a job runs. The defaults are the reference pipeline's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Longest training of one model, such as `"5m"` or `"1h 30m"`.
    #[serde(default = "training_longer_than", with = "crate::duration")]
    pub training_longer_than: Duration,
    /// Epochs without a better validation loss; 1 to 100000.
    #[serde(default = "no_improvement_epochs", deserialize_with = "positive::<_, 100_000>")]
    pub no_improvement_epochs: u32,
    /// Validation loss as a multiple of the training loss; above 0.
    #[serde(default = "validation_to_training_loss", deserialize_with = "above_zero")]
    pub validation_to_training_loss: f64,
    /// Used memory of the host in percent; above 0, at most 100.
    #[serde(default = "memory_above_percent", deserialize_with = "percent")]
    pub memory_above_percent: f64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            training_longer_than: training_longer_than(),
            no_improvement_epochs: no_improvement_epochs(),
            validation_to_training_loss: validation_to_training_loss(),
            memory_above_percent: memory_above_percent(),
        }
    }
}

fn training_longer_than() -> Duration {
    Duration::from_mins(5)
}

fn no_improvement_epochs() -> u32 {
    20
}

fn validation_to_training_loss() -> f64 {
    2.0
}

fn memory_above_percent() -> f64 {
    80.0
}
