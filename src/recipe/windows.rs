//! Windows as positions in one table: never copied out before a batch needs them.

use super::increment::{Counts, Plan, Pool};
use super::level::{self, FEATURES, STEPS};
use super::split::Split;
use crate::data::Target;
use crate::grid::VideoReport;
use std::ops::Range;

/// Everything training and judging need of the data; serves all targets.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What windows are cut from.
    pub table: Table,
    /// The windows of the training.
    pub split: Split,
    /// Further trainings on shorter pasts; empty unless validation is rolling.
    pub folds: Vec<Split>,
    /// What a network of `increment` trains on: first that of the training, then those of the folds.
    pub pools: Vec<Pool>,
    /// What was found in each video.
    pub reports: Vec<VideoReport>,
    /// What a person should know about the data, a sentence each.
    pub remarks: Vec<String>,
}

/// What windows are cut from, one variant a recipe.
#[derive(Clone, Debug)]
pub enum Table {
    /// Scaled features of rows; a window is named by its first row.
    Level(level::Rows),
    /// Counts on a grid; a window is named by its last point.
    Increment(Counts),
}

impl Prepared {
    /// The windows to train `target` on.
    pub fn train(&self, target: Target) -> Windows<'_> {
        self.at(target, &self.split.train)
    }

    /// The windows to judge it on.
    pub fn validation(&self, target: Target) -> Windows<'_> {
        self.at(target, &self.split.validation)
    }

    /// The windows at these positions.
    pub fn at<'a>(&'a self, target: Target, at: &'a [u32]) -> Windows<'a> {
        Windows { table: &self.table, target, at }
    }

    /// The counts on their grid. None: the recipe has no grid.
    pub fn counts(&self) -> Option<&Counts> {
        match &self.table {
            Table::Level(_) => None,
            Table::Increment(counts) => Some(counts),
        }
    }
}

/// A list of windows with their target.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    table: &'a Table,
    target: Target,
    at: &'a [u32],
}

impl<'a> Windows<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Steps a window holds.
    pub fn steps(&self) -> usize {
        match self.table {
            Table::Level(_) => STEPS,
            Table::Increment(counts) => counts.plan().sequence,
        }
    }

    /// Numbers that are forecast of a window: one a horizon, the nearest first.
    pub fn outputs(&self) -> usize {
        match self.table {
            Table::Level(_) => 1,
            Table::Increment(counts) => counts.plan().horizon,
        }
    }

    /// Names of the features, in the order the network sees them.
    pub fn features(&self) -> Vec<String> {
        match self.table {
            Table::Level(_) => FEATURES.map(str::to_owned).to_vec(),
            Table::Increment(counts) => counts.plan().features(),
        }
    }

    /// Where is looked, where the exported graph computes features itself.
    pub fn plan(&self) -> Option<&'a Plan> {
        match self.table {
            Table::Level(_) => None,
            Table::Increment(counts) => Some(counts.plan()),
        }
    }

    /// What windows are cut from, and where these stand in it, where the recipe has a grid.
    pub fn on_grid(&self) -> Option<(&'a Counts, &'a [u32])> {
        match self.table {
            Table::Level(_) => None,
            Table::Increment(counts) => Some((counts, self.at)),
        }
    }

    /// The target these windows are about.
    pub fn target(&self) -> Target {
        self.target
    }

    fn rows(&self) -> &'a level::Rows {
        match self.table {
            Table::Level(rows) => rows,
            // its network trains on a pool and is asked in batches of another form
            Table::Increment(_) => panic!("windows of `increment` hold no rows of features"),
        }
    }

    /// Features a step. Panics where the network takes no rows of features.
    pub fn width(&self) -> usize {
        let _ = self.rows();
        FEATURES.len()
    }

    /// Appends window `index` to `into`: `[steps, features]`. Panics where the network takes no rows of features.
    pub fn copy_to(&self, index: usize, into: &mut Vec<f32>) {
        let start = self.at[index] as usize;
        self.rows().copy_to(start..start + STEPS, into);
    }

    /// Windows `range` as one batch `[range, steps, features]`. Panics where the network takes no rows of features.
    pub fn batch(&self, range: Range<usize>) -> Vec<f32> {
        let mut batch = Vec::with_capacity(range.len() * self.steps() * self.width());
        range.for_each(|index| self.copy_to(index, &mut batch));
        batch
    }

    /// Appends what the network is to say of window `index`: `[outputs]`, in its own units. Panics where the network takes
    /// no rows of features.
    pub fn copy_truth(&self, index: usize, into: &mut Vec<f32>) {
        into.push(self.rows().value(self.target, self.at[index] as usize + STEPS));
    }

    /// Windows `range` as an exported graph that computes features takes them: counts and when they were recorded, each
    /// `[range, history]`, and the times of their last points. Panics where the recipe has no such graph.
    pub fn raw_batch(&self, range: Range<usize>, history: usize) -> (Vec<f64>, Vec<i64>, Vec<i64>) {
        let (counts, at) = self.on_grid().expect("the graph of this recipe takes features");
        let (mut values, mut seen) = (Vec::with_capacity(range.len() * history), Vec::new());
        let of =
            |&point: &u32| counts.grid().history(point as usize, self.target.index(), history, &mut values, &mut seen);
        let times = at[range].iter().map(of).collect();
        (values, seen, times)
    }

    /// Growth of the last step before each window's end, divided by the pace of its last day. Empty where the recipe has
    /// none.
    pub fn increments(&self) -> Vec<f64> {
        let Table::Increment(counts) = self.table else { return Vec::new() };
        self.at.iter().map(|&point| counts.increment(self.target, point as usize)).collect()
    }

    /// Steps that output `output` looks ahead.
    pub fn horizon(&self, output: usize) -> usize {
        output + 1
    }

    /// Whether the truth of an output was observed about when it is due: other points are not judged.
    pub fn is_observed(&self, index: usize, output: usize) -> bool {
        match self.table {
            Table::Level(_) => true,
            Table::Increment(counts) => counts.is_fresh(self.at[index] as usize, output),
        }
    }

    /// Whether a window is one of those at these positions, which ascend.
    pub fn is_among(&self, index: usize, positions: &[u32]) -> bool {
        positions.binary_search(&self.at[index]).is_ok()
    }

    /// The true count, in units of [`Windows::range`].
    pub fn truth(&self, index: usize, output: usize) -> f64 {
        let at = self.at[index] as usize;
        match self.table {
            Table::Level(rows) => f64::from(rows.value(self.target, at + STEPS)),
            Table::Increment(counts) => counts.count(self.target, at + output + 1) / self.range(index),
        }
    }

    /// The count `lag` steps before the window's last, in units of [`Windows::range`]; none where it is not known.
    pub fn before(&self, index: usize, lag: usize) -> Option<f64> {
        let at = self.at[index] as usize;
        match self.table {
            Table::Level(rows) => (lag < STEPS).then(|| f64::from(rows.value(self.target, at + STEPS - 1 - lag))),
            Table::Increment(counts) => {
                counts.count_before(self.target, at, lag).map(|count| count / self.range(index))
            }
        }
    }

    /// Steps a day, where the steps are even.
    pub fn day(&self) -> Option<usize> {
        self.plan().map(|plan| plan.day)
    }

    /// The range of the counts of a window's series: the unit of all scaled errors, as in the reference. Unit: counts.
    pub fn range(&self, index: usize) -> f64 {
        let at = self.at[index] as usize;
        match self.table {
            Table::Level(rows) => rows.scalers.videos[rows.video(at)].1.range(self.target.index()),
            Table::Increment(counts) => counts.range(self.target, at),
        }
    }

    /// The id of a window's video.
    pub fn video(&self, index: usize) -> &'a str {
        let at = self.at[index] as usize;
        match self.table {
            Table::Level(rows) => &rows.scalers.videos[rows.video(at)].0,
            Table::Increment(counts) => &counts.grid().ids[counts.video(at)],
        }
    }
}
