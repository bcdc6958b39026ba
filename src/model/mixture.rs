//! The network of recipe `increment`: one LSTM layer beside features of the window, then two dense layers.

use super::lstm::{LstmLayer, Options, values};
use super::network::{dense_weights, linear};
use super::{DenseWeights, LstmWeights, init};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Gradients, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How small the last layer begins: the mixture is then what its prior says.
const SMALL: f32 = 0.01;

/// The shape of a mixture network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixtureConfig {
    /// Features of a step of the sequence.
    pub features: usize,
    /// Features of a window.
    pub statics: usize,
    /// Units of the LSTM layer; 0 leaves it out.
    pub hidden: usize,
    /// Units of the dense layer.
    pub dense: usize,
    /// Numbers that come out.
    pub outputs: usize,
}

impl MixtureConfig {
    /// Parameters, one bias a gate.
    pub fn n_parameters(&self) -> usize {
        let lstm = 4 * self.hidden * (self.features + self.hidden + 1);
        lstm + (self.hidden + self.statics + 1) * self.dense + (self.dense + 1) * self.outputs
    }
}

/// All parameters as plain row-major vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct MixtureWeights {
    /// The shape they belong to.
    pub config: MixtureConfig,
    /// The LSTM layer, of which the last step goes on; none where the network has no hidden units.
    pub lstm: Option<LstmWeights>,
    /// `hidden + statics → dense`, followed by tanh.
    pub dense: DenseWeights,
    /// `dense → outputs`.
    pub output: DenseWeights,
}

impl MixtureWeights {
    /// Fresh weights, drawn from `random`.
    pub fn new(config: MixtureConfig, random: &mut ChaCha8Rng) -> Self {
        let lstm = (config.hidden > 0).then(|| init::lstm(config.features, config.hidden, random));
        let dense = init::dense(config.hidden + config.statics, config.dense, random);
        let mut output = init::dense(config.dense, config.outputs, random);
        output.kernel.iter_mut().for_each(|weight| *weight *= SMALL);
        Self { config, lstm, dense, output }
    }

    /// The parameters' vectors, one after the other: those of the LSTM layer, of the dense layer, of the last one.
    pub fn to_flat(&self) -> Vec<f32> {
        let lstm = self.lstm.iter().flat_map(|w| [&w.input, &w.recurrent, &w.bias]);
        let dense = [&self.dense, &self.output].into_iter().flat_map(|w| [&w.kernel, &w.bias]);
        lstm.chain(dense).flatten().copied().collect()
    }

    /// Weights from what [`Self::to_flat`] made.
    pub fn from_flat(config: MixtureConfig, mut flat: &[f32]) -> Self {
        let MixtureConfig { features, statics, hidden, dense, outputs } = config;
        let mut take = |n: usize| {
            let (taken, rest) = flat.split_at(n);
            flat = rest;
            taken.to_vec()
        };
        Self {
            config,
            lstm: (hidden > 0).then(|| LstmWeights {
                input: take(4 * hidden * features),
                recurrent: take(4 * hidden * hidden),
                bias: take(4 * hidden),
            }),
            dense: DenseWeights { kernel: take((hidden + statics) * dense), bias: take(dense) },
            output: DenseWeights { kernel: take(dense * outputs), bias: take(outputs) },
        }
    }
}

/// LSTM (last step) ‖ features of the window → dense, tanh → dense.
#[derive(Module, Debug)]
pub struct Mixture {
    lstm: Option<LstmLayer>,
    dense: Linear,
    output: Linear,
}

impl Mixture {
    /// The network that has these weights.
    pub fn from_weights(weights: &MixtureWeights, device: &Device) -> Self {
        Self {
            lstm: weights.lstm.as_ref().map(|lstm| LstmLayer::new(lstm, device)),
            dense: linear(&weights.dense, device),
            output: linear(&weights.output, device),
        }
    }

    /// Shapes: `[batch, steps, features]`, `[batch, statics]` → `[batch, outputs]`.
    ///
    /// `mask` `[batch, hidden + statics]` is multiplied with what the dense layer sees: dropout, in training.
    pub fn forward(&self, sequence: Tensor<3>, statics: Tensor<2>, mask: Option<Tensor<2>>) -> Tensor<2> {
        let seen = match &self.lstm {
            None => statics,
            Some(lstm) => {
                let last: Tensor<2> = lstm.forward(sequence, Options { sequence: false, dropout: None }).squeeze_dim(1);
                Tensor::cat(vec![last, statics], 1)
            }
        };
        let seen = match mask {
            None => seen,
            Some(mask) => seen.mul(mask),
        };
        self.output.forward(tanh(self.dense.forward(seen)))
    }

    /// The gradient of each vector of parameters, in the order of [`MixtureWeights::to_flat`].
    pub fn gradients(&self, of: &Gradients) -> Vec<Vec<f32>> {
        const TRACKED: &str = "every parameter is part of what was trained";
        let lstm = self.lstm.iter().flat_map(|lstm| {
            let bias = values(lstm.bias.val().grad(of).expect(TRACKED));
            let kernels = [&lstm.input, &lstm.recurrent].map(|kernel| values(kernel.val().grad(of).expect(TRACKED)));
            kernels.into_iter().chain([bias])
        });
        let dense = [&self.dense, &self.output].into_iter().flat_map(|layer| {
            let bias = layer.bias.as_ref().map(|bias| values(bias.val().grad(of).expect(TRACKED)));
            [values(layer.weight.val().grad(of).expect(TRACKED))].into_iter().chain(bias)
        });
        lstm.chain(dense).collect()
    }

    /// All parameters, copied out.
    pub fn weights(&self, config: MixtureConfig) -> MixtureWeights {
        MixtureWeights {
            config,
            lstm: self.lstm.as_ref().map(LstmLayer::weights),
            dense: dense_weights(&self.dense),
            output: dense_weights(&self.output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;
    use rand::SeedableRng;

    #[test]
    fn weights_go_out_and_in() {
        for hidden in [0, 8] {
            let config = MixtureConfig { features: 3, statics: 5, hidden, dense: 4, outputs: 7 };
            let weights = MixtureWeights::new(config, &mut ChaCha8Rng::seed_from_u64(1));
            let device = Device::flex();
            let network = Mixture::from_weights(&weights, &device);
            assert_eq!(network.weights(config), weights);
            assert_eq!(network.num_params(), config.n_parameters());
            let sequence = Tensor::from_data(TensorData::new(vec![0.5f32; 2 * 6 * 3], [2, 6, 3]), &device);
            let statics = Tensor::from_data(TensorData::new(vec![0.1f32; 10], [2, 5]), &device);
            let out = network.forward(sequence, statics, None);
            assert_eq!(out.dims(), [2, 7]);
            assert!(values(out).iter().all(|output| output.abs() < 0.1), "it begins near its prior");
        }
    }
}
