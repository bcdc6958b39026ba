//! Forecasts that need no model. A version that does not beat them is worth nothing.

use crate::recipe::Windows;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Steps that the drift over the window looks back, in every recipe.
const WINDOW: usize = 19;

/// The naive forecasts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naive {
    /// The next count is the last one.
    LastValue,
    /// The count goes on growing as it did on average over the last twenty steps.
    Drift,
    /// The count goes on growing as it did on average over the last day.
    DriftDay,
    /// The count grows as it did in the same hours a day ago.
    SeasonalDrift,
}

impl Naive {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LastValue, Self::Drift, Self::DriftDay, Self::SeasonalDrift];

    /// The forecast of output `output` for window `index`, in units of [`Windows::range`]. None: what it needs is not
    /// known there.
    pub(super) fn forecast(self, windows: &Windows<'_>, index: usize, output: usize) -> Option<f64> {
        let last = windows.before(index, 0)?;
        let horizon = windows.horizon(output);
        let drift = |steps: usize| {
            let past = windows.before(index, steps)?;
            Some(last + horizon as f64 * (last - past) / steps as f64)
        };
        match self {
            Self::LastValue => Some(last),
            Self::Drift => drift(WINDOW),
            Self::DriftDay => drift(windows.day()?),
            Self::SeasonalDrift => {
                let day = windows.day().filter(|&day| horizon <= day)?;
                Some(last + (windows.before(index, day - horizon)? - windows.before(index, day)?))
            }
        }
    }
}

impl fmt::Display for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastValue => "repeating the last value",
            Self::Drift => "drift over the window",
            Self::DriftDay => "drift over a day",
            Self::SeasonalDrift => "the growth of the same hours a day ago",
        })
    }
}
