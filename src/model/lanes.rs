//! Products of small matrices whose columns are windows: the innermost loops of training.
//!
//! Activations are laid out `[units, rows]` with the rows (windows) side by side, [`LANES`] at least, so that every
//! instruction works on whole registers whatever the number of units. Weights are packed once a step.

#![expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]

use pulp::Simd;

/// Rows stand in groups of this many: one register of AVX-512, two of AVX2, four of NEON.
pub(super) const LANES: usize = 16;
/// Outputs a tile computes at once: six of two registers each are twelve sums, what AVX2's sixteen registers hold.
const TILE: usize = 6;

/// Weights and bias of an affine map, in panels of at most [`TILE`] outputs, about equally wide.
///
/// A panel holds `[1 + inputs, width]`: the biases, then the weights in the order in which a tile reads them.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    inputs: usize,
    outputs: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Room for a map of these sizes.
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, values: vec![0.0; (1 + inputs) * outputs] }
    }

    /// Packs weights: `kernel` holds the weights of each input in turn, `[outputs]` each. No bias stands for zeros.
    pub(super) fn pack(&mut self, bias: Option<&[f32]>, kernel: Rows<'_>) {
        let (stride, n) = (1 + self.inputs, self.outputs);
        for (first, width) in panels(n) {
            let panel = &mut self.values[first * stride..(first + width) * stride];
            if let Some(bias) = bias {
                panel[..width].copy_from_slice(&bias[first..first + width]);
            }
            match width {
                6 => pack_panel::<6>(panel, kernel, n, first),
                5 => pack_panel::<5>(panel, kernel, n, first),
                4 => pack_panel::<4>(panel, kernel, n, first),
                3 => pack_panel::<3>(panel, kernel, n, first),
                2 => pack_panel::<2>(panel, kernel, n, first),
                _ => pack_panel::<1>(panel, kernel, n, first),
            }
        }
    }

    /// Packs the transposed map without bias: `kernel` as in [`Self::pack`], but of the map from this one's outputs to
    /// its inputs.
    pub(super) fn pack_transposed(&mut self, kernel: Rows<'_>) {
        let (stride, n) = (1 + self.inputs, self.inputs);
        for (first, width) in panels(self.outputs) {
            let panel = &mut self.values[first * stride..(first + width) * stride];
            match width {
                6 => pack_panel_transposed::<6>(panel, kernel, n, first),
                5 => pack_panel_transposed::<5>(panel, kernel, n, first),
                4 => pack_panel_transposed::<4>(panel, kernel, n, first),
                3 => pack_panel_transposed::<3>(panel, kernel, n, first),
                2 => pack_panel_transposed::<2>(panel, kernel, n, first),
                _ => pack_panel_transposed::<1>(panel, kernel, n, first),
            }
        }
    }

    /// `out[j] = bias[j] + Σ_k weights[k][j] · x[k]` for every row.
    ///
    /// Shapes: `x` is the map's inputs in two pieces, `[inputs, rows]` together (the second may be empty: its inputs
    /// are then zero); `out` `[outputs, rows]`.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(&self, simd: S, x: [&[f32]; 2], rows: usize, out: &mut [f32]) {
        match S::F32_LANES {
            16 if rows.is_multiple_of(2 * LANES) => self.apply_in::<S, 2>(simd, x, rows, out),
            16 => self.apply_in::<S, 1>(simd, x, rows, out),
            8 => self.apply_in::<S, 2>(simd, x, rows, out),
            4 => self.apply_in::<S, 4>(simd, x, rows, out),
            _ => self.apply_in::<S, 16>(simd, x, rows, out),
        }
    }

    #[inline(always)]
    fn apply_in<S: Simd, const V: usize>(&self, simd: S, x: [&[f32]; 2], rows: usize, out: &mut [f32]) {
        let stride = 1 + self.inputs;
        for (first, width) in panels(self.outputs) {
            let panel = &self.values[first * stride..(first + width) * stride];
            let out = &mut out[first * rows..(first + width) * rows];
            for at in (0..rows).step_by(V * S::F32_LANES) {
                match width {
                    1 => tile::<S, V, 1>(simd, panel, x, rows, at, out),
                    2 => tile::<S, V, 2>(simd, panel, x, rows, at, out),
                    3 => tile::<S, V, 3>(simd, panel, x, rows, at, out),
                    4 => tile::<S, V, 4>(simd, panel, x, rows, at, out),
                    5 => tile::<S, V, 5>(simd, panel, x, rows, at, out),
                    _ => tile::<S, V, TILE>(simd, panel, x, rows, at, out),
                }
            }
        }
    }
}

/// A kernel in two pieces, one below the other; the second may be empty.
pub(super) type Rows<'a> = [&'a [f32]; 2];

fn pack_panel<const J: usize>(panel: &mut [f32], kernel: Rows<'_>, n: usize, first: usize) {
    let rows = kernel.into_iter().flat_map(|piece| piece.chunks_exact(n));
    for (to, row) in panel.as_chunks_mut::<J>().0[1..].iter_mut().zip(rows) {
        to.copy_from_slice(&row[first..first + J]);
    }
}

fn pack_panel_transposed<const J: usize>(panel: &mut [f32], kernel: Rows<'_>, n: usize, first: usize) {
    let [above, below] = kernel;
    let split = above.len() / n;
    let row = |k: usize| if k < split { &above[k * n..][..n] } else { &below[(k - split) * n..][..n] };
    let rows: [&[f32]; J] = std::array::from_fn(|j| row(first + j));
    for (k, to) in panel.as_chunks_mut::<J>().0[1..][..n].iter_mut().enumerate() {
        for j in 0..J {
            to[j] = rows[j][k];
        }
    }
}

/// First output and width of each panel.
fn panels(outputs: usize) -> impl Iterator<Item = (usize, usize)> {
    pieces(outputs, TILE)
}

/// Cuts `n` into as few pieces of at most `most` as there can be, none more than one larger than another.
#[inline(always)]
fn pieces(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = n.div_ceil(most);
    let (width, wider) = (n.checked_div(count).unwrap_or(0), n.checked_rem(count).unwrap_or(0));
    (0..count).map(move |piece| (piece * width + piece.min(wider), width + usize::from(piece < wider)))
}

/// `J` outputs of `V` registers of rows from row `at` on.
#[inline(always)]
fn tile<S: Simd, const V: usize, const J: usize>(
    simd: S,
    panel: &[f32],
    x: [&[f32]; 2],
    rows: usize,
    at: usize,
    out: &mut [f32],
) {
    let (bias, mut weights) = panel.split_at(J);
    let mut sums = [[simd.splat_f32s(0.0); V]; J];
    for j in 0..J {
        sums[j] = [simd.splat_f32s(bias[j]); V];
    }
    let (lanes, at_lane) = (rows / S::F32_LANES, at / S::F32_LANES);
    for x in x {
        let n = (x.len() / rows).min(weights.len() / J);
        let (now, later) = weights.split_at(n * J);
        let (x, _) = S::as_simd_f32s(x);
        let (weights_of, _) = now.as_chunks::<J>();
        if lanes == V {
            // in pairs: the loop's own instructions are as dear as two products
            let (inputs, _) = x.as_chunks::<V>();
            let ((weights_of, last), (inputs, x_last)) = (weights_of.as_chunks::<2>(), inputs.as_chunks::<2>());
            for ([w0, w1], [x0, x1]) in weights_of.iter().zip(inputs) {
                add_products(simd, w0, x0, &mut sums);
                add_products(simd, w1, x1, &mut sums);
            }
            for (weights, x) in last.iter().zip(x_last) {
                add_products(simd, weights, x, &mut sums);
            }
        } else {
            for (weights, x) in weights_of.iter().zip(x.chunks_exact(lanes)) {
                let (x, _) = x[at_lane..].as_chunks::<V>();
                add_products(simd, weights, &x[0], &mut sums);
            }
        }
        weights = later;
    }
    for j in 0..J {
        let (out, _) = S::as_mut_simd_f32s(&mut out[j * rows + at..][..V * S::F32_LANES]);
        out[..V].copy_from_slice(&sums[j]);
    }
}

#[inline(always)]
fn add_products<S: Simd, const V: usize, const J: usize>(
    simd: S,
    weights: &[f32; J],
    x: &[S::f32s; V],
    sums: &mut [[S::f32s; V]; J],
) {
    for j in 0..J {
        let weight = simd.splat_f32s(weights[j]);
        for v in 0..V {
            sums[j][v] = simd.mul_add_e_f32s(weight, x[v], sums[j][v]);
        }
    }
}

/// Sums of products over steps and rows: `out[k][j] = Σ_t Σ_r x[t][k][r] · d[t][j][r]`, the gradient of a weight.
///
/// Shapes: `x` `[steps, n_x, rows]`, `d` `[steps, n_d, rows]`, `out` `[n_x, n_d]`.
#[inline(always)]
pub(super) fn correlate<S: Simd>(
    simd: S,
    (x, n_x): (&[f32], usize),
    (d, n_d): (&[f32], usize),
    rows: usize,
    out: &mut [f32],
) {
    // the smallest number of registers is one that the compiler knows: twice as fast
    match (rows, S::F32_LANES) {
        (LANES, 16) => correlate_in::<S, 1>(simd, (x, n_x), (d, n_d), rows, out),
        (LANES, 8) => correlate_in::<S, 2>(simd, (x, n_x), (d, n_d), rows, out),
        _ => correlate_in::<S, 0>(simd, (x, n_x), (d, n_d), rows, out),
    }
}

/// With `L` registers to a row of `rows` windows; 0: with as many as there are.
#[inline(always)]
fn correlate_in<S: Simd, const L: usize>(
    simd: S,
    (x, n_x): (&[f32], usize),
    (d, n_d): (&[f32], usize),
    rows: usize,
    out: &mut [f32],
) {
    let steps = x.len() / (n_x * rows);
    for (j, width) in pieces(n_d, 3) {
        for (k, height) in pieces(n_x, 4) {
            let place = Place { k, j, n_x, n_d, steps, rows };
            match (height, width) {
                (4, 3) => correlate_tile::<S, L, 4, 3>(simd, x, d, place, out),
                (3, 3) => correlate_tile::<S, L, 3, 3>(simd, x, d, place, out),
                (2, 3) => correlate_tile::<S, L, 2, 3>(simd, x, d, place, out),
                (1, 3) => correlate_tile::<S, L, 1, 3>(simd, x, d, place, out),
                (4, 2) => correlate_tile::<S, L, 4, 2>(simd, x, d, place, out),
                (3, 2) => correlate_tile::<S, L, 3, 2>(simd, x, d, place, out),
                (2, 2) => correlate_tile::<S, L, 2, 2>(simd, x, d, place, out),
                (1, 2) => correlate_tile::<S, L, 1, 2>(simd, x, d, place, out),
                (4, _) => correlate_tile::<S, L, 4, 1>(simd, x, d, place, out),
                (3, _) => correlate_tile::<S, L, 3, 1>(simd, x, d, place, out),
                (2, _) => correlate_tile::<S, L, 2, 1>(simd, x, d, place, out),
                _ => correlate_tile::<S, L, 1, 1>(simd, x, d, place, out),
            }
        }
    }
}

/// Where a tile of [`correlate`] stands.
#[derive(Clone, Copy)]
struct Place {
    k: usize,
    j: usize,
    n_x: usize,
    n_d: usize,
    steps: usize,
    rows: usize,
}

#[inline(always)]
fn correlate_tile<S: Simd, const L: usize, const K: usize, const J: usize>(
    simd: S,
    x: &[f32],
    d: &[f32],
    Place { k, j, n_x, n_d, steps, rows }: Place,
    out: &mut [f32],
) {
    let mut sums = [[simd.splat_f32s(0.0); J]; K];
    let lanes = if L > 0 { L } else { rows / S::F32_LANES };
    for step in 0..steps {
        let (x, _) = S::as_simd_f32s(&x[(step * n_x + k) * rows..][..K * rows]);
        let (d, _) = S::as_simd_f32s(&d[(step * n_d + j) * rows..][..J * rows]);
        // said again so that the compiler leaves out the checks below
        let (x, d) = (&x[..K * lanes], &d[..J * lanes]);
        for lane in 0..lanes {
            for a in 0..K {
                for b in 0..J {
                    sums[a][b] = simd.mul_add_e_f32s(x[a * lanes + lane], d[b * lanes + lane], sums[a][b]);
                }
            }
        }
    }
    for a in 0..K {
        for b in 0..J {
            out[(k + a) * n_d + j + b] = simd.reduce_sum_f32s(sums[a][b]);
        }
    }
}

/// Sums over steps and rows: `out[j] = Σ_t Σ_r d[t][j][r]`, the gradient of a bias. Shapes as in [`correlate`].
#[inline(always)]
pub(super) fn total<S: Simd>(simd: S, d: &[f32], rows: usize, out: &mut [f32]) {
    let n = out.len();
    for (j, out) in out.iter_mut().enumerate() {
        let mut sum = simd.splat_f32s(0.0);
        for d in d.chunks_exact(n * rows) {
            let (d, _) = S::as_simd_f32s(&d[j * rows..(j + 1) * rows]);
            for &d in d {
                sum = simd.add_f32s(sum, d);
            }
        }
        *out = simd.reduce_sum_f32s(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct Apply<'a>(&'a Panels, [&'a [f32]; 2], usize, &'a mut [f32]);
    impl WithSimd for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            self.0.apply(simd, self.1, self.2, self.3);
        }
    }

    struct Correlate<'a>(&'a [f32], usize, &'a [f32], usize, usize, &'a mut [f32], &'a mut [f32]);
    impl WithSimd for Correlate<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            correlate(simd, (self.0, self.1), (self.2, self.3), self.4, self.5);
            total(simd, self.2, self.4, self.6);
        }
    }

    /// Small whole numbers: every order of summing gives the same.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|k| ((k * 7919 + seed * 104_729) % 17) as f32 - 8.0).collect()
    }

    #[test]
    fn maps_of_all_sizes() {
        for arch in [Arch::new(), Arch::Scalar] {
            for (inputs, outputs, rows) in [(1, 1, 16), (3, 7, 16), (6, 200, 32), (50, 25, 48), (9, 13, 32)] {
                let (w, bias) = (numbers(inputs * outputs, 1), numbers(outputs, 2));
                let (x, d) = (numbers(inputs * rows, 3), numbers(outputs * rows, 4));
                let mut map = Panels::new(inputs, outputs);
                map.pack(Some(&bias), [&w, &[]]);
                let mut out = vec![f32::NAN; outputs * rows];
                for cut in [0, inputs / 2, inputs] {
                    let (a, b) = x.split_at(cut * rows);
                    arch.dispatch(Apply(&map, [a, b], rows, &mut out));
                    for (j, r) in (0..outputs).flat_map(|j| (0..rows).map(move |r| (j, r))) {
                        let sum: f32 = (0..inputs).map(|k| w[k * outputs + j] * x[k * rows + r]).sum();
                        assert_eq!(out[j * rows + r], bias[j] + sum, "{inputs} → {outputs}, {rows} rows");
                    }
                }
                let mut back = Panels::new(outputs, inputs);
                back.pack_transposed([&w, &[]]);
                let mut out = vec![f32::NAN; inputs * rows];
                arch.dispatch(Apply(&back, [&d, &[]], rows, &mut out));
                for (k, r) in (0..inputs).flat_map(|k| (0..rows).map(move |r| (k, r))) {
                    let sum: f32 = (0..outputs).map(|j| w[k * outputs + j] * d[j * rows + r]).sum();
                    assert_eq!(out[k * rows + r], sum, "{outputs} → {inputs}, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn sums_of_products() {
        for arch in [Arch::new(), Arch::Scalar] {
            for (steps, n_x, n_d, rows) in [(1, 1, 1, 16), (2, 6, 13, 16), (3, 50, 8, 32), (0, 2, 2, 16)] {
                let (x, d) = (numbers(steps * n_x * rows, 5), numbers(steps * n_d * rows, 6));
                let (mut out, mut sum) = (vec![f32::NAN; n_x * n_d], vec![f32::NAN; n_d]);
                arch.dispatch(Correlate(&x, n_x, &d, n_d, rows, &mut out, &mut sum));
                let at = |values: &[f32], n: usize, unit: usize| -> Vec<f32> {
                    (0..steps).flat_map(|t| values[(t * n + unit) * rows..][..rows].to_vec()).collect()
                };
                for (k, j) in (0..n_x).flat_map(|k| (0..n_d).map(move |j| (k, j))) {
                    let expected: f32 = at(&x, n_x, k).iter().zip(at(&d, n_d, j)).map(|(x, d)| x * d).sum();
                    assert_eq!(out[k * n_d + j], expected);
                    assert_eq!(sum[j], at(&d, n_d, j).iter().sum::<f32>());
                }
            }
        }
    }
}
