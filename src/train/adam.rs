//! Adam on one flat slice of parameters, as Keras steps: ε beside the root of the raw second moment.

const BETA: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-7;

/// Moments of every parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adam {
    /// Steps taken.
    pub(super) steps: u64,
    /// Running mean of the gradient.
    pub(super) first: Vec<f32>,
    /// Running mean of its square.
    pub(super) second: Vec<f32>,
}

impl Adam {
    pub(super) fn new(n_parameters: usize) -> Self {
        Self { steps: 0, first: vec![0.0; n_parameters], second: vec![0.0; n_parameters] }
    }

    /// Moves `parameters` against the gradient, which is the sum of `gradients` in their order.
    pub(super) fn step(&mut self, learning_rate: f64, parameters: &mut [f32], gradients: &[&[f32]]) {
        /// Values that stay in the processor's first cache while gradient after gradient is added.
        const BLOCK: usize = 1024;
        self.steps += 1;
        let [one, two] = BETA.map(|beta| 1.0 - f64::from(beta).powf(self.steps as f64));
        let rate = (learning_rate * two.sqrt() / one) as f32;
        let mut sum = [0.0; BLOCK];
        let blocks = parameters.chunks_mut(BLOCK).zip(self.first.chunks_mut(BLOCK)).zip(self.second.chunks_mut(BLOCK));
        for (block, ((parameters, first), second)) in blocks.enumerate() {
            let sum = &mut sum[..parameters.len()];
            sum.fill(0.0);
            for gradient in gradients {
                let gradient = &gradient[block * BLOCK..][..sum.len()];
                sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || move_against(rate, parameters, first, second, sum),
            );
        }
    }
}

#[expect(clippy::inline_always, reason = "only what is inlined into `dispatch` is compiled for its instruction set")]
#[inline(always)]
fn move_against(rate: f32, parameters: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
    let n = gradient.len();
    let (parameters, first, second) = (&mut parameters[..n], &mut first[..n], &mut second[..n]);
    for k in 0..n {
        let g = gradient[k];
        first[k] += (g - first[k]) * (1.0 - BETA[0]);
        second[k] += (g * g - second[k]) * (1.0 - BETA[1]);
        parameters[k] -= rate * first[k] / (second[k].sqrt() + EPSILON);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_as_by_hand() {
        let mut adam = Adam::new(2);
        let mut parameters = [1.0f32, -1.0];
        // The first step is the learning rate against the gradient's sign, whatever its size.
        adam.step(0.1, &mut parameters, &[&[2.0, -1e-3], &[2.0, -1e-3]]);
        assert!((parameters[0] - 0.9).abs() < 1e-5 && (parameters[1] + 0.9).abs() < 1e-3, "{parameters:?}");
        adam.step(0.1, &mut parameters, &[&[0.0, 0.0]]);
        // by hand: m = 0.36, v = 0.015984, rate = 0.1 · √(1 − 0.999²) / (1 − 0.9²)
        let expected = 0.9 - 0.1 * (1.0f64 - 0.998_001).sqrt() / 0.19 * 0.36 / (0.015_984f64.sqrt() + 1e-7);
        assert!((f64::from(parameters[0]) - expected).abs() < 1e-5, "{parameters:?}, {expected}");
        assert_eq!(adam.steps, 2);
    }
}
