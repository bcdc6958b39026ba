//! Forecasts that need no model. A version that does not beat them is worth nothing.

use crate::recipe::Windows;
use serde::{Deserialize, Serialize};

/// The naive forecasts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naive {
    /// The next count is the last one.
    LastValue,
    /// The count goes on growing as it did on average over the window.
    Drift,
}

impl Naive {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::LastValue, Self::Drift];

    /// The scaled forecast for window `index`.
    pub(super) fn forecast(self, windows: &Windows<'_>, index: usize) -> f64 {
        let last = f64::from(windows.last(index));
        match self {
            Self::LastValue => last,
            Self::Drift => last + (last - f64::from(windows.first(index))) / (windows.steps() - 1) as f64,
        }
    }
}
