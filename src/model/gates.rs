//! The LSTM cell's element-wise half, forward and backward, vectorised for whatever the processor has.
//!
//! Plain multiplications and additions, never fused ones: every instruction set then gives the same bits.

#![expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]

use pulp::Arch;

/// One step of a layer: pre-activations become gates, and the cell moves on.
///
/// Shapes: `z` `[batch, 4 * hidden]` (input, output, forget, cell; pre-activations in, activations out),
/// `previous` (none at the first step), `cell`, `tanh_cell`, `output` `[batch, hidden]`.
pub(super) fn forward(
    arch: Arch,
    hidden: usize,
    z: &mut [f32],
    previous: Option<&[f32]>,
    cell: &mut [f32],
    tanh_cell: &mut [f32],
    output: &mut [f32],
) {
    arch.dispatch(
        #[inline(always)]
        || {
            for (row, z) in z.chunks_exact_mut(4 * hidden).enumerate() {
                let at = row * hidden..(row + 1) * hidden;
                let (sigmoids, candidate) = z.split_at_mut(3 * hidden);
                sigmoids.iter_mut().for_each(|x| *x = sigmoid(*x));
                candidate.iter_mut().for_each(|x| *x = tanh(*x));
                let (input, rest) = sigmoids.split_at(hidden);
                let (out, forget) = rest.split_at(hidden);
                let (cell, tanh_cell, output) =
                    (&mut cell[at.clone()], &mut tanh_cell[at.clone()], &mut output[at.clone()]);
                if let Some(previous) = previous {
                    let previous = &previous[at];
                    for k in 0..hidden {
                        cell[k] = forget[k] * previous[k] + input[k] * candidate[k];
                    }
                } else {
                    for k in 0..hidden {
                        cell[k] = input[k] * candidate[k];
                    }
                }
                for k in 0..hidden {
                    tanh_cell[k] = tanh(cell[k]);
                    output[k] = out[k] * tanh_cell[k];
                }
            }
        },
    );
}

/// The same step backwards: activations become gradients of the pre-activations.
///
/// Shapes as in [`forward`]; `d_output` is the gradient of the step's output, `d_cell` the gradient of its cell state
/// coming from later steps, replaced by the one for the step before.
pub(super) fn backward(
    arch: Arch,
    hidden: usize,
    z: &mut [f32],
    previous: Option<&[f32]>,
    tanh_cell: &[f32],
    d_output: &[f32],
    d_cell: &mut [f32],
) {
    arch.dispatch(
        #[inline(always)]
        || {
            for (row, z) in z.chunks_exact_mut(4 * hidden).enumerate() {
                let at = row * hidden..(row + 1) * hidden;
                let (input, rest) = z.split_at_mut(hidden);
                let (out, rest) = rest.split_at_mut(hidden);
                let (forget, candidate) = rest.split_at_mut(hidden);
                let (tanh_cell, d_output) = (&tanh_cell[at.clone()], &d_output[at.clone()]);
                let d_cell = &mut d_cell[at.clone()];
                for k in 0..hidden {
                    let (i, o, g) = (input[k], out[k], candidate[k]);
                    let through = d_cell[k] + d_output[k] * o * (1.0 - tanh_cell[k] * tanh_cell[k]);
                    out[k] = d_output[k] * tanh_cell[k] * o * (1.0 - o);
                    input[k] = through * g * i * (1.0 - i);
                    candidate[k] = through * i * (1.0 - g * g);
                    d_cell[k] = through;
                }
                if let Some(previous) = previous {
                    let previous = &previous[at];
                    for k in 0..hidden {
                        let f = forget[k];
                        forget[k] = d_cell[k] * previous[k] * f * (1.0 - f);
                        d_cell[k] *= f;
                    }
                } else {
                    // The state before the first step is zero: the forget gate had nothing to keep.
                    forget.fill(0.0);
                    d_cell.fill(0.0);
                }
            }
        },
    );
}

/// e^x within 2 units in the last place on -87..87, clamped outside.
///
/// Source: the range reduction and minimax polynomial of Cephes `expf`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves a float's integer part in its lowest bits: 1.5 · 2^23.
    const TO_BITS: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + TO_BITS;
    let whole = shifted - TO_BITS;
    // ln 2 in two parts, so that the remainder keeps its last bits
    let r = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * scale
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Source: Cephes `tanhf`: a polynomial near zero, where 1 − 2/(e^2x + 1) would cancel.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let s = x * x;
    let p = -5.704_988_7e-3;
    let p = p * s + 2.063_909e-2;
    let p = p * s - 5.373_971_5e-2;
    let p = p * s + 1.333_144_2e-1;
    let p = p * s - 3.333_328e-1;
    let near = p * s * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if x.abs() < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, ours: fn(f32) -> f32, truth: fn(f64) -> f64, relative: f64) {
        let mut worst = (0.0, 0.0);
        for k in -200_000..=200_000 {
            let x = k as f32 / 10_000.0;
            let expected = truth(f64::from(x));
            let error = (f64::from(ours(x)) - expected).abs() / expected.abs().max(1e-30);
            if x != 0.0 && error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= relative, "{name}: relative error {:e} at {}", worst.0, worst.1);
    }

    #[test]
    fn functions_are_accurate() {
        check("exp", exp, f64::exp, 2.5e-7);
        check("sigmoid", sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 4e-7);
        check("tanh", tanh, f64::tanh, 3e-7);
        assert_eq!(tanh(0.0).to_bits(), 0);
        for extreme in [f32::MAX, 1e4, 90.0] {
            assert!((sigmoid(extreme) - 1.0).abs() < 1e-7 && sigmoid(-extreme) < 1e-7);
            assert!((tanh(extreme) - 1.0).abs() < 1e-7 && (tanh(-extreme) + 1.0).abs() < 1e-7);
        }
        assert!(sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan(), "a broken network must be seen");
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let hidden = 37;
        let z: Vec<f32> = (0..3 * 4 * hidden).map(|k| ((k * 7919) % 1000) as f32 / 100.0 - 5.0).collect();
        let previous: Vec<f32> = (0..3 * hidden).map(|k| ((k * 31) % 100) as f32 / 50.0 - 1.0).collect();
        let run = |arch| {
            let (mut z, mut dc) = (z.clone(), previous.clone());
            let [mut c, mut t, mut h] = [(); 3].map(|()| vec![0.0f32; 3 * hidden]);
            forward(arch, hidden, &mut z, Some(&previous), &mut c, &mut t, &mut h);
            backward(arch, hidden, &mut z, Some(&previous), &t, &h, &mut dc);
            [z, c, t, h, dc].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(run(Arch::new()), run(Arch::Scalar));
    }
}
