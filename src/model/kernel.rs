//! One LSTM layer on plain slices, forward and backward.
//!
//! The batch is cut into chunks whose number depends on the batch alone; each keeps private time-major buffers, and
//! gradients are summed in the chunks' order: the same bytes for any number of threads.

use super::gates;
use super::gemm::{View, multiply};
use super::lstm::Options;
use super::{Dropout, mask};
use pulp::Arch;
use rayon::prelude::*;

/// More chunks than this would not help any host this is made for; fewer rows than `MIN_ROWS` make slow products.
const MAX_CHUNKS: usize = 16;
const MIN_ROWS: usize = 16;

/// Sizes of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dims {
    pub(super) batch: usize,
    pub(super) steps: usize,
    pub(super) input: usize,
    pub(super) hidden: usize,
}

impl Dims {
    fn chunk_rows(self) -> usize {
        self.batch.div_ceil(MAX_CHUNKS).max(MIN_ROWS)
    }

    /// Values a window leaves behind: all steps, or the last.
    fn output_width(self, sequence: bool) -> usize {
        if sequence { self.steps * self.hidden } else { self.hidden }
    }
}

/// The parameters of a layer, as [`super::LstmWeights`] lays them out.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a> {
    pub(super) input: &'a [f32],
    pub(super) recurrent: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    dims: Dims,
    sequence: bool,
    chunks: Vec<Chunk>,
}

impl Saved {
    pub(super) fn dims(&self) -> Dims {
        self.dims
    }
}

/// Time-major buffers of some of the windows.
#[derive(Clone, Debug)]
struct Chunk {
    rows: usize,
    /// `[steps, rows, input]`
    x: Vec<f32>,
    /// `[steps, rows, 4 * hidden]`: pre-activations, then gates, then (backward) gradients.
    z: Vec<f32>,
    /// `[steps, rows, hidden]` each.
    cell: Vec<f32>,
    tanh_cell: Vec<f32>,
    output: Vec<f32>,
    /// As the layer's output, batch-first; empty without dropout. Holds 0 or 1 / (1 − rate).
    mask: Vec<f32>,
}

/// Runs a layer over `x` `[batch, steps, input]`.
///
/// Out: `[batch, steps, hidden]`, or `[batch, hidden]` (the last step) unless `options.sequence`.
pub(super) fn forward(dims: Dims, x: &[f32], parameters: Parameters<'_>, options: Options) -> (Vec<f32>, Saved) {
    let rows = dims.chunk_rows();
    let width = dims.output_width(options.sequence);
    let mut out = vec![0.0; dims.batch * width];
    let chunks = x
        .par_chunks(rows * dims.steps * dims.input)
        .zip(out.par_chunks_mut(rows * width))
        .enumerate()
        .map(|(index, (x, out))| {
            let mask = options.dropout.map_or_else(Vec::new, |d| draw_mask(d, index, out.len()));
            forward_chunk(dims, x, parameters, options.sequence, mask, out)
        })
        .collect();
    (out, Saved { dims, sequence: options.sequence, chunks })
}

fn forward_chunk(
    dims: Dims,
    x: &[f32],
    parameters: Parameters<'_>,
    sequence: bool,
    mask: Vec<f32>,
    out: &mut [f32],
) -> Chunk {
    let Dims { steps, input, hidden, .. } = dims;
    let rows = x.len() / (steps * input);
    let (arch, state, gate) = (Arch::new(), rows * hidden, rows * 4 * hidden);
    let x = to_time_major(x, rows, steps, input);

    // The input's share of all steps at once, on top of the bias.
    let mut z = vec![0.0; steps * gate];
    z.chunks_exact_mut(4 * hidden).for_each(|row| row.copy_from_slice(parameters.bias));
    multiply(&mut z, View::new(&x, steps * rows, input), View::new(parameters.input, input, 4 * hidden), true);

    let [mut cell, mut tanh_cell, mut output] = [(); 3].map(|()| vec![0.0; steps * state]);
    let recurrent = View::new(parameters.recurrent, hidden, 4 * hidden);
    for step in 0..steps {
        let z = &mut z[step * gate..(step + 1) * gate];
        let (before, now) = output.split_at_mut(step * state);
        let (cell_before, cell_now) = cell.split_at_mut(step * state);
        let mut previous = None;
        if step > 0 {
            let at = (step - 1) * state;
            multiply(z, View::new(&before[at..], rows, hidden), recurrent, true);
            previous = Some(&cell_before[at..]);
        }
        let tanh_cell = &mut tanh_cell[step * state..(step + 1) * state];
        gates::forward(arch, hidden, z, previous, &mut cell_now[..state], tanh_cell, &mut now[..state]);
    }

    if sequence {
        from_time_major(&output, rows, steps, hidden, out);
    } else {
        out.copy_from_slice(&output[(steps - 1) * state..]);
    }
    out.iter_mut().zip(&mask).for_each(|(out, mask)| *out *= mask);
    Chunk { rows, x, z, cell, tanh_cell, output, mask }
}

/// Gradients of a layer, each as large as what it belongs to.
pub(super) struct Gradients {
    /// `[batch, steps, input]`; none where nobody asked.
    pub(super) x: Option<Vec<f32>>,
    pub(super) input: Vec<f32>,
    pub(super) recurrent: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Carries the gradient of the output (laid out as [`forward`] returned it) back to the input and the parameters.
pub(super) fn backward(saved: Saved, parameters: Parameters<'_>, d_out: &[f32], want_x: bool) -> Gradients {
    let Saved { dims, sequence, chunks } = saved;
    let Dims { batch, steps, input, hidden } = dims;
    let rows = dims.chunk_rows();
    let mut d_x = vec![0.0; if want_x { batch * steps * input } else { 0 }];
    // an empty gradient still needs as many (empty) pieces as there are chunks
    let pieces: Vec<&mut [f32]> = if want_x {
        d_x.chunks_mut(rows * steps * input).collect()
    } else {
        chunks.iter().map(|_| &mut [][..]).collect()
    };
    let parts: Vec<_> = chunks
        .into_par_iter()
        .zip(d_out.par_chunks(rows * dims.output_width(sequence)))
        .zip(pieces)
        .map(|((chunk, d_out), d_x)| backward_chunk(dims, sequence, chunk, parameters, d_out, d_x))
        .collect();

    let mut sum = [vec![0.0f32; input * 4 * hidden], vec![0.0f32; hidden * 4 * hidden], vec![0.0f32; 4 * hidden]];
    for part in &parts {
        for (sum, part) in sum.iter_mut().zip(part) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    let [d_input, d_recurrent, d_bias] = sum;
    Gradients { x: want_x.then_some(d_x), input: d_input, recurrent: d_recurrent, bias: d_bias }
}

/// Gradients of the input kernel, the recurrent kernel and the bias; that of the input goes to `d_x` unless empty.
fn backward_chunk(
    dims: Dims,
    sequence: bool,
    chunk: Chunk,
    parameters: Parameters<'_>,
    d_out: &[f32],
    d_x: &mut [f32],
) -> [Vec<f32>; 3] {
    let Dims { steps, input, hidden, .. } = dims;
    let Chunk { rows, x, mut z, cell, tanh_cell, output, mask } = chunk;
    let (arch, state, gate) = (Arch::new(), rows * hidden, rows * 4 * hidden);
    let masked: Vec<f32>;
    let d_out = if mask.is_empty() {
        d_out
    } else {
        masked = d_out.iter().zip(&mask).map(|(d, mask)| d * mask).collect();
        &masked
    };

    let mut d_state = vec![0.0; state];
    let mut d_cell = vec![0.0; state];
    if !sequence {
        d_state.copy_from_slice(d_out);
    }
    let recurrent = View::new(parameters.recurrent, hidden, 4 * hidden).transposed();
    for step in (0..steps).rev() {
        if sequence {
            for (row, d) in d_state.chunks_exact_mut(hidden).enumerate() {
                let from = &d_out[(row * steps + step) * hidden..][..hidden];
                d.iter_mut().zip(from).for_each(|(d, from)| *d += from);
            }
        }
        let z = &mut z[step * gate..(step + 1) * gate];
        let previous = (step > 0).then(|| &cell[(step - 1) * state..step * state]);
        let tanh_cell = &tanh_cell[step * state..(step + 1) * state];
        gates::backward(arch, hidden, z, previous, tanh_cell, &d_state, &mut d_cell);
        if step > 0 {
            multiply(&mut d_state, View::new(z, rows, 4 * hidden), recurrent, false);
        }
    }

    // All steps at once: the weights' gradients are one product each.
    let d_z = View::new(&z, steps * rows, 4 * hidden);
    let mut d_input = vec![0.0; input * 4 * hidden];
    multiply(&mut d_input, View::new(&x, steps * rows, input).transposed(), d_z, false);
    let mut d_recurrent = vec![0.0; hidden * 4 * hidden];
    let n = (steps - 1) * rows;
    let later = View::new(&z[gate..], n, 4 * hidden);
    multiply(&mut d_recurrent, View::new(&output, n, hidden).transposed(), later, false);
    let mut d_bias = vec![0.0; 4 * hidden];
    for row in z.chunks_exact(4 * hidden) {
        d_bias.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
    }
    if !d_x.is_empty() {
        let mut d = vec![0.0; steps * rows * input];
        multiply(&mut d, d_z, View::new(parameters.input, input, 4 * hidden).transposed(), false);
        from_time_major(&d, rows, steps, input, d_x);
    }
    [d_input, d_recurrent, d_bias]
}

/// `[rows, steps, width]` → `[steps, rows, width]`
fn to_time_major(x: &[f32], rows: usize, steps: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for row in 0..rows {
        for step in 0..steps {
            out[(step * rows + row) * width..][..width].copy_from_slice(&x[(row * steps + step) * width..][..width]);
        }
    }
    out
}

/// `[steps, rows, width]` → `[rows, steps, width]`
fn from_time_major(x: &[f32], rows: usize, steps: usize, width: usize, out: &mut [f32]) {
    for row in 0..rows {
        for step in 0..steps {
            out[(row * steps + step) * width..][..width].copy_from_slice(&x[(step * rows + row) * width..][..width]);
        }
    }
}

/// A chunk's mask.
fn draw_mask(dropout: Dropout, chunk: usize, len: usize) -> Vec<f32> {
    let mut mask = vec![0.0; len];
    mask::draw(Dropout { stream: dropout.stream * MAX_CHUNKS as u64 + chunk as u64, ..dropout }, [&mut mask[..]]);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let dims = Dims { batch: 70, steps: 5, input: 6, hidden: 11 };
        let value = |k: usize| ((k * 7919) % 2003) as f32 / 1000.0 - 1.0;
        let x: Vec<f32> = (0..70 * 5 * 6).map(value).collect();
        let [input, recurrent, bias] = [6 * 44, 11 * 44, 44].map(|n| (0..n).map(value).collect::<Vec<_>>());
        let parameters = Parameters { input: &input, recurrent: &recurrent, bias: &bias };
        let options = Options { sequence: true, dropout: Some(Dropout { rate: 0.2, seed: 1, stream: 2 }) };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let (out, saved) = forward(dims, &x, parameters, options);
                let g = backward(saved, parameters, &out, true);
                [out, g.x.expect("asked for"), g.input, g.recurrent, g.bias].concat()
            })
        };
        let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let one = bits(run(1));
        assert_eq!(one, bits(run(2)));
        assert_eq!(one, bits(run(16)));
    }
}
