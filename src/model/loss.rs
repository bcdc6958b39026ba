//! What training makes small, and sums of it.

use serde::{Deserialize, Serialize};

/// A loss: the mean of something over all outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Squared error.
    #[default]
    Mse,
    /// Absolute error.
    Mae,
    /// Quantile loss. The network has one output for each of these quantiles (above 0, below 1) of each true value:
    /// `[truths, quantiles]`.
    Pinball(Vec<f32>),
}

impl Loss {
    /// Outputs a network needs for so many true values a window.
    pub fn outputs(&self, truths: usize) -> usize {
        truths * self.quantiles().map_or(1, <[f32]>::len)
    }

    /// The true value that an output is about.
    pub(super) fn truth_of(&self, output: usize) -> usize {
        output / self.quantiles().map_or(1, <[f32]>::len)
    }

    fn quantiles(&self) -> Option<&[f32]> {
        match self {
            Self::Mse | Self::Mae => None,
            Self::Pinball(quantiles) => Some(quantiles),
        }
    }

    /// Loss of one output, and its derivative.
    pub(super) fn of(&self, output: usize, said: f32, truth: f32) -> (Errors, f32) {
        let difference = said - truth;
        let d = f64::from(difference);
        let sign = if difference > 0.0 {
            1.0
        } else if difference < 0.0 {
            -1.0
        } else {
            0.0
        };
        let (loss, slope, counts) = match self {
            Self::Mse => (d * d, 2.0 * difference, true),
            Self::Mae => (d.abs(), sign, true),
            Self::Pinball(quantiles) => {
                let k = output % quantiles.len();
                let below = if difference > 0.0 { 1.0 - quantiles[k] } else { quantiles[k] };
                // the absolute error is that of the middle one, the median where there is one
                (f64::from(below) * d.abs(), sign * below, k == quantiles.len() / 2)
            }
        };
        (Errors { n: 1, loss, n_absolute: usize::from(counts), absolute: if counts { d.abs() } else { 0.0 } }, slope)
    }
}

/// Sums of errors, in 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Outputs summed over.
    pub n: usize,
    /// Sum of the loss.
    pub loss: f64,
    /// Outputs whose absolute error was summed.
    pub n_absolute: usize,
    /// Sum of absolute errors.
    pub absolute: f64,
}

impl Errors {
    /// Takes others in.
    pub fn add(&mut self, other: Self) {
        self.n += other.n;
        self.loss += other.loss;
        self.n_absolute += other.n_absolute;
        self.absolute += other.absolute;
    }

    /// The mean loss.
    pub fn mean_loss(self) -> f64 {
        self.loss / self.n as f64
    }

    /// The mean absolute error.
    pub fn mae(self) -> f64 {
        self.absolute / self.n_absolute as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(loss: &Loss, output: usize, difference: f32, expected: (f64, f32)) {
        let (errors, slope) = loss.of(output, 1.0 + difference, 1.0);
        assert_eq!((errors.loss, slope), expected);
    }

    #[test]
    fn losses_and_slopes() {
        check(&Loss::Mse, 0, -0.5, (0.25, -1.0));
        check(&Loss::Mae, 0, -0.5, (0.5, -1.0));
        check(&Loss::Mae, 0, 0.0, (0.0, 0.0));
        let pinball = Loss::Pinball(vec![0.25, 0.5, 0.75]);
        check(&pinball, 0, 0.5, (0.375, 0.75));
        check(&pinball, 0, -0.5, (0.125, -0.25));
        check(&pinball, 4, 0.5, (0.25, 0.5));
        check(&pinball, 5, -0.5, (0.375, -0.75));
        assert_eq!((pinball.outputs(4), pinball.truth_of(5)), (12, 1));
        assert_eq!((pinball.of(4, 2.0, 1.0).0.n_absolute, pinball.of(3, 2.0, 1.0).0.n_absolute), (1, 0));
    }
}
