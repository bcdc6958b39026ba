//! The network as a Burn module.

use super::lstm::{LstmLayer, Options, values};
use super::{Config, DenseWeights, Dropout, Weights};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

/// LSTM (sequence) → dropout → LSTM (last step) → dropout → dense, ReLU → dense.
#[derive(Module, Debug)]
pub struct Network {
    first: LstmLayer,
    second: LstmLayer,
    dense: Linear,
    output: Linear,
}

impl Network {
    /// A fresh network, its weights drawn from `random` as Keras draws them.
    pub fn new(config: Config, random: &mut ChaCha8Rng, device: &Device) -> Self {
        Self::from_weights(&Weights::new(config, random), device)
    }

    /// The network that has these weights.
    pub fn from_weights(weights: &Weights, device: &Device) -> Self {
        Self {
            first: LstmLayer::new(&weights.first, device),
            second: LstmLayer::new(&weights.second, device),
            dense: linear(&weights.dense, device),
            output: linear(&weights.output, device),
        }
    }

    /// Forecasts of a batch of windows, in the recipe's scaled units.
    ///
    /// Shapes: `[batch, steps, features]` → `[batch, outputs]`. Dropout is for training only.
    pub fn forward(&self, windows: Tensor<3>, dropout: Option<Dropout>) -> Tensor<2> {
        let layer = |k: u64| dropout.map(|d| Dropout { stream: d.stream * 2 + k, ..d });
        let x = self.first.forward(windows, Options { sequence: true, dropout: layer(0) });
        let x = self.second.forward(x, Options { sequence: false, dropout: layer(1) });
        let x = relu(self.dense.forward(x.squeeze_dim(1))); // [batch, 1, hidden] → [batch, dense]
        self.output.forward(x)
    }

    /// All parameters, copied out.
    pub fn weights(&self) -> Weights {
        let (first, second) = (self.first.weights(), self.second.weights());
        let (dense, output) = (dense_weights(&self.dense), dense_weights(&self.output));
        let gates = first.bias.len();
        let config = Config {
            features: first.input.len() / gates,
            hidden: gates / 4,
            dense: dense.bias.len(),
            outputs: output.bias.len(),
        };
        Weights { config, first, second, dense, output }
    }
}

pub(super) fn linear(weights: &DenseWeights, device: &Device) -> Linear {
    let output = weights.bias.len();
    let shape = [weights.kernel.len() / output, output];
    Linear {
        weight: Param::from_tensor(Tensor::from_data(TensorData::new(weights.kernel.clone(), shape), device)),
        bias: Some(Param::from_tensor(Tensor::from_data(TensorData::new(weights.bias.clone(), [output]), device))),
    }
}

pub(super) fn dense_weights(linear: &Linear) -> DenseWeights {
    DenseWeights {
        kernel: values(linear.weight.val()),
        bias: linear.bias.as_ref().map_or_else(Vec::new, |bias| values(bias.val())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plain;
    use rand::{RngExt, SeedableRng};

    const CONFIG: Config = Config { features: 6, hidden: 50, dense: 25, outputs: 1 };

    fn windows(batch: usize, device: &Device) -> Tensor<3> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let values: Vec<f32> = (0..batch * 20 * 6).map(|_| random.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, [batch, 20, 6]), device)
    }

    fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Values and gradients of the packed operation against Burn's `nn::Lstm` through its autodiff.
    fn check_layer(batch: usize, sequence: bool) {
        let device = Device::flex().autodiff();
        let network = Network::new(CONFIG, &mut ChaCha8Rng::seed_from_u64(1), &device);
        let plain = plain::lstm(&network.first.weights(), &device);
        let (ours_in, theirs_in) = (windows(batch, &device).require_grad(), windows(batch, &device).require_grad());
        let ours = network.first.forward(ours_in.clone(), Options { sequence, dropout: None });
        let (all, state) = plain.forward(theirs_in.clone(), None);
        let theirs = if sequence { all } else { state.hidden.unsqueeze_dim(1) };
        assert!(largest_difference(&values(ours.clone()), &values(theirs.clone())) < 1e-6);

        let ours = (ours.clone() * ours).sum().backward();
        let theirs = (theirs.clone() * theirs).sum().backward();
        let close = |name: &str, a: Vec<f32>, b: Vec<f32>| {
            let scale = b.iter().fold(1.0f32, |m, x| m.max(x.abs()));
            let d = largest_difference(&a, &b) / scale;
            assert!(d < 1e-5, "{name}: {d:e}");
        };
        close(
            "windows",
            values(ours_in.grad(&ours).expect("tracked")),
            values(theirs_in.grad(&theirs).expect("tracked")),
        );
        let forget = plain.forget_gate.as_ref().expect("no coupled gates");
        let gates = [&plain.input_gate, &plain.output_gate, forget, &plain.cell_gate];
        let gathered = |pick: fn(&Linear) -> &Param<Tensor<2>>, hidden: bool| {
            let parts = gates.map(|g| if hidden { &g.hidden_transform } else { &g.input_transform });
            values(Tensor::cat(parts.map(|l| pick(l).val().grad(&theirs).expect("tracked")).to_vec(), 1))
        };
        let first = &network.first;
        close("input", values(first.input.val().grad(&ours).expect("tracked")), gathered(|l| &l.weight, false));
        close("recurrent", values(first.recurrent.val().grad(&ours).expect("tracked")), gathered(|l| &l.weight, true));
        let bias = gates.map(|g| {
            let bias = g.input_transform.bias.as_ref().expect("biases");
            bias.val().grad(&theirs).expect("tracked")
        });
        close("bias", values(first.bias.val().grad(&ours).expect("tracked")), values(Tensor::cat(bias.to_vec(), 0)));
    }

    #[test]
    fn the_layer_agrees_with_burns_own_lstm() {
        for batch in [1, 16, 33] {
            check_layer(batch, true);
            check_layer(batch, false);
        }
    }

    #[test]
    fn weights_go_out_and_in() {
        let device = Device::flex();
        let network = Network::new(CONFIG, &mut ChaCha8Rng::seed_from_u64(1), &device);
        let again = Network::from_weights(&network.weights(), &device);
        assert_eq!(again.weights(), network.weights());
        assert_eq!(network.num_params(), CONFIG.n_parameters());
        let x = windows(3, &device);
        assert_eq!(values(network.forward(x.clone(), None)), values(again.forward(x, None)));
    }

    #[test]
    fn dropout_is_drawn_from_seed_and_stream() {
        let device = Device::flex();
        let network = Network::new(CONFIG, &mut ChaCha8Rng::seed_from_u64(1), &device);
        let x = windows(40, &device);
        let run = |seed, stream| values(network.forward(x.clone(), Some(Dropout { rate: 0.2, seed, stream })));
        assert_eq!(run(1, 1), run(1, 1));
        assert_ne!(run(1, 1), run(1, 2));
        assert_ne!(run(1, 1), run(2, 1));
        assert_ne!(run(1, 1), values(network.forward(x.clone(), None)));
    }
}
