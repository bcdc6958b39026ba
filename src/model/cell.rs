//! The LSTM cell's element-wise half on rows side by side, forward and backward, for any instruction set.
//!
//! Fused multiplications where the processor has them, so the last bits differ between kinds of processors.

#![expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]

use pulp::Simd;

/// What one step of a layer works on; `n` = units · rows values each, `z` four times as many.
pub(super) struct Forward<'a> {
    /// Pre-activations in, activations out: input, output, forget, cell.
    pub(super) z: &'a mut [f32],
    /// The cell's state before; none at the first step.
    pub(super) previous: Option<&'a [f32]>,
    /// The cell's state after.
    pub(super) cell: &'a mut [f32],
    /// Its hyperbolic tangent.
    pub(super) tanh_cell: &'a mut [f32],
    /// The step's output.
    pub(super) output: &'a mut [f32],
    /// The output after dropout, and the mask that decides.
    pub(super) dropped: Option<(&'a mut [f32], &'a [f32])>,
}

impl Forward<'_> {
    /// Pre-activations become gates, and the cell moves on.
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, simd: S) {
        let n = self.cell.len();
        let (input, rest) = self.z.split_at_mut(n);
        let (out, rest) = rest.split_at_mut(n);
        let (forget, candidate) = rest.split_at_mut(n);
        let [input, out, forget, candidate, cell, tanh_cell, output] =
            [input, out, forget, candidate, self.cell, self.tanh_cell, self.output].map(|s| S::as_mut_simd_f32s(s).0);
        let n = cell.len();
        // said again so that the compiler leaves out the checks below
        let (input, out, forget, candidate) = (&mut input[..n], &mut out[..n], &mut forget[..n], &mut candidate[..n]);
        let (tanh_cell, output) = (&mut tanh_cell[..n], &mut output[..n]);
        let previous = self.previous.map(|p| &S::as_simd_f32s(p).0[..n]);
        for k in 0..n {
            let (i, g) = (sigmoid(simd, input[k]), tanh(simd, candidate[k]));
            let (o, f) = (sigmoid(simd, out[k]), sigmoid(simd, forget[k]));
            let mut c = simd.mul_f32s(i, g);
            if let Some(previous) = previous {
                c = simd.mul_add_e_f32s(f, previous[k], c);
            }
            let t = tanh(simd, c);
            (input[k], out[k], forget[k], candidate[k]) = (i, o, f, g);
            (cell[k], tanh_cell[k], output[k]) = (c, t, simd.mul_f32s(o, t));
        }
        if let Some((dropped, mask)) = self.dropped {
            let (dropped, mask) = (&mut S::as_mut_simd_f32s(dropped).0[..n], &S::as_simd_f32s(mask).0[..n]);
            for k in 0..n {
                dropped[k] = simd.mul_f32s(output[k], mask[k]);
            }
        }
    }
}

/// The same step backwards; sizes as in [`Forward`].
pub(super) struct Backward<'a> {
    /// Activations in, gradients of the pre-activations out.
    pub(super) z: &'a mut [f32],
    /// As in [`Forward`].
    pub(super) previous: Option<&'a [f32]>,
    /// As in [`Forward`].
    pub(super) tanh_cell: &'a [f32],
    /// Gradient of the output that comes from the next step.
    pub(super) d_output: &'a [f32],
    /// Gradient of the output that comes from above, and the mask it comes through.
    pub(super) d_above: Option<(&'a [f32], Option<&'a [f32]>)>,
    /// Gradient of the cell's state from later steps; becomes the one for the step before.
    pub(super) d_cell: &'a mut [f32],
}

impl Backward<'_> {
    /// Activations become gradients.
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, simd: S) {
        let n = self.d_cell.len();
        let (input, rest) = self.z.split_at_mut(n);
        let (out, rest) = rest.split_at_mut(n);
        let (forget, candidate) = rest.split_at_mut(n);
        let [input, out, forget, candidate, d_cell] =
            [input, out, forget, candidate, self.d_cell].map(|s| S::as_mut_simd_f32s(s).0);
        let n = d_cell.len();
        let (input, out, forget, candidate) = (&mut input[..n], &mut out[..n], &mut forget[..n], &mut candidate[..n]);
        let [tanh_cell, d_output] = [self.tanh_cell, self.d_output].map(|s| &S::as_simd_f32s(s).0[..n]);
        let previous = self.previous.map(|p| &S::as_simd_f32s(p).0[..n]);
        let above = self
            .d_above
            .map(|(above, mask)| (&S::as_simd_f32s(above).0[..n], mask.map(|mask| &S::as_simd_f32s(mask).0[..n])));
        let one = simd.splat_f32s(1.0);
        let zero = simd.splat_f32s(0.0);
        for k in 0..n {
            let mut d = d_output[k];
            match above {
                Some((above, Some(mask))) => d = simd.mul_add_e_f32s(above[k], mask[k], d),
                Some((above, None)) => d = simd.add_f32s(above[k], d),
                None => {}
            }
            let (i, o, f, g, t) = (input[k], out[k], forget[k], candidate[k], tanh_cell[k]);
            let slope = simd.sub_f32s(one, simd.mul_f32s(t, t));
            let through = simd.mul_add_e_f32s(simd.mul_f32s(d, o), slope, d_cell[k]);
            out[k] = simd.mul_f32s(simd.mul_f32s(d, t), sigmoid_slope(simd, o));
            input[k] = simd.mul_f32s(simd.mul_f32s(through, g), sigmoid_slope(simd, i));
            candidate[k] = simd.mul_f32s(simd.mul_f32s(through, i), simd.sub_f32s(one, simd.mul_f32s(g, g)));
            // the state before the first step is zero: the forget gate had nothing to keep
            (forget[k], d_cell[k]) = match previous {
                Some(previous) => (
                    simd.mul_f32s(simd.mul_f32s(through, previous[k]), sigmoid_slope(simd, f)),
                    simd.mul_f32s(through, f),
                ),
                None => (zero, zero),
            };
        }
    }
}

/// What e^x − 1 is made of: 2^n and e^r − 1, where x = n ln 2 + r; x is clamped to -87..87.
///
/// Source: the range reduction and minimax polynomial of Cephes `expf`, within 2 units in the last place.
#[inline(always)]
fn exp_parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    /// Adding it leaves a float's integer part in its lowest bits: 1.5 · 2^23.
    const TO_BITS: f32 = 12_582_912.0;
    let c = |value| simd.splat_f32s(value);
    // compared, not min and max: what is not a number must stay so, on every instruction set
    let x = simd.select_f32s(simd.greater_than_f32s(x, c(87.0)), c(87.0), x);
    let x = simd.select_f32s(simd.less_than_f32s(x, c(-87.0)), c(-87.0), x);
    let shifted = simd.mul_add_e_f32s(x, c(std::f32::consts::LOG2_E), c(TO_BITS));
    let whole = simd.sub_f32s(shifted, c(TO_BITS));
    // ln 2 in two parts, so that the remainder keeps its last bits
    let r = simd.mul_add_e_f32s(whole, c(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(whole, c(2.121_944_4e-4), r);
    let mut p = c(1.987_569_1e-4);
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = simd.mul_add_e_f32s(p, r, c(term));
    }
    let minus_one = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), r);
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scale = simd.transmute_f32s_u32s(simd.add_u32s(exponent, simd.splat_u32s(1.0f32.to_bits())));
    (scale, minus_one)
}

/// 1 / (1 + e^−x)
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (scale, minus_one) = exp_parts(simd, simd.mul_f32s(x, simd.splat_f32s(-1.0)));
    simd.div_f32s(one, simd.add_f32s(one, simd.mul_add_e_f32s(scale, minus_one, scale)))
}

/// The slope of [`sigmoid`] where it is `s`.
#[inline(always)]
fn sigmoid_slope<S: Simd>(simd: S, s: S::f32s) -> S::f32s {
    simd.mul_f32s(s, simd.sub_f32s(simd.splat_f32s(1.0), s))
}

/// (e^2x − 1) / (e^2x + 1), its numerator taken as one so that nothing cancels near zero
#[inline(always)]
fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (scale, minus_one) = exp_parts(simd, simd.add_f32s(x, x));
    let numerator = simd.mul_add_e_f32s(scale, minus_one, simd.sub_f32s(scale, simd.splat_f32s(1.0)));
    simd.div_f32s(numerator, simd.add_f32s(numerator, simd.splat_f32s(2.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    /// Sigmoid and tanh of every value, in place.
    struct Functions<'a>(&'a mut [f32], &'a mut [f32]);
    impl WithSimd for Functions<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            S::as_mut_simd_f32s(self.0).0.iter_mut().for_each(|x| *x = sigmoid(simd, *x));
            S::as_mut_simd_f32s(self.1).0.iter_mut().for_each(|x| *x = tanh(simd, *x));
        }
    }

    fn both(arch: Arch, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut a, mut b) = (x.to_vec(), x.to_vec());
        arch.dispatch(Functions(&mut a, &mut b));
        (a, b)
    }

    #[test]
    fn functions_are_accurate() {
        let x: Vec<f32> = (-200_000..200_000).map(|k| (k as f32 + 0.5) / 10_000.0).collect();
        for arch in [Arch::new(), Arch::Scalar] {
            let (sigmoids, tanhs) = both(arch, &x);
            let check = |name: &str, ours: &[f32], truth: fn(f64) -> f64, most: f64| {
                let error = |(x, y): (&f32, &f32)| (f64::from(*y) / truth(f64::from(*x)) - 1.0).abs();
                let worst = x.iter().zip(ours).map(error).fold(0.0, f64::max);
                assert!(worst <= most, "{name}: relative error {worst:e}");
            };
            check("sigmoid", &sigmoids, |x| 1.0 / (1.0 + (-x).exp()), 4e-7);
            check("tanh", &tanhs, f64::tanh, 4e-7);
        }
    }

    #[test]
    fn extremes_and_broken_numbers() {
        for arch in [Arch::new(), Arch::Scalar] {
            let (sigmoids, tanhs) = both(arch, &[f32::MAX, 1e4, 90.0, 0.0, -90.0, -1e4, f32::MIN, f32::NAN].repeat(4));
            assert_eq!(tanhs[3].to_bits(), 0);
            for k in 0..3 {
                assert!((sigmoids[k] - 1.0).abs() < 1e-7 && sigmoids[4 + k] < 1e-7, "{sigmoids:?}");
                assert!((tanhs[k] - 1.0).abs() < 1e-7 && (tanhs[4 + k] + 1.0).abs() < 1e-7, "{tanhs:?}");
            }
            assert!(sigmoids[7].is_nan() && tanhs[7].is_nan(), "a broken network must be seen");
        }
    }
}
