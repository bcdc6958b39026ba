//! Recipes: how series become training pairs, and how the network's output becomes counts again.
//!
//! In: [`Series`]. Out: [`Prepared`]: scaled features, window positions, the split, and the scalers that undo it.
//! Never knows which network is trained on the pairs, or with what.

mod level;
mod windows;

pub use level::{FEATURES, STEPS, Scaler, Scalers, scale_window};
pub use windows::{Prepared, Windows};

use crate::data::Series;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The recipes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The reference pipeline as it is, its look-ahead included: counts scaled by each video's whole history.
    #[default]
    Level,
}

impl Recipe {
    /// Series → training pairs.
    pub fn prepare(self, series: &Series) -> Result<Prepared, Error> {
        match self {
            Self::Level => level::prepare(series),
        }
    }

    /// Series → the windows that a version has not been trained on (their next row is later than `after`, in microseconds
    /// since 1970), scaled by its own scalers; all of them validate.
    pub fn prepare_with(self, series: &Series, scalers: &Scalers, after: Option<i64>) -> Prepared {
        match self {
            Self::Level => level::prepare_with(series, scalers, after),
        }
    }

    /// Changes whenever the meaning of a feature does, so that versions are not compared across the change.
    pub fn feature_version(self) -> &'static str {
        match self {
            Self::Level => "level-1",
        }
    }

    /// How the validation points were chosen, in words for `metadata.json`.
    pub fn validation_method(self) -> &'static str {
        match self {
            Self::Level => {
                "holdout: the last 20 % of all windows in video order; the scalers have seen them (look-ahead, as in \
                 the reference pipeline)"
            }
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level => f.write_str("level"),
        }
    }
}

/// Why series could not be prepared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The table holds nothing.
    #[error("prepare training data: the data table has no usable rows; fill it with `retraind import FILE.csv…`")]
    NoRows,
    /// Windows were cut, but not enough for both sides of the split.
    #[error(
        "prepare training data: {rows} rows of {videos} video(s) give {windows} window(s), and training and \
         validation need at least one each; a video gives one window for every row after its first {STEPS}, so record \
         more rows or import more history with `retraind import FILE.csv…` (the longest video has {longest} rows)"
    )]
    TooFewWindows {
        /// Rows read.
        rows: usize,
        /// Videos read.
        videos: usize,
        /// Windows they give.
        windows: usize,
        /// Rows of the longest video.
        longest: usize,
    },
}
