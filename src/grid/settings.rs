//! `[data]` of a job.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The times at which a series is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grid {
    /// The rows as they are, whatever lies between them.
    #[serde(rename = "as-recorded")]
    AsRecorded,
    /// Every minute.
    #[serde(rename = "1m")]
    OneMinute,
    /// Every five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// Every ten minutes.
    #[serde(rename = "10m")]
    TenMinutes,
    /// Every quarter of an hour.
    #[serde(rename = "15m")]
    QuarterHour,
    /// Every half hour.
    #[serde(rename = "30m")]
    HalfHour,
    /// Every hour.
    #[serde(rename = "1h")]
    Hour,
}

impl Grid {
    /// Seconds between two points; none for rows as recorded. All of them divide a day, so that grid times are
    /// multiples of the grid since midnight UTC.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Self::AsRecorded => None,
            Self::OneMinute => Some(60),
            Self::FiveMinutes => Some(300),
            Self::TenMinutes => Some(600),
            Self::QuarterHour => Some(900),
            Self::HalfHour => Some(1800),
            Self::Hour => Some(3600),
        }
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsRecorded => "as-recorded",
            Self::OneMinute => "1m",
            Self::FiveMinutes => "5m",
            Self::TenMinutes => "10m",
            Self::QuarterHour => "15m",
            Self::HalfHour => "30m",
            Self::Hour => "1h",
        })
    }
}

/// What becomes of a count that goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revisions {
    /// It is taken as recorded: the platform counted anew, and later counts go on from there.
    #[default]
    Keep,
    /// The highest count seen so far stands until a row exceeds it.
    Hold,
}

/// What becomes of a count that is 0 after it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropouts {
    /// The count before it stands until a second row in succession says 0.
    #[default]
    Hold,
    /// It is taken as recorded.
    Keep,
}

/// How the points to judge on are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// The newest part of every series.
    #[default]
    Holdout,
    /// The same, and before it `n_splits` trainings on ever longer pasts, each judged on what came next: mean and
    /// standard deviation.
    Rolling,
}

/// `[data]`: how recorded rows become what a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The times at which a series is looked at. Default: the recipe's.
    pub grid: Grid,
    /// How old the last observation of a point may be for a forecast to be made or judged there.
    #[serde(with = "crate::duration")]
    pub stale_after: Duration,
    /// Longest time between two rows that a window may span.
    #[serde(with = "crate::duration")]
    pub longest_gap: Duration,
    /// What becomes of a count that goes down.
    pub revisions: Revisions,
    /// What becomes of a count that is 0 after it was not.
    pub dropouts: Dropouts,
    /// How the points to judge on are chosen.
    pub validation: Validation,
    /// Share of every series' time, its newest, that validates; above 0, below 1.
    pub validation_share: f64,
    /// Splits of `validation = "rolling"`; 2 to 20.
    pub n_splits: u32,
}

impl Settings {
    /// The defaults on this grid.
    pub fn of(grid: Grid) -> Self {
        Self {
            grid,
            stale_after: Duration::from_mins(45),
            longest_gap: Duration::from_hours(6),
            revisions: Revisions::default(),
            dropouts: Dropouts::default(),
            validation: Validation::default(),
            validation_share: 0.2,
            n_splits: 5,
        }
    }
}
