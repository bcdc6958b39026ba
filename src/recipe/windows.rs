//! Windows as positions in one table of features: never copied out before a batch needs them.

use super::{FEATURES, STEPS, Scalers};
use crate::data::Target;
use std::ops::Range;

/// Everything training and judging need of the data; serves all targets.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Scaled features of every row, `[rows, features]`.
    pub(super) features: Vec<f32>,
    /// Rows of each video, in the order of [`Scalers::videos`].
    pub(super) videos: Vec<Range<usize>>,
    /// First row of each window, in video order.
    pub(super) starts: Vec<u32>,
    /// The first so many windows train, the others validate.
    pub(super) n_train: usize,
    /// How to get counts back.
    pub scalers: Scalers,
    /// What a person should know about the data, a sentence each.
    pub remarks: Vec<String>,
}

impl Prepared {
    /// The windows to train `target` on.
    pub fn train(&self, target: Target) -> Windows<'_> {
        Windows { prepared: self, target, starts: &self.starts[..self.n_train] }
    }

    /// The windows to judge it on.
    pub fn validation(&self, target: Target) -> Windows<'_> {
        Windows { prepared: self, target, starts: &self.starts[self.n_train..] }
    }
}

/// A list of windows with their target.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    prepared: &'a Prepared,
    target: Target,
    starts: &'a [u32],
}

#[cfg(test)]
impl<'a> Windows<'a> {
    /// Both sides of the split.
    pub(super) fn all(prepared: &'a Prepared, target: Target) -> Self {
        Self { prepared, target, starts: &prepared.starts }
    }
}

impl Windows<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Steps a window holds.
    pub fn steps(&self) -> usize {
        STEPS
    }

    /// Features a step.
    pub fn width(&self) -> usize {
        FEATURES.len()
    }

    /// Appends window `index` to `into`: `[steps, features]`.
    pub fn copy_to(&self, index: usize, into: &mut Vec<f32>) {
        let start = self.starts[index] as usize * FEATURES.len();
        into.extend_from_slice(&self.prepared.features[start..start + STEPS * FEATURES.len()]);
    }

    /// Windows `range` as one batch `[range, steps, features]`.
    pub fn batch(&self, range: Range<usize>) -> Vec<f32> {
        let mut batch = Vec::with_capacity(range.len() * STEPS * FEATURES.len());
        range.for_each(|index| self.copy_to(index, &mut batch));
        batch
    }

    /// What the network is to say of window `index`: the scaled count one step after its last.
    pub fn truth(&self, index: usize) -> f32 {
        self.value(index, STEPS)
    }

    /// The target's scaled count at the window's first step.
    pub fn first(&self, index: usize) -> f32 {
        self.value(index, 0)
    }

    /// The target's scaled count at the window's last step.
    pub fn last(&self, index: usize) -> f32 {
        self.value(index, STEPS - 1)
    }

    /// What one scaled unit is in counts, for the video of window `index`.
    pub fn counts_per_unit(&self, index: usize) -> f64 {
        let row = self.starts[index] as usize;
        let video = self.prepared.videos.partition_point(|rows| rows.end <= row);
        self.prepared.scalers.videos[video].1.range(self.target.index())
    }

    fn value(&self, index: usize, step: usize) -> f32 {
        let row = self.starts[index] as usize + step;
        self.prepared.features[row * FEATURES.len() + self.target.index()]
    }
}
