//! The network: two LSTM layers, dropout after each, a small dense head.
//!
//! In: a [`Config`] and a seed, or [`Weights`]. Out: a [`Network`] that maps windows to forecasts, and its
//! [`Weights`] as plain vectors. Never knows where windows come from, what they mean or how a network is judged.

mod cell;
mod flat;
mod gates;
mod gemm;
mod init;
mod kernel;
mod lanes;
mod loss;
mod lstm;
mod mask;
mod memory;
mod mixture;
mod network;
mod pass;
#[cfg(test)]
pub(crate) mod plain;

pub use loss::{Errors, Loss};
pub use mask::Dropout;
pub use mixture::{Mixture, MixtureConfig, MixtureWeights};
pub use network::Network;
pub use pass::{Chunk, Packed};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The version of Burn that trains.
pub const BURN_VERSION: &str = "0.22.1";

/// The shape of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Features a step.
    pub features: usize,
    /// Units of each LSTM layer.
    pub hidden: usize,
    /// Units of the dense layer between the LSTMs and the output.
    pub dense: usize,
    /// Values it forecasts.
    #[serde(default = "one_output")]
    pub outputs: usize,
}

fn one_output() -> usize {
    1
}

impl Config {
    /// Parameters counted the Keras way: one bias a gate.
    pub fn n_parameters(&self) -> usize {
        let lstm = |input: usize| 4 * self.hidden * (input + self.hidden + 1);
        lstm(self.features) + lstm(self.hidden) + self.dense * (self.hidden + 1) + self.outputs * (self.dense + 1)
    }
}

/// All parameters as plain row-major vectors: what an exporter or a test needs, without Burn.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The shape they belong to.
    pub config: Config,
    /// First LSTM layer, which returns its whole sequence.
    pub first: LstmWeights,
    /// Second LSTM layer, of which the last step goes on.
    pub second: LstmWeights,
    /// `hidden → dense`, followed by ReLU.
    pub dense: DenseWeights,
    /// `dense → outputs`.
    pub output: DenseWeights,
}

impl Weights {
    /// Fresh weights, drawn from `random` as Keras draws them.
    pub fn new(config: Config, random: &mut ChaCha8Rng) -> Self {
        init::weights(config, random)
    }
}

/// One LSTM layer. Gates stand side by side in the order input, output, forget, cell (ONNX's).
#[derive(Clone, Debug, PartialEq)]
pub struct LstmWeights {
    /// Input kernel `[input, 4 * hidden]`.
    pub input: Vec<f32>,
    /// Recurrent kernel `[hidden, 4 * hidden]`.
    pub recurrent: Vec<f32>,
    /// One bias a gate unit `[4 * hidden]`.
    pub bias: Vec<f32>,
}

/// One dense layer.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseWeights {
    /// Kernel `[input, output]`.
    pub kernel: Vec<f32>,
    /// Bias `[output]`.
    pub bias: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_network_has_the_reference_parameters() {
        let reference = Config { features: 6, hidden: 50, dense: 25, outputs: 1 };
        assert_eq!(reference.n_parameters(), 32_901);
    }

    #[test]
    fn the_version_of_burn_is_the_one_compiled_in() {
        let manifest = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert!(manifest.contains(&format!("burn = {{ version = \"={BURN_VERSION}\"")));
    }
}
