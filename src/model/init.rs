//! Initial weights as Keras draws them: Glorot uniform kernels, orthogonal recurrent kernels, zero biases, forget-gate bias 1.

use super::{Config, DenseWeights, LstmWeights, Weights};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Draws all weights from one stream, layer by layer.
pub(super) fn weights(config: Config, random: &mut ChaCha8Rng) -> Weights {
    let mut lstm = |input| LstmWeights {
        input: glorot_uniform(input, 4 * config.hidden, random),
        recurrent: orthogonal(config.hidden, 4 * config.hidden, random),
        bias: (0..4 * config.hidden)
            .map(|k| if (2 * config.hidden..3 * config.hidden).contains(&k) { 1.0 } else { 0.0 })
            .collect(),
    };
    let (first, second) = (lstm(config.features), lstm(config.hidden));
    let mut dense =
        |input, output| DenseWeights { kernel: glorot_uniform(input, output, random), bias: vec![0.0; output] };
    Weights {
        config,
        first,
        second,
        dense: dense(config.hidden, config.dense),
        output: dense(config.dense, config.outputs),
    }
}

/// `[input, output]`, uniform within ± √(6 / (input + output)). For an LSTM `output` is all four gates, as in Keras.
fn glorot_uniform(input: usize, output: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let limit = (6.0 / (input + output) as f64).sqrt() as f32;
    (0..input * output).map(|_| random.random_range(-limit..=limit)).collect()
}

/// `[rows, columns]` with orthonormal rows (`rows` ≤ `columns`), uniformly distributed among all such matrices.
///
/// Gram–Schmidt on normal vectors in 64 bits: the QR decomposition with a positive diagonal, which Keras takes.
fn orthogonal(rows: usize, columns: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(rows);
    while basis.len() < rows {
        let mut v: Vec<f64> = (0..columns).map(|_| random.sample(StandardNormal)).collect();
        // twice: the second pass takes away what rounding left in the first
        for _ in 0..2 {
            for b in &basis {
                let along: f64 = b.iter().zip(&v).map(|(b, v)| b * v).sum();
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= along * b);
            }
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        basis.push(v);
    }
    basis.into_iter().flatten().map(|v| v as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn as_keras_draws_them() {
        let config = Config { features: 6, hidden: 50, dense: 25, outputs: 1 };
        let w = weights(config, &mut ChaCha8Rng::seed_from_u64(1));
        let limit = (6.0f32 / 206.0).sqrt();
        let largest = w.first.input.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(largest <= limit && largest > 0.98 * limit);
        let mean_square = w.first.input.iter().map(|x| x * x).sum::<f32>() / w.first.input.len() as f32;
        assert!((mean_square / (limit * limit / 3.0) - 1.0).abs() < 0.1, "variance of a uniform distribution");
        assert_eq!(w.first.bias.iter().sum::<f32>(), 50.0);
        assert_eq!(&w.first.bias[99..101], &[0.0, 1.0]);
        assert_eq!(&w.first.bias[149..151], &[1.0, 0.0]);
        for (a, x) in w.second.recurrent.chunks(200).enumerate() {
            for (b, y) in w.second.recurrent.chunks(200).enumerate() {
                let dot: f32 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                assert!((dot - f32::from(a == b)).abs() < 1e-5, "rows {a} and {b}: {dot}");
            }
        }
        assert_eq!(weights(config, &mut ChaCha8Rng::seed_from_u64(1)), w);
        assert_ne!(weights(config, &mut ChaCha8Rng::seed_from_u64(2)), w);
    }
}
