//! The network of Burn's own `nn::Lstm` and autodiff: what the tests compare ours with.

use super::lstm::values;
use super::network::linear;
use super::{Config, DenseWeights, LstmWeights, Weights};
use burn::module::Param;
use burn::nn::{Linear, Lstm, LstmConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// Burn's own LSTM with packed weights; its second bias is zero.
pub(super) fn lstm(packed: &LstmWeights, device: &Device) -> Lstm {
    let gates = packed.bias.len();
    let hidden = gates / 4;
    let column = |values: &[f32], gate: usize| {
        let columns = gate * hidden..(gate + 1) * hidden;
        values.chunks(gates).flat_map(|row| row[columns.clone()].to_vec()).collect::<Vec<f32>>()
    };
    let mut lstm = LstmConfig::new(packed.input.len() / gates, hidden, true).init(device);
    let forget = lstm.forget_gate.as_mut().expect("no coupled gates");
    let into = [&mut lstm.input_gate, &mut lstm.output_gate, forget, &mut lstm.cell_gate];
    for (gate, controller) in into.into_iter().enumerate() {
        let make = |kernel: Vec<f32>, bias: Vec<f32>| linear(&DenseWeights { kernel, bias }, device);
        let bias = packed.bias[gate * hidden..(gate + 1) * hidden].to_vec();
        controller.input_transform = make(column(&packed.input, gate), bias);
        controller.hidden_transform = make(column(&packed.recurrent, gate), vec![0.0; hidden]);
    }
    lstm
}

/// Mean squared error of the network without dropout on windows `[rows, steps, features]` and its gradient, laid out as
/// [`Weights::to_flat`] does it.
pub(crate) fn gradient(weights: &Weights, windows: &[f32], truth: &[f32]) -> (f64, Vec<f32>) {
    let device = Device::flex().autodiff();
    let Config { features, outputs, .. } = weights.config;
    let rows = truth.len() / outputs;
    let [first, second] = [&weights.first, &weights.second].map(|w| lstm(w, &device));
    let [dense, output] = [&weights.dense, &weights.output].map(|w| linear(w, &device));
    let shape = [rows, windows.len() / rows / features, features];
    let x = Tensor::<3>::from_data(TensorData::new(windows.to_vec(), shape), &device);
    let truth = Tensor::<2>::from_data(TensorData::new(truth.to_vec(), [rows, outputs]), &device);
    let (x, _) = first.forward(x, None);
    let (_, state) = second.forward(x, None);
    let difference = output.forward(relu(dense.forward(state.hidden))) - truth;
    let loss = difference.clone().mul(difference).mean();
    let gradients = loss.backward();
    let loss = f64::from(values(loss.reshape([1]))[0]);
    let parts = [
        of_lstm(&first, &gradients),
        of_lstm(&second, &gradients),
        of_linear(&dense, &gradients),
        of_linear(&output, &gradients),
    ];
    (loss, parts.concat())
}

fn of_linear(linear: &Linear, gradients: &Gradients) -> Vec<f32> {
    [of(&linear.weight, gradients), bias_of(linear, gradients)].concat()
}

/// Input kernel, recurrent kernel, bias, the gates side by side.
fn of_lstm(lstm: &Lstm, gradients: &Gradients) -> Vec<f32> {
    let forget = lstm.forget_gate.as_ref().expect("no coupled gates");
    let gates = [&lstm.input_gate, &lstm.output_gate, forget, &lstm.cell_gate];
    let side_by_side = |kernels: [&Linear; 4]| {
        let parts = kernels.map(|l| l.weight.val().grad(gradients).expect("tracked"));
        values(Tensor::cat(parts.to_vec(), 1))
    };
    let bias = gates.iter().flat_map(|gate| bias_of(&gate.input_transform, gradients)).collect();
    [side_by_side(gates.map(|g| &g.input_transform)), side_by_side(gates.map(|g| &g.hidden_transform)), bias].concat()
}

fn bias_of(linear: &Linear, gradients: &Gradients) -> Vec<f32> {
    of(linear.bias.as_ref().expect("a bias"), gradients)
}

fn of<const D: usize>(parameter: &Param<Tensor<D>>, gradients: &Gradients) -> Vec<f32> {
    values(parameter.val().grad(gradients).expect("tracked"))
}
