//! Kind `predict`: forecast with the versions in service and record the forecasts.

use super::retrain::all_targets;
use crate::data::Target;
use crate::document::Flaw;
use serde::{Deserialize, Serialize};

/// `[predict]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// What is forecast. Default: all three.
    #[serde(default = "all_targets")]
    pub targets: Vec<Target>,
    /// Videos to forecast. Default: all that are recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub videos: Vec<String>,
}

impl Predict {
    pub(super) fn check(&self) -> Vec<Flaw> {
        super::retrain::check_targets(&self.targets)
    }
}
