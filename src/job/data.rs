//! `[data]` as written: what is left out follows from the recipe.

use super::spec::{inner_share, splits};
use crate::document::Problem;
use crate::grid::{Dropouts, Grid, Revisions, Settings, Validation};
use crate::recipe::Recipe;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// `[data]`; see [`Settings`] for what the keys mean.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataSpec {
    grid: Option<Grid>,
    #[serde(default, deserialize_with = "duration")]
    stale_after: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    longest_gap: Option<Duration>,
    revisions: Option<Revisions>,
    dropouts: Option<Dropouts>,
    validation: Option<Validation>,
    #[serde(default, deserialize_with = "inner_share")]
    validation_share: Option<f64>,
    #[serde(default, deserialize_with = "splits")]
    n_splits: Option<u32>,
}

impl DataSpec {
    /// The settings, what is left out filled in; adds what does not go with the recipe to `problems`.
    pub(super) fn fill(
        self,
        recipe: Recipe,
        at: &impl Fn(&str, String) -> Problem,
        problems: &mut Vec<Problem>,
    ) -> Settings {
        let usual = Settings::of(self.grid.unwrap_or(recipe.usual_grid()));
        let filled = Settings {
            grid: usual.grid,
            stale_after: self.stale_after.unwrap_or(usual.stale_after),
            longest_gap: self.longest_gap.unwrap_or(usual.longest_gap),
            revisions: self.revisions.unwrap_or(usual.revisions),
            dropouts: self.dropouts.unwrap_or(usual.dropouts),
            validation: self.validation.unwrap_or(usual.validation),
            validation_share: self.validation_share.unwrap_or(usual.validation_share),
            n_splits: self.n_splits.unwrap_or(usual.n_splits),
        };
        if recipe == Recipe::Increment && filled.grid == Grid::AsRecorded {
            let message = "recipe `increment` needs an even grid: it compares growth over equal times".to_owned();
            problems.push(at("data.grid", message).help("choose \"1m\", \"10m\", \"30m\" or \"1h\""));
        }
        if recipe == Recipe::Level && filled.validation == Validation::Rolling {
            let message = "recipe `level` validates as the reference does, on the last 20 % of all windows".to_owned();
            problems.push(at("data.validation", message).help("choose recipe = \"increment\" for rolling validation"));
        }
        filled
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    crate::duration::deserialize(deserializer).map(Some)
}
