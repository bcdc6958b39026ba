//! The whole network on some rows at once, forward and backward, with every buffer made once and used again.
//!
//! In: [`Packed`] weights, windows and what is true of them. Out: errors and the gradient of all parameters. One thread;
//! whoever has more gives each its own [`Chunk`]. Layouts are time-major with the rows innermost (`lanes.rs`).

#![expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]

#[cfg(test)]
mod tests;

use super::cell::{Backward, Forward};
use super::flat::{self, Dense, Lstm};
use super::lanes::{LANES, Panels, correlate, total};
use super::memory::Memory;
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
        self.forward.pack(Some(bias), kernels);
        let [input, recurrent] = kernels;
        self.backward.pack_transposed(if want_inputs { [input, recurrent] } else { [recurrent, &[]] });
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
#[derive(Debug)]
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
    /// What [`layers`] divides.
    memory: Memory,
    head: HeadState,
}

/// Time-major buffers of an LSTM layer.
struct LayerState<'a> {
    inputs: usize,
    hidden: usize,
    /// `[steps, 4 * hidden, rows]`: gates, then (backward) gradients of the pre-activations.
    z: &'a mut [f32],
    /// `[steps, hidden, rows]` each, the second layer's `dropped` and `mask` of the last step only; `mask` holds 0 or
    /// 1 / (1 − rate).
    cell: &'a mut [f32],
    tanh_cell: &'a mut [f32],
    output: &'a mut [f32],
    dropped: &'a mut [f32],
    mask: &'a mut [f32],
    /// `[wanted inputs + hidden, rows]`: gradients of a step's inputs and of the output before it.
    d_inputs: &'a mut [f32],
    /// `[hidden, rows]`
    d_cell: &'a mut [f32],
}

/// Cuts the buffers of both layers off `memory`.
fn layers(config: Config, steps: usize, rows: usize, memory: &mut [f32]) -> [LayerState<'_>; 2] {
    let mut rest = memory;
    let mut take = |n: usize| rest.split_off_mut(..n * rows).expect("`Chunk::new` made room");
    let Config { features, hidden, .. } = config;
    [(features, steps, 0), (hidden, 1, hidden)].map(|(inputs, above, wanted)| LayerState {
        inputs,
        hidden,
        z: take(steps * 4 * hidden),
        cell: take(steps * hidden),
        tanh_cell: take(steps * hidden),
        output: take(steps * hidden),
        dropped: take(above * hidden),
        mask: take(above * hidden),
        d_inputs: take(wanted + hidden),
        d_cell: take(hidden),
    })
}

/// Values a row that [`layers`] takes.
fn layer_values(config: Config, steps: usize) -> usize {
    let hidden = config.hidden;
    steps * 9 * hidden + 2 * hidden + steps * 7 * hidden + 5 * hidden
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
        Self {
            config,
            steps,
            filled: 0,
            rows,
            x: zeros(steps * features),
            truth: zeros(truths),
            memory: Memory::zeroed(layer_values(config, steps) * rows),
            head: HeadState {
                hidden: zeros(dense),
                d_hidden: zeros(dense),
                output: zeros(outputs),
                d_output: zeros(outputs),
                d_inputs: zeros(hidden),
            },
        }
    }

    /// What [`Self::new`] takes of the memory. Unit: bytes.
    pub fn bytes(config: Config, steps: usize, truths: usize, rows: usize) -> u64 {
        let Config { features, hidden, dense, outputs } = config;
        let rows = rows.next_multiple_of(LANES);
        let per_row = steps * features + truths + 2 * dense + 2 * outputs + hidden;
        4 * (per_row * rows) as u64 + Memory::bytes(layer_values(config, steps) * rows)
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
    /// `dropout` must differ from chunk to chunk. `gradient` becomes that of the batch's mean loss as far as these
    /// windows make it, laid out as [`super::Weights::to_flat`] does it.
    pub fn train(
        &mut self,
        packed: &Packed,
        loss: &Loss,
        batch: usize,
        dropout: Option<Dropout>,
        gradient: &mut [f32],
    ) -> Errors {
        Arch::new().dispatch(Train { chunk: self, packed, loss, batch, dropout, gradient })
    }

    /// Forward alone, dropout off.
    pub fn judge(&mut self, packed: &Packed, loss: &Loss) -> Errors {
        Arch::new().dispatch(Judge { chunk: self, packed, loss })
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
    gradient: &'a mut [f32],
}

impl WithSimd for Train<'_> {
    type Output = Errors;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Errors {
        let Self { chunk, packed, loss, batch, dropout, gradient } = self;
        if let Some(dropout) = dropout {
            chunk.draw(dropout);
        }
        chunk.forward(simd, packed, dropout.is_some());
        let errors = chunk.compare(loss, Some(batch));
        chunk.backward(simd, packed, dropout.is_some(), gradient);
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
        let [first, second] = layers(self.config, self.steps, self.rows, &mut self.memory);
        mask::draw(dropout, [first.mask, second.mask]);
    }

    #[inline(always)]
    fn forward<S: Simd>(&mut self, simd: S, packed: &Packed, masked: bool) {
        let Self { steps, rows, .. } = *self;
        let [mut first, mut second] = layers(self.config, steps, rows, &mut self.memory);
        let n = first.hidden * rows;
        let features = self.config.features * rows;
        for step in 0..steps {
            let x = &self.x[step * features..(step + 1) * features];
            first.step(simd, &packed.layers[0].forward, x, step, rows, masked.then_some(step));
            let above = if masked { &*first.dropped } else { &*first.output };
            let mask = (masked && step + 1 == steps).then_some(0);
            second.step(simd, &packed.layers[1].forward, &above[step * n..(step + 1) * n], step, rows, mask);
        }
        let last = if masked { &*second.dropped } else { &second.output[(steps - 1) * n..] };
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
    fn backward<S: Simd>(&mut self, simd: S, packed: &Packed, masked: bool, gradient: &mut [f32]) {
        let Self { config, steps, rows, .. } = *self;
        let n = config.hidden * rows;
        let mut gradient = flat::parts_mut(config, gradient);
        let [mut first, mut second] = layers(config, steps, rows, &mut self.memory);
        let head = &mut self.head;
        let (dense, outputs) = (config.dense * rows, config.outputs * rows);

        let (hidden, d_hidden) = (&head.hidden[..dense], &mut head.d_hidden[..dense]);
        dense_gradient(simd, hidden, &head.d_output[..outputs], rows, &mut gradient.output);
        packed.output.backward.apply(simd, [&head.d_output[..outputs], &[]], rows, d_hidden);
        d_hidden.iter_mut().zip(hidden).for_each(|(d, &h)| *d = if h > 0.0 { *d } else { 0.0 });
        let last = if masked { &*second.dropped } else { &second.output[(steps - 1) * n..] };
        dense_gradient(simd, last, d_hidden, rows, &mut gradient.dense);
        packed.dense.backward.apply(simd, [d_hidden, &[]], rows, &mut head.d_inputs);

        for layer in [&mut first, &mut second] {
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
        let below = if masked { &*first.dropped } else { &*first.output };
        second.gradient(simd, below, steps, rows, &mut gradient.second);
        first.gradient(simd, &self.x[..steps * config.features * rows], steps, rows, &mut gradient.first);
    }
}

impl LayerState<'_> {
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
            d_cell: self.d_cell,
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
        let d = &*self.z;
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
