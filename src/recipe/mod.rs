//! Recipes: how series become training pairs, and how the network's output becomes counts again.
//!
//! In: [`Series`] and what a job says of data. Out: [`Prepared`]: a table, window positions in it, and their split.
//! Never knows which network is trained on the pairs, or with what. A recipe is one module behind one variant of
//! [`Recipe`] and of [`Table`].

mod drift;
mod increment;
mod level;
mod split;
mod windows;

pub use drift::{Drift, Histogram};
pub use increment::unseen as unseen_increment;
pub use increment::{
    Batch, Blend, CANDIDATES, Counts, DAYS, Intervals, LARGE, Options, PRIOR, Plan, Pool, SATURDAY, SEQUENCE_WIDTH,
    SINCE_MONDAY, STRETCH, WEEK, growth, standardise,
};
pub use level::unseen as unseen_level;
pub use level::{FEATURES, STEPS, Scaler, Scalers, scale_window};
pub use split::Split;
pub use windows::{Prepared, Table, Windows};

use crate::data::Series;
use crate::grid::{Grid, Settings, Validation};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The recipes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The reference pipeline as it is, its look-ahead included: counts scaled by each video's whole history.
    #[default]
    Level,
    /// Growth on an even grid, scaled by each window's own last day: sees nothing of the future.
    Increment,
}

impl Recipe {
    /// Series → training pairs.
    pub fn prepare(self, series: Series, data: &Settings, options: &Options) -> Result<Prepared, Error> {
        match self {
            Self::Level => level::prepare(series, data),
            Self::Increment => increment::prepare(&series, data, options),
        }
    }

    /// The grid where a job names none.
    pub fn usual_grid(self) -> Grid {
        match self {
            Self::Level => Grid::AsRecorded,
            Self::Increment => Grid::HalfHour,
        }
    }

    /// The recipe of that name, as it stands in metadata.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Level, Self::Increment].into_iter().find(|recipe| recipe.to_string() == name)
    }

    /// Changes whenever the meaning of a feature does, so that versions are not compared across the change.
    pub fn feature_version(self) -> &'static str {
        match self {
            Self::Level => "level-1",
            Self::Increment => increment::FEATURE_VERSION,
        }
    }

    /// How the validation points were chosen, in words for `metadata.json`.
    pub fn validation_method(self, data: &Settings) -> String {
        match self {
            Self::Level => "holdout: the last 20 % of all windows in video order; the scalers have seen them \
                            (look-ahead, as in the reference pipeline)"
                .to_owned(),
            Self::Increment => {
                let rolling = match data.validation {
                    Validation::Holdout => String::new(),
                    Validation::Rolling => {
                        format!("; beside it {} trainings of the LSTM on shorter pasts (`rolling`)", data.n_splits)
                    }
                };
                format!(
                    "holdout: the newest {} % of every series; what trains ends a window and its horizon before{rolling}",
                    data.validation_share * 100.0
                )
            }
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level => f.write_str("level"),
            Self::Increment => f.write_str("increment"),
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
    /// No window to judge on has a truth.
    #[error(
        "prepare training data: at none of the {windows} window(s) to judge on was a row recorded within \
         `[data] stale_after` = {stale_after} before the time that is forecast; raise it above the time between two rows \
         (`retraind data` shows that of each series)"
    )]
    NothingObserved {
        /// Windows to judge on.
        windows: usize,
        /// As set.
        stale_after: String,
    },
    /// No series is long enough for both sides of the split.
    #[error(
        "prepare training data: on the grid of {grid} there are {train} window(s) to train on and {validation} to judge \
         on, and both need at least one; a series needs about {least} grid points, and the longest has {longest}, so \
         record longer, import more history with `retraind import FILE.csv…`, or choose a finer `[data] grid` \
         (`retraind data` shows what each series gives)"
    )]
    TooShort {
        /// As set.
        grid: String,
        /// Windows to train on.
        train: usize,
        /// Windows to judge on.
        validation: usize,
        /// Points a series needs for both.
        least: usize,
        /// Points of the longest series.
        longest: usize,
    },
}
