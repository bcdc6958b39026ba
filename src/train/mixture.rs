//! Training of the mixture network on a pool of windows.
//!
//! The loss is what the forecast is judged by: the absolute error in counts, divided by that of the best naive forecast
//! around. Counts are whole numbers, so the truth is blurred by up to half a count. The learning rate falls to 0 along a
//! cosine, and the last weights are taken: nothing is chosen by the windows that judge.

use super::{Epoch, Error, Settings, stream, to_vec};
use crate::model::{Mixture, MixtureConfig, MixtureWeights};
use crate::recipe::{Batch, CANDIDATES, PRIOR, Pool, SEQUENCE_WIDTH, STRETCH, standardise};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const WEIGHT_DECAY: f32 = 0.001;
const LARGEST_GRADIENT: f32 = 1.0;
/// Standard deviation of what is added to standardised features and to the sequence.
const NOISE: f32 = 0.1;
/// No epoch's order comes from a stream as low as this one.
const STREAM_NOISE: u64 = u64::MAX / 2;
/// Examples whose loss is taken without noise after each epoch, to be compared with the validation loss.
const FIXED: usize = 2000;

/// A trained mixture network, ready to be asked.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The network.
    pub weights: MixtureWeights,
    /// What is taken from the features of a window.
    pub mean: Vec<f32>,
    /// What they are divided by then.
    pub deviation: Vec<f32>,
    /// Every epoch trained.
    pub epochs: Vec<Epoch>,
}

/// The shape of the network that a pool and settings ask for.
pub fn mixture_config(pool: &Pool, settings: &Settings) -> MixtureConfig {
    MixtureConfig {
        features: SEQUENCE_WIDTH,
        statics: pool.mean.len(),
        hidden: settings.hidden,
        dense: settings.dense,
        outputs: pool.horizon * (CANDIDATES + 1),
    }
}

/// Trains a fresh network; calls `on_epoch` after each epoch and looks at `stop` before every step.
///
/// `watched` examples, which are not trained on, give `val_loss`; it decides nothing.
pub fn train_mixture(
    pool: &Pool,
    watched: &Pool,
    settings: &Settings,
    stop: &AtomicBool,
    mut on_epoch: impl FnMut(&Epoch),
) -> Result<Mixed, Error> {
    let device = Device::flex().autodiff();
    let config = mixture_config(pool, settings);
    let fresh = MixtureWeights::new(config, &mut stream(settings.seed, super::STREAM_WEIGHTS));
    let mut network = Mixture::from_weights(&fresh, &device);
    let clipping = GradientClippingConfig::Norm(LARGEST_GRADIENT);
    let mut optimizer = AdamWConfig::new().with_weight_decay(WEIGHT_DECAY).with_grad_clipping(Some(clipping)).init();
    let mut shuffle = stream(settings.seed, super::STREAM_ORDER);
    let mut noise = stream(settings.seed, STREAM_NOISE);
    let mut order: Vec<usize> = (0..pool.n).collect();
    let n_steps = settings.epochs * pool.n.div_ceil(settings.batch_size);
    let fixed = pool.sample(FIXED);
    let mut done = 0;
    let mut epochs = Vec::new();
    for epoch in 1..=settings.epochs {
        let began = Instant::now();
        order.shuffle(&mut shuffle);
        let (mut loss_sum, mut absolute, mut n) = (0.0, 0.0, 0.0);
        for (step, batch) in order.chunks(settings.batch_size).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped { epoch });
            }
            let mut examples = Examples::of(pool, batch);
            examples.disturb(&mut noise, settings.dropout as f32, config.hidden);
            let difference = examples.difference(&network, &device);
            let weights = examples.tensor(&examples.weight, pool.horizon, &device);
            let loss = (difference.clone().abs() * weights).mean();
            let of_batch = f64::from(to_vec(loss.clone().reshape([1, 1]))[0]);
            finite("loss", of_batch, epoch, step + 1, settings)?;
            let size = batch.len() as f64;
            loss_sum += of_batch * size;
            absolute += f64::from(to_vec(difference.abs().mean().reshape([1, 1]))[0]) * size;
            n += size;
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let progress = f64::from(done) / n_steps as f64;
            let rate = settings.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
            network = optimizer.step(rate, network, gradients);
            done += 1;
        }
        let (val_loss, val_mae) = judge(&network.valid(), watched);
        finite("validation loss", val_loss, epoch, order.len().div_ceil(settings.batch_size), settings)?;
        let (fixed_loss, _) = judge(&network.valid(), &fixed);
        let seconds = began.elapsed().as_secs_f64();
        let row = Epoch { epoch, loss: loss_sum / n, val_loss, mae: absolute / n, val_mae, fixed_loss, seconds };
        on_epoch(&row);
        epochs.push(row);
    }
    let weights = network.valid().weights(config);
    Ok(Mixed { weights, mean: pool.mean.clone(), deviation: pool.deviation.clone(), epochs })
}

fn finite(which: &'static str, value: f64, epoch: usize, step: usize, settings: &Settings) -> Result<(), Error> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::NotFinite { which, value, epoch, step, learning_rate: settings.learning_rate })
}

/// The network's outputs, `[windows, horizon, candidates + 1]`.
pub fn forecast_mixture(mixed: &Mixed, batch: &Batch) -> Vec<f32> {
    let device = Device::flex();
    let network = Mixture::from_weights(&mixed.weights, &device);
    let mut statics = batch.statics.clone();
    standardise(&mut statics, &mixed.mean, &mixed.deviation);
    let n = batch.paces.len();
    if n == 0 {
        return Vec::new();
    }
    let (width, steps) = (mixed.mean.len(), batch.sequence.len() / n / SEQUENCE_WIDTH);
    let mut out = Vec::with_capacity(n * mixed.weights.config.outputs);
    for begin in (0..n).step_by(super::FORECAST_BATCH) {
        let end = (begin + super::FORECAST_BATCH).min(n);
        let sequence = batch.sequence[begin * steps * SEQUENCE_WIDTH..end * steps * SEQUENCE_WIDTH].to_vec();
        let sequence = TensorData::new(sequence, [end - begin, steps, SEQUENCE_WIDTH]);
        let statics = TensorData::new(statics[begin * width..end * width].to_vec(), [end - begin, width]);
        let (sequence, statics) = (Tensor::from_data(sequence, &device), Tensor::from_data(statics, &device));
        out.extend(to_vec(network.forward(sequence, statics, None)));
    }
    out
}

/// Loss and mean absolute error without noise or dropout.
fn judge(network: &Mixture, pool: &Pool) -> (f64, f64) {
    let device = Device::flex();
    let (mut loss, mut absolute) = (0.0, 0.0);
    let all: Vec<usize> = (0..pool.n).collect();
    for batch in all.chunks(super::FORECAST_BATCH) {
        let examples = Examples::of(pool, batch);
        let difference = to_vec(examples.difference(network, &device));
        for (difference, weight) in difference.iter().zip(&examples.weight) {
            loss += f64::from(difference.abs() * weight);
            absolute += f64::from(difference.abs());
        }
    }
    let n = (pool.n * pool.horizon).max(1) as f64;
    (loss / n, absolute / n)
}

/// Some examples of a pool, copied out; shapes as there.
struct Examples {
    n: usize,
    steps: usize,
    horizon: usize,
    sequence: Vec<f32>,
    statics: Vec<f32>,
    candidates: Vec<f32>,
    truth: Vec<f32>,
    count: Vec<f32>,
    weight: Vec<f32>,
    mask: Option<Vec<f32>>,
}

impl Examples {
    fn of(pool: &Pool, indices: &[usize]) -> Self {
        let copy = |from: &[f32], width: usize| -> Vec<f32> {
            indices.iter().flat_map(|&k| from[k * width..(k + 1) * width].iter().copied()).collect()
        };
        let h = pool.horizon;
        Self {
            n: indices.len(),
            steps: pool.steps,
            horizon: h,
            sequence: copy(&pool.sequence, pool.steps * SEQUENCE_WIDTH),
            statics: copy(&pool.statics, pool.mean.len()),
            candidates: copy(&pool.candidates, h * CANDIDATES),
            truth: copy(&pool.truth, h),
            count: copy(&pool.count, h),
            weight: copy(&pool.weight, h),
            mask: None,
        }
    }

    /// Blurs the truth by up to half a count, adds noise to what is seen, and draws what is dropped.
    fn disturb(&mut self, random: &mut ChaCha8Rng, dropout: f32, hidden: usize) {
        for (truth, count) in self.truth.iter_mut().zip(&self.count) {
            *truth += random.random_range(-0.5f32..0.5) * count;
        }
        add_noise(&mut self.sequence, random);
        add_noise(&mut self.statics, random);
        let keep = 1.0 / (1.0 - dropout);
        let width = self.n * hidden + self.statics.len();
        self.mask = (dropout > 0.0)
            .then(|| (0..width).map(|_| if random.random::<f32>() < dropout { 0.0 } else { keep }).collect());
    }

    fn tensor(&self, values: &[f32], width: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [self.n, width]), device)
    }

    /// Forecast minus truth, `[n, horizon]`, in units.
    fn difference(&self, network: &Mixture, device: &Device) -> Tensor<2> {
        let (n, h) = (self.n, self.horizon);
        let sequence = TensorData::new(self.sequence.clone(), [n, self.steps, SEQUENCE_WIDTH]);
        let statics = self.tensor(&self.statics, self.statics.len() / n, device);
        let mask = self.mask.as_ref().map(|mask| self.tensor(mask, mask.len() / n, device));
        let outputs = network.forward(Tensor::from_data(sequence, device), statics, mask);
        let outputs: Tensor<2> = outputs.reshape([n * h, CANDIDATES + 1]);
        let logits = outputs.clone().narrow(1, 0, CANDIDATES);
        let prior = Tensor::<2>::from_data(TensorData::new(PRIOR.to_vec(), [1, CANDIDATES]), device);
        let weights = softmax(logits + prior, 1);
        let candidates: Tensor<2> =
            Tensor::from_data(TensorData::new(self.candidates.clone(), [n * h, CANDIDATES]), device);
        let mixed = (weights * candidates).sum_dim(1); // [n * horizon, 1]
        let stretch = (tanh(outputs.narrow(1, CANDIDATES, 1)) * STRETCH).exp();
        (mixed * stretch).reshape([n, h]) - self.tensor(&self.truth, h, device)
    }
}

fn add_noise(values: &mut [f32], random: &mut impl Rng) {
    for value in values {
        let noise: f32 = random.sample(StandardNormal);
        *value += NOISE * noise;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Candidates of which the second one is always right.
    fn pool(n: usize) -> Pool {
        let mut random = stream(5, 0);
        let mut pool = Pool { n, steps: 4, horizon: 2, mean: vec![0.0; 2], deviation: vec![1.0; 2], ..Pool::default() };
        for _ in 0..n {
            pool.sequence.extend((0..12).map(|_| random.random_range(-1.0f32..1.0)));
            pool.statics.extend((0..2).map(|_| random.random_range(-1.0f32..1.0)));
            for _ in 0..2 {
                let candidates: Vec<f32> = (0..CANDIDATES).map(|_| random.random_range(0.0f32..2.0)).collect();
                pool.truth.push(candidates[1]);
                pool.candidates.extend(candidates);
                pool.count.push(0.01);
                pool.weight.push(1.0);
            }
        }
        pool
    }

    #[test]
    fn the_candidate_that_is_right_is_found_and_the_same_seed_gives_the_same_network() {
        let settings = Settings {
            hidden: 4,
            dense: 8,
            dropout: 0.1,
            loss: crate::model::Loss::Mae,
            epochs: 10,
            batch_size: 32,
            learning_rate: 0.02,
            patience: 1,
            seed: 3,
        };
        let (pool, watched) = (pool(600), pool(100));
        let go = || train_mixture(&pool, &watched, &settings, &AtomicBool::new(false), |_| ()).expect("trained");
        let mixed = go();
        let (first, last) = (&mixed.epochs[0], &mixed.epochs[9]);
        assert!(last.val_loss < 0.3 * first.val_loss, "{} after {}", last.val_loss, first.val_loss);
        assert_eq!(mixed.weights, go().weights);
        let stopped = train_mixture(&pool, &watched, &settings, &AtomicBool::new(true), |_| ());
        assert_eq!(stopped.err(), Some(Error::Stopped { epoch: 1 }));
    }
}
