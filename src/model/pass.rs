//! The whole network on some rows at once, forward and backward, with every buffer made once and used again.
//!
//! In: [`Packed`] weights, windows and what is true of them. Out: errors and the gradient of all parameters. One thread;
//! whoever has more gives each its own [`Chunk`]. Layouts are time-major with the rows innermost (`lanes.rs`).

#![expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]

use super::cell::{Backward, Forward};
use super::flat::{self, Dense, Lstm};
use super::lanes::{LANES, Panels, correlate, total};
use super::{Config, Dropout, Errors, Loss, mask};
use pulp::{Arch, Simd, WithSimd};

/// All weights as the passes read them.
#[derive(Clone, Debug)]
pub struct Packed {
    config: Config,
    layers: [LayerPanels; 2],
    dense: LayerPanels,
    output: LayerPanels,
}

/// One layer's weights: to its outputs, and (transposed) back to its inputs. For an LSTM the recurrent inputs stand
/// behind the others.
#[derive(Clone, Debug)]
struct LayerPanels {
    forward: Panels,
    backward: Panels,
}

impl LayerPanels {
    fn new(inputs: usize, back: usize, outputs: usize) -> Self {
        Self { forward: Panels::new(inputs, outputs), backward: Panels::new(outputs, back) }
    }

    fn pack(&mut self, kernels: [&[f32]; 2], bias: &[f32], want_inputs: bool) {
        let n = bias.len();
        let [input, recurrent] = kernels;
        self.forward.pack(Some(bias), input.chunks(n).chain(recurrent.chunks(n)));
        let first = if want_inputs { input } else { &[] };
        self.backward.pack_transposed(0, first.chunks(n).chain(recurrent.chunks(n)));
    }
}

impl Packed {
    /// Packs parameters laid out as [`super::Weights::to_flat`] does it.
    pub fn new(config: Config, parameters: &[f32]) -> Self {
        let Config { features, hidden, dense, outputs } = config;
        let mut packed = Self {
            config,
            layers: [
                LayerPanels::new(features + hidden, hidden, 4 * hidden),
                LayerPanels::new(2 * hidden, 2 * hidden, 4 * hidden),
            ],
            dense: LayerPanels::new(hidden, hidden, dense),
            output: LayerPanels::new(dense, dense, outputs),
        };
        packed.pack(parameters);
        packed
    }

    /// Replaces the weights.
    pub fn pack(&mut self, parameters: &[f32]) {
        let parts = flat::parts(self.config, parameters);
        let [first, second] = &mut self.layers;
        first.pack([parts.first.input, parts.first.recurrent], parts.first.bias, false);
        second.pack([parts.second.input, parts.second.recurrent], parts.second.bias, true);
        self.dense.pack([parts.dense.kernel, &[]], parts.dense.bias, true);
        self.output.pack([parts.output.kernel, &[]], parts.output.bias, true);
    }
}

/// Room for up to so many windows, and what became of them.
#[derive(Clone, Debug)]
pub struct Chunk {
    config: Config,
    steps: usize,
    /// Windows in it.
    filled: usize,
    /// The same, rounded up to whole groups.
    rows: usize,
    /// `[steps, features, rows]`
    x: Vec<f32>,
    /// `[truths, rows]`
    truth: Vec<f32>,
    layers: [LayerState; 2],
    head: HeadState,
    /// Gradient of each parameter, summed over the rows.
    gradient: Vec<f32>,
}

/// Time-major buffers of an LSTM layer.
#[derive(Clone, Debug)]
struct LayerState {
    inputs: usize,
    hidden: usize,
    /// `[steps, 4 * hidden, rows]`: gates, then (backward) gradients of the pre-activations.
    z: Vec<f32>,
    /// `[steps, hidden, rows]` each; `mask` holds 0 or 1 / (1 − rate).
    cell: Vec<f32>,
    tanh_cell: Vec<f32>,
    output: Vec<f32>,
    dropped: Vec<f32>,
    mask: Vec<f32>,
    /// `[inputs + hidden, rows]`: gradients of a step's inputs and of the output before it.
    d_inputs: Vec<f32>,
    /// `[hidden, rows]`
    d_cell: Vec<f32>,
}

#[derive(Clone, Debug)]
struct HeadState {
    /// `[dense, rows]` each.
    hidden: Vec<f32>,
    d_hidden: Vec<f32>,
    /// `[outputs, rows]` each.
    output: Vec<f32>,
    d_output: Vec<f32>,
    /// `[hidden, rows]`
    d_inputs: Vec<f32>,
}

impl Chunk {
    /// Room for `rows` windows of `steps` steps to train on, and `truths` true values for each.
    pub fn new(config: Config, steps: usize, truths: usize, rows: usize) -> Self {
        let rows = rows.next_multiple_of(LANES);
        let Config { features, hidden, dense, outputs } = config;
        let zeros = |n: usize| vec![0.0; n * rows];
        let layer = |inputs: usize, above: usize, back: usize| LayerState {
            inputs,
            hidden,
            z: zeros(steps * 4 * hidden),
            cell: zeros(steps * hidden),
            tanh_cell: zeros(steps * hidden),
            output: zeros(steps * hidden),
            dropped: zeros(above * hidden),
            mask: zeros(above * hidden),
            d_inputs: zeros(back),
            d_cell: zeros(hidden),
        };
        Self {
            config,
            steps,
            filled: 0,
            rows,
            x: zeros(steps * features),
            truth: zeros(truths),
            layers: [layer(features, steps, hidden), layer(hidden, 1, 2 * hidden)],
            head: HeadState {
                hidden: zeros(dense),
                d_hidden: zeros(dense),
                output: zeros(outputs),
                d_output: zeros(outputs),
                d_inputs: zeros(hidden),
            },
            gradient: vec![0.0; config.n_parameters()],
        }
    }

    /// What [`Self::new`] takes of the memory. Unit: bytes.
    pub fn bytes(config: Config, steps: usize, truths: usize, rows: usize) -> u64 {
        let Config { features, hidden, dense, outputs } = config;
        let first = steps * 9 * hidden + 2 * hidden;
        let second = steps * 7 * hidden + 5 * hidden;
        let per_row = steps * features + truths + first + second + 2 * dense + 2 * outputs + hidden;
        4 * (per_row * rows.next_multiple_of(LANES) + config.n_parameters()) as u64
    }

    /// Makes place for `windows` windows, at most as many as it was made for; all of them must then be set.
    pub fn begin(&mut self, windows: usize) {
        let rows = windows.next_multiple_of(LANES);
        assert!(self.steps * self.config.features * rows <= self.x.len(), "{windows} windows in a smaller chunk");
        (self.filled, self.rows) = (windows, rows);
        if rows > windows {
            // rows beyond the last window are computed with the others: what stands there must be a number
            self.x.fill(0.0);
        }
    }

    /// Sets window `row` to `values` `[steps, features]`, and what is true of it.
    pub fn set(&mut self, row: usize, values: &[f32], truth: &[f32]) {
        assert_eq!(values.len(), self.steps * self.config.features, "values of a window");
        let rows = self.rows;
        self.x.iter_mut().skip(row).step_by(rows).zip(values).for_each(|(x, &value)| *x = value);
        self.truth.iter_mut().skip(row).step_by(rows).zip(truth).for_each(|(x, &value)| *x = value);
    }

    /// Forward and backward over the windows set; `batch` is how many windows the step has in all its chunks, and
    /// `dropout` must differ from chunk to chunk. The gradient is of the batch's mean loss.
    pub fn train(&mut self, packed: &Packed, loss: &Loss, batch: usize, dropout: Option<Dropout>) -> Errors {
        Arch::new().dispatch(Train { chunk: self, packed, loss, batch, dropout })
    }

    /// Forward alone, dropout off.
    pub fn judge(&mut self, packed: &Packed, loss: &Loss) -> Errors {
        Arch::new().dispatch(Judge { chunk: self, packed, loss })
    }

    /// What [`Self::train`] left: laid out as [`super::Weights::to_flat`] does it.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// What the network said of window `row`, `[outputs]`.
    pub fn output(&self, row: usize) -> impl Iterator<Item = f32> {
        self.head.output.iter().skip(row).step_by(self.rows).take(self.config.outputs).copied()
    }
}

struct Train<'a> {
    chunk: &'a mut Chunk,
    packed: &'a Packed,
    loss: &'a Loss,
    batch: usize,
    dropout: Option<Dropout>,
}

impl WithSimd for Train<'_> {
    type Output = Errors;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Errors {
        let Self { chunk, packed, loss, batch, dropout } = self;
        if let Some(dropout) = dropout {
            chunk.draw(dropout);
        }
        chunk.forward(simd, packed, dropout.is_some());
        let errors = chunk.compare(loss, Some(batch));
        chunk.backward(simd, packed, dropout.is_some());
        errors
    }
}

struct Judge<'a> {
    chunk: &'a mut Chunk,
    packed: &'a Packed,
    loss: &'a Loss,
}

impl WithSimd for Judge<'_> {
    type Output = Errors;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Errors {
        self.chunk.forward(simd, self.packed, false);
        self.chunk.compare(self.loss, None)
    }
}

impl Chunk {
    fn draw(&mut self, dropout: Dropout) {
        let n = self.config.hidden * self.rows;
        let [first, second] = &mut self.layers;
        mask::draw(dropout, [&mut first.mask[..self.steps * n], &mut second.mask[..n]]);
    }

    #[inline(always)]
    fn forward<S: Simd>(&mut self, simd: S, packed: &Packed, masked: bool) {
        let Self { steps, rows, .. } = *self;
        let [first, second] = &mut self.layers;
        let n = first.hidden * rows;
        let features = self.config.features * rows;
        for step in 0..steps {
            let x = &self.x[step * features..(step + 1) * features];
            first.step(simd, &packed.layers[0].forward, x, step, rows, masked.then_some(step));
            let above = if masked { &first.dropped } else { &first.output };
            let mask = (masked && step + 1 == steps).then_some(0);
            second.step(simd, &packed.layers[1].forward, &above[step * n..(step + 1) * n], step, rows, mask);
        }
        let last = if masked { &second.dropped[..n] } else { &second.output[(steps - 1) * n..steps * n] };
        let head = &mut self.head;
        packed.dense.forward.apply(simd, [last, &[]], rows, &mut head.hidden);
        head.hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        packed.output.forward.apply(simd, [&head.hidden, &[]], rows, &mut head.output);
    }

    /// Errors of the windows set; with a batch also the gradient of its mean loss.
    fn compare(&mut self, loss: &Loss, batch: Option<usize>) -> Errors {
        let Self { rows, filled, .. } = *self;
        let HeadState { output, d_output, .. } = &mut self.head;
        let outputs = self.config.outputs;
        d_output.fill(0.0);
        let scale = 1.0 / (batch.unwrap_or(1) * outputs) as f32;
        let mut errors = Errors::default();
        for row in 0..filled {
            for k in 0..outputs {
                let at = k * rows + row;
                let truth = self.truth[loss.truth_of(k) * rows + row];
                let (of_one, slope) = loss.of(k, output[at], truth);
                errors.add(of_one);
                d_output[at] = slope * scale;
            }
        }
        errors
    }

    #[inline(always)]
    fn backward<S: Simd>(&mut self, simd: S, packed: &Packed, masked: bool) {
        let Self { config, steps, rows, .. } = *self;
        let n = config.hidden * rows;
        let mut gradient = flat::parts_mut(config, &mut self.gradient);
        let [first, second] = &mut self.layers;
        let head = &mut self.head;
        let (dense, outputs) = (config.dense * rows, config.outputs * rows);

        let (hidden, d_hidden) = (&head.hidden[..dense], &mut head.d_hidden[..dense]);
        dense_gradient(simd, hidden, &head.d_output[..outputs], rows, &mut gradient.output);
        packed.output.backward.apply(simd, [&head.d_output[..outputs], &[]], rows, d_hidden);
        d_hidden.iter_mut().zip(hidden).for_each(|(d, &h)| *d = if h > 0.0 { *d } else { 0.0 });
        let last = if masked { &second.dropped[..n] } else { &second.output[(steps - 1) * n..steps * n] };
        dense_gradient(simd, last, d_hidden, rows, &mut gradient.dense);
        packed.dense.backward.apply(simd, [d_hidden, &[]], rows, &mut head.d_inputs);

        for layer in [&mut *first, &mut *second] {
            // nothing comes from beyond the last step
            layer.d_cell.fill(0.0);
            layer.d_inputs.fill(0.0);
        }
        for step in (0..steps).rev() {
            let above = (step + 1 == steps).then_some((&head.d_inputs[..n], masked.then_some(0)));
            second.step_back(simd, &packed.layers[1].backward, above, step, rows, config.hidden);
            let above = Some((&second.d_inputs[..n], masked.then_some(step)));
            first.step_back(simd, &packed.layers[0].backward, above, step, rows, 0);
        }
        let below = if masked { &first.dropped } else { &first.output };
        second.gradient(simd, &below[..steps * n], steps, rows, &mut gradient.second);
        first.gradient(simd, &self.x[..steps * config.features * rows], steps, rows, &mut gradient.first);
    }
}

impl LayerState {
    /// One step forward; `mask` says which of the masks is for this step.
    #[inline(always)]
    fn step<S: Simd>(&mut self, simd: S, panels: &Panels, x: &[f32], step: usize, rows: usize, mask: Option<usize>) {
        let n = self.hidden * rows;
        let z = &mut self.z[4 * n * step..4 * n * (step + 1)];
        let (before, output) = self.output.split_at_mut(step * n);
        let (cell_before, cell) = self.cell.split_at_mut(step * n);
        let before = if step > 0 { &before[(step - 1) * n..] } else { &[] };
        panels.apply(simd, [x, before], rows, z);
        Forward {
            z,
            previous: (step > 0).then(|| &cell_before[(step - 1) * n..]),
            cell: &mut cell[..n],
            tanh_cell: &mut self.tanh_cell[step * n..(step + 1) * n],
            output: &mut output[..n],
            dropped: mask.map(|k| (&mut self.dropped[k * n..(k + 1) * n], &self.mask[k * n..(k + 1) * n])),
        }
        .run(simd);
    }

    /// One step back; `above` is the gradient of its output from above and which mask that comes through, `inputs` how
    /// many of the layer's inputs want a gradient.
    #[inline(always)]
    fn step_back<S: Simd>(
        &mut self,
        simd: S,
        panels: &Panels,
        above: Option<(&[f32], Option<usize>)>,
        step: usize,
        rows: usize,
        inputs: usize,
    ) {
        let n = self.hidden * rows;
        let z = &mut self.z[4 * n * step..4 * n * (step + 1)];
        Backward {
            z,
            previous: (step > 0).then(|| &self.cell[(step - 1) * n..step * n]),
            tanh_cell: &self.tanh_cell[step * n..(step + 1) * n],
            d_output: &self.d_inputs[inputs * rows..inputs * rows + n],
            d_above: above.map(|(d, mask)| (d, mask.map(|k| &self.mask[k * n..(k + 1) * n]))),
            d_cell: &mut self.d_cell[..n],
        }
        .run(simd);
        if step > 0 || inputs > 0 {
            panels.apply(simd, [z, &[]], rows, &mut self.d_inputs[..inputs * rows + n]);
        }
    }

    /// Gradients of the layer's parameters, from what the steps back have left in `z`.
    #[inline(always)]
    fn gradient<S: Simd>(&self, simd: S, x: &[f32], steps: usize, rows: usize, into: &mut Lstm<&mut [f32]>) {
        let n = self.hidden * rows;
        let d = &self.z[..4 * n * steps];
        let (before, d_after) = (&self.output[..n * (steps - 1)], &d[4 * n..]);
        correlate(simd, (x, self.inputs), (d, 4 * self.hidden), rows, into.input);
        correlate(simd, (before, self.hidden), (d_after, 4 * self.hidden), rows, into.recurrent);
        total(simd, d, rows, into.bias);
    }
}

#[inline(always)]
fn dense_gradient<S: Simd>(simd: S, x: &[f32], d: &[f32], rows: usize, into: &mut Dense<&mut [f32]>) {
    correlate(simd, (x, x.len() / rows), (d, d.len() / rows), rows, into.kernel);
    total(simd, d, rows, into.bias);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Weights, plain};
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    struct Case {
        weights: Weights,
        steps: usize,
        rows: usize,
        windows: Vec<f32>,
        truth: Vec<f32>,
    }

    fn case(config: Config, steps: usize, rows: usize, truths: usize) -> Case {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut draw = |n: usize| (0..n).map(|_| random.random_range(-1.0..1.0f32)).collect::<Vec<_>>();
        // biases too: with those of a fresh network, dropping all units of a window leaves the dense layer in its corner
        let weights = Weights::from_flat(config, &draw(config.n_parameters()));
        let (windows, truth) = (draw(rows * steps * config.features), draw(rows * truths));
        Case { weights, steps, rows, windows, truth }
    }

    impl Case {
        fn chunk(&self) -> Chunk {
            let (width, truths) = (self.windows.len() / self.rows, self.truth.len() / self.rows);
            let mut chunk = Chunk::new(self.weights.config, self.steps, truths, self.rows);
            chunk.begin(self.rows);
            for row in 0..self.rows {
                chunk.set(row, &self.windows[row * width..][..width], &self.truth[row * truths..][..truths]);
            }
            chunk
        }

        /// The mean loss of these parameters, with the dropout that [`Self::gradient`] has.
        fn loss(&self, parameters: &[f32], loss: &Loss, dropout: Option<Dropout>) -> f64 {
            let packed = Packed::new(self.weights.config, parameters);
            self.chunk().train(&packed, loss, self.rows, dropout).mean_loss()
        }

        fn gradient(&self, loss: &Loss, dropout: Option<Dropout>) -> Vec<f32> {
            let packed = Packed::new(self.weights.config, &self.weights.to_flat());
            let mut chunk = self.chunk();
            chunk.train(&packed, loss, self.rows, dropout);
            chunk.gradient().to_vec()
        }
    }

    fn config(features: usize, hidden: usize, dense: usize, outputs: usize) -> Config {
        Config { features, hidden, dense, outputs }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradients_are_those_of_burns_own_lstm(
            features in 1usize..7, hidden in 1usize..20, dense in 1usize..9, outputs in 1usize..4,
            steps in prop_oneof![Just(1usize), 2usize..9], rows in prop_oneof![Just(1usize), Just(16), Just(33), 2usize..40],
        ) {
            let case = case(config(features, hidden, dense, outputs), steps, rows, outputs);
            let (loss, theirs) = plain::gradient(&case.weights, &case.windows, &case.truth);
            let ours = case.gradient(&Loss::Mse, None);
            prop_assert!((case.loss(&case.weights.to_flat(), &Loss::Mse, None) - loss).abs() < 1e-5 * loss.max(1.0));
            let scale = theirs.iter().fold(0.1f32, |m, x| m.max(x.abs()));
            for (k, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                prop_assert!((a - b).abs() < 1e-5 * scale, "parameter {}: {} and {}", k, a, b);
            }
        }

        #[test]
        fn gradients_are_finite_differences(
            hidden in 1usize..8, steps in 1usize..5, rows in 1usize..20, seed in 0u64..100,
            loss in prop_oneof![Just(Loss::Mse), Just(Loss::Mae), Just(Loss::Pinball(vec![0.1, 0.5, 0.9]))],
        ) {
            let outputs = loss.outputs(2);
            let case = case(config(3, hidden, 4, outputs), steps, rows, 2);
            let dropout = Some(Dropout { rate: 0.3, seed, stream: 1 });
            let gradient = case.gradient(&loss, dropout);
            let flat = case.weights.to_flat();
            // along the gradient itself, where the difference is largest beside the rounding of 32 bits
            let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let at = |by: f64| {
                let moved: Vec<f32> = flat.iter().zip(&gradient).map(|(p, g)| (f64::from(*p) + by * f64::from(*g)) as f32).collect();
                case.loss(&moved, &loss, dropout)
            };
            prop_assume!(length > 1e-2);
            let by = 2e-3 / length;
            let measured = (at(by) - at(-by)) / (2.0 * by);
            // ReLU and absolute values have corners that a step may pass
            prop_assert!((measured / length.powi(2) - 1.0).abs() < 0.05, "{} for {}", measured, length.powi(2));
        }
    }

    #[test]
    fn memory_is_as_foretold() {
        let config = config(6, 50, 25, 2);
        let chunk = Chunk::new(config, 20, 1, 30);
        let layers = chunk.layers.iter().map(|l| {
            [&l.z, &l.cell, &l.tanh_cell, &l.output, &l.dropped, &l.mask, &l.d_inputs, &l.d_cell]
                .map(Vec::len)
                .iter()
                .sum::<usize>()
        });
        let head =
            [&chunk.head.hidden, &chunk.head.d_hidden, &chunk.head.output, &chunk.head.d_output, &chunk.head.d_inputs];
        let rest = chunk.x.len() + chunk.truth.len() + chunk.gradient.len() + head.map(Vec::len).iter().sum::<usize>();
        assert_eq!(Chunk::bytes(config, 20, 1, 30), 4 * (layers.sum::<usize>() + rest) as u64);
    }

    #[test]
    fn the_last_rows_do_not_touch_the_others() {
        let full = case(config(3, 5, 4, 1), 4, 40, 1);
        let packed = Packed::new(full.weights.config, &full.weights.to_flat());
        let mut chunk = full.chunk();
        chunk.train(&packed, &Loss::Mse, 40, Some(Dropout { rate: 0.5, seed: 1, stream: 1 }));
        // the same buffers with fewer windows, beside fresh buffers
        chunk.begin(3);
        for row in 0..3 {
            chunk.set(row, &full.windows[row * 12..][..12], &full.truth[row..=row]);
        }
        chunk.train(&packed, &Loss::Mse, 3, None);
        let three = Case { rows: 3, windows: full.windows[..36].to_vec(), truth: full.truth[..3].to_vec(), ..full };
        assert_eq!(chunk.gradient(), three.gradient(&Loss::Mse, None));
    }
}
