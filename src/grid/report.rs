//! What was found in the rows of each video.

use super::rows::Rows;
use super::{Dropouts, Revisions, Settings};
use crate::data::{Series, Target, Video};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// What was found in one video's rows, and what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VideoReport {
    /// The video's id.
    pub id: String,
    /// Rows recorded.
    pub rows: usize,
    /// Time of the oldest row.
    pub first: DateTime<Utc>,
    /// Time of the newest row.
    pub last: DateTime<Utc>,
    /// Median time between two rows. Unit: seconds.
    pub median_interval: f64,
    /// Longest time between two rows. Unit: seconds.
    pub longest_interval: f64,
    /// Times between two rows that no window may span.
    pub long_gaps: usize,
    /// Rows in which no count differs from the row before: a collector that polls faster than the platform counts.
    pub repeats: usize,
    /// Decreases of views, likes, comments.
    pub revisions: [u64; 3],
    /// The largest of them. Unit: counts.
    pub worst_revision: [f64; 3],
    /// Single zeros in views, likes, comments.
    pub dropouts: [u64; 3],
    /// Grid points; 0 where rows are used as recorded.
    pub points: usize,
    /// Windows to train on.
    pub train: usize,
    /// Windows to judge on.
    pub validation: usize,
}

impl VideoReport {
    /// What the rows show by themselves. Panics on a video without rows, which no read gives.
    pub fn of(series: &Series, video: &Video, settings: &Settings) -> Self {
        let rows = video.rows.clone();
        let mut intervals: Vec<i64> = rows.clone().skip(1).map(|row| series.at[row] - series.at[row - 1]).collect();
        let long = settings.longest_gap.as_micros() as i64;
        let long_gaps = intervals.iter().filter(|&&interval| interval > long).count();
        let repeats = rows.clone().skip(1).filter(|&row| series.counts_of(row) == series.counts_of(row - 1)).count();
        intervals.sort_unstable();
        let seconds = |interval: Option<&i64>| interval.map_or(0.0, |&micros| micros as f64 / 1e6);
        let time = |row: usize| DateTime::from_timestamp_micros(series.at[row]).unwrap_or_default();
        Self {
            id: video.id.clone(),
            rows: rows.len(),
            first: time(rows.start),
            last: time(rows.end - 1),
            median_interval: seconds(intervals.get(intervals.len() / 2)),
            longest_interval: seconds(intervals.last()),
            long_gaps,
            repeats,
            revisions: [0; 3],
            worst_revision: [0.0; 3],
            dropouts: [0; 3],
            points: 0,
            train: 0,
            validation: 0,
        }
    }

    /// The same with what repairs would find, for rows that are used as recorded.
    pub fn recorded(series: &Series, video: &Video, settings: &Settings) -> Self {
        let mut report = Self::of(series, video, settings);
        let mut rows = Rows::new(series, video.rows.clone(), settings);
        for row in video.rows.clone() {
            rows.next(row);
        }
        report.repaired(&rows);
        report
    }

    /// Adds what the repairs counted.
    pub(super) fn repaired(&mut self, rows: &Rows<'_>) {
        self.revisions = rows.revisions;
        self.worst_revision = rows.worst;
        self.dropouts = rows.dropouts;
    }

    /// What a person should know, a sentence a matter.
    pub fn sentences(&self, settings: &Settings) -> Vec<String> {
        let mut out = Vec::new();
        for target in Target::ALL {
            let k = target.index();
            let (n, worst) = (self.revisions[k], self.worst_revision[k]);
            if n > 0 {
                let done = match settings.revisions {
                    Revisions::Keep => "kept as recorded",
                    Revisions::Hold => "the higher count was held",
                };
                out.push(format!("video {}: {target} go down {n} time(s), by {worst} at most; {done}", self.id));
            }
            if self.dropouts[k] > 0 {
                let done = match settings.dropouts {
                    Dropouts::Hold => "the count before was held until a second one",
                    Dropouts::Keep => "kept as recorded",
                };
                out.push(format!("video {}: {target} drop to 0 {} time(s); {done}", self.id, self.dropouts[k]));
            }
        }
        if self.long_gaps > 0 {
            let longest = humantime::format_duration(settings.longest_gap);
            out.push(format!("video {}: {} gap(s) above {longest}, which no window spans", self.id, self.long_gaps));
        }
        out
    }
}
