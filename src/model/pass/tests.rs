//! Gradients against Burn's own LSTM and against finite differences.

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
        self.chunk().train(&packed, loss, self.rows, dropout, &mut vec![0.0; parameters.len()]).mean_loss()
    }

    fn gradient(&self, loss: &Loss, dropout: Option<Dropout>) -> Vec<f32> {
        let packed = Packed::new(self.weights.config, &self.weights.to_flat());
        // every value must be written
        let mut gradient = vec![f32::NAN; self.weights.config.n_parameters()];
        self.chunk().train(&packed, loss, self.rows, dropout, &mut gradient);
        gradient
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
        // ReLU and absolute values have corners that a step may pass: one to the other side, or a shorter one, does not
        let measured = [2e-3, -2e-3, 5e-4, -5e-4].map(|step| (at(step / length) - at(0.0)) / (step * length));
        prop_assert!(measured.iter().any(|m| (m - 1.0).abs() < 0.05), "{:?} times {}", measured, length.powi(2));
    }
}

#[test]
fn memory_is_as_foretold() {
    let config = config(6, 50, 25, 2);
    let chunk = Chunk::new(config, 20, 1, 30);
    let head =
        [&chunk.head.hidden, &chunk.head.d_hidden, &chunk.head.output, &chunk.head.d_output, &chunk.head.d_inputs];
    let rest = chunk.x.len() + chunk.truth.len() + head.map(Vec::len).iter().sum::<usize>();
    assert_eq!(Chunk::bytes(config, 20, 1, 30), Memory::bytes(chunk.memory.len()) + 4 * rest as u64);
    let mut memory = vec![0.0; chunk.memory.len()];
    let of = |l: &LayerState<'_>| {
        let short = l.dropped.len() + l.mask.len() + l.d_inputs.len() + l.d_cell.len();
        l.z.len() + l.cell.len() + l.tanh_cell.len() + l.output.len() + short
    };
    let used: usize = layers(config, 20, 32, &mut memory).iter().map(of).sum();
    assert_eq!(used, memory.len());
}

#[test]
fn the_last_rows_do_not_touch_the_others() {
    let full = case(config(3, 5, 4, 1), 4, 40, 1);
    let packed = Packed::new(full.weights.config, &full.weights.to_flat());
    let mut gradient = vec![0.0; full.weights.config.n_parameters()];
    let mut chunk = full.chunk();
    chunk.train(&packed, &Loss::Mse, 40, Some(Dropout { rate: 0.5, seed: 1, stream: 1 }), &mut gradient);
    // the same buffers with fewer windows, beside fresh buffers
    chunk.begin(3);
    for row in 0..3 {
        chunk.set(row, &full.windows[row * 12..][..12], &full.truth[row..=row]);
    }
    chunk.train(&packed, &Loss::Mse, 3, None, &mut gradient);
    let three = Case { rows: 3, windows: full.windows[..36].to_vec(), truth: full.truth[..3].to_vec(), ..full };
    assert_eq!(gradient, three.gradient(&Loss::Mse, None));
}
