//! All parameters of a network in one slice: what an optimiser, a checkpoint and the packing of weights work on.

use super::{Config, DenseWeights, LstmWeights, Weights};

/// The parts of a flat slice of parameters (or of gradients), in the order in which they stand there.
pub(super) struct Parts<T> {
    pub(super) first: Lstm<T>,
    pub(super) second: Lstm<T>,
    pub(super) dense: Dense<T>,
    pub(super) output: Dense<T>,
}

/// Shapes as in [`LstmWeights`].
pub(super) struct Lstm<T> {
    pub(super) input: T,
    pub(super) recurrent: T,
    pub(super) bias: T,
}

/// Shapes as in [`DenseWeights`].
pub(super) struct Dense<T> {
    pub(super) kernel: T,
    pub(super) bias: T,
}

/// Cuts parts off the front, one after the other.
fn cut<T>(config: Config, mut take: impl FnMut(usize) -> T) -> Parts<T> {
    let Config { features, hidden, dense, outputs } = config;
    let mut lstm = |inputs| Lstm {
        input: take(inputs * 4 * hidden),
        recurrent: take(hidden * 4 * hidden),
        bias: take(4 * hidden),
    };
    let (first, second) = (lstm(features), lstm(hidden));
    let mut layer = |inputs, outputs| Dense { kernel: take(inputs * outputs), bias: take(outputs) };
    Parts { first, second, dense: layer(hidden, dense), output: layer(dense, outputs) }
}

/// The parts of `flat`, which must hold [`Config::n_parameters`] values.
pub(super) fn parts(config: Config, flat: &[f32]) -> Parts<&[f32]> {
    assert_eq!(flat.len(), config.n_parameters(), "parameters of {config:?}");
    let mut rest = flat;
    cut(config, |n| rest.split_off(..n).expect("the length was checked"))
}

/// The same to write to.
pub(super) fn parts_mut(config: Config, flat: &mut [f32]) -> Parts<&mut [f32]> {
    assert_eq!(flat.len(), config.n_parameters(), "parameters of {config:?}");
    let mut rest = flat;
    cut(config, |n| rest.split_off_mut(..n).expect("the length was checked"))
}

impl Weights {
    /// All parameters in one vector, `[config.n_parameters()]`.
    pub fn to_flat(&self) -> Vec<f32> {
        let lstm = |w: &LstmWeights| [&w.input[..], &w.recurrent, &w.bias].concat();
        let dense = |w: &DenseWeights| [&w.kernel[..], &w.bias].concat();
        [lstm(&self.first), lstm(&self.second), dense(&self.dense), dense(&self.output)].concat()
    }

    /// Weights from what [`Self::to_flat`] made.
    pub fn from_flat(config: Config, flat: &[f32]) -> Self {
        let Parts { first, second, dense, output } = parts(config, flat);
        let lstm = |w: Lstm<&[f32]>| LstmWeights {
            input: w.input.to_vec(),
            recurrent: w.recurrent.to_vec(),
            bias: w.bias.to_vec(),
        };
        let layer = |w: Dense<&[f32]>| DenseWeights { kernel: w.kernel.to_vec(), bias: w.bias.to_vec() };
        Self { config, first: lstm(first), second: lstm(second), dense: layer(dense), output: layer(output) }
    }
}
