//! Rows one after another, repaired by what came before them.

use super::{Dropouts, Revisions, Settings};
use crate::data::Series;
use std::ops::Range;

/// The rows of one video in order; remembers what a repair needs.
pub(super) struct Rows<'a> {
    series: &'a Series,
    settings: &'a Settings,
    range: Range<usize>,
    /// What stands for each target so far; NaN before the first row.
    last: [f64; 3],
    /// Whether the row before was a 0 that was not believed.
    doubted: [bool; 3],
    /// Zeros that were not believed, per target.
    pub(super) dropouts: [u64; 3],
    /// Decreases, per target.
    pub(super) revisions: [u64; 3],
    /// The largest decrease, per target.
    pub(super) worst: [f64; 3],
}

impl<'a> Rows<'a> {
    pub(super) fn new(series: &'a Series, range: Range<usize>, settings: &'a Settings) -> Self {
        Self {
            series,
            settings,
            range,
            last: [f64::NAN; 3],
            doubted: [false; 3],
            dropouts: [0; 3],
            revisions: [0; 3],
            worst: [0.0; 3],
        }
    }

    /// What stands after `row`; rows must come in order, each once.
    pub(super) fn next(&mut self, row: usize) -> [f64; 3] {
        debug_assert!(self.range.contains(&row), "a row of this video");
        for k in 0..3 {
            let (last, value) = (self.last[k], self.series.counts[k][row]);
            // the second 0 in succession is the count
            let doubt = value == 0.0 && last > 0.0 && !self.doubted[k];
            self.doubted[k] = doubt;
            if doubt {
                self.dropouts[k] += 1;
                if self.settings.dropouts == Dropouts::Hold {
                    continue;
                }
            } else if value < last {
                self.revisions[k] += 1;
                self.worst[k] = self.worst[k].max(last - value);
                if self.settings.revisions == Revisions::Hold {
                    continue;
                }
            }
            self.last[k] = value;
        }
        self.last
    }
}
