//! Training of the mixture network on a pool of windows.
//!
//! The loss is what the forecast is judged by: the absolute error in counts, divided by that of the best naive forecast
//! around. Counts are whole numbers, so the truth is blurred by up to half a count. The learning rate falls to 0 along a
//! cosine, and the last weights are taken: nothing is chosen by the windows that judge.

use super::adam::Adam;
use super::checkpoint::{Checkpoint, Rhythm, State};
use super::{Epoch, Error, Progress, Saving, Settings, stream, to_vec};
use crate::model::Errors;
use crate::model::{Mixture, MixtureConfig, MixtureWeights};
use crate::recipe::{Batch, CANDIDATES, PRIOR, Pool, SEQUENCE_WIDTH, STRETCH, standardise};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const WEIGHT_DECAY: f64 = 0.001;
/// Norm that the gradient of one vector of parameters has at most.
const LARGEST_GRADIENT: f32 = 1.0;
/// Standard deviation of what is added to standardised features and to the sequence.
const NOISE: f32 = 0.1;
/// The first step's noise; the others' come from the streams above it. No epoch's order has a stream as low.
const STREAM_NOISE: u64 = u64::MAX / 2;
/// Examples whose loss is taken without noise after each epoch, to be compared with the validation loss.
const FIXED: usize = 512;

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

/// Trains a network, a fresh one or the checkpoint's; tells `tell` of it and looks at `stop` before every step. Stopping
/// leaves a checkpoint, and so does the end: other models of the run may still ask for the network after a crash.
///
/// `watched` examples, which are not trained on, give `val_loss`; it decides nothing.
pub fn train_mixture(
    pool: &Pool,
    watched: &Pool,
    settings: &Settings,
    stop: &AtomicBool,
    checkpoint: Option<&Checkpoint>,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Mixed, Error> {
    let config = mixture_config(pool, settings);
    let mut state = super::begin(config.n_parameters(), checkpoint, &mut tell, || {
        MixtureWeights::new(config, &mut stream(settings.seed, super::STREAM_WEIGHTS)).to_flat()
    });
    let fixed = pool.sample(FIXED);
    let mut rhythm = Rhythm::new();
    while state.epochs.len() < settings.epochs {
        let saving = Saving { checkpoint, rhythm: &mut rhythm };
        let (began, before) = (Instant::now(), state.spent);
        let epoch = state.epochs.len() + 1;
        let mut order: Vec<usize> = (0..pool.n).collect();
        order.shuffle(&mut stream(settings.seed, super::STREAM_ORDER - epoch as u64));
        super::go_through(&mut state, pool.n, settings.batch_size, stop, saving, &mut tell, |state, range| {
            step(pool, config, settings, &order[range.clone()], range.end, state)
        })?;
        let network = Mixture::from_weights(&MixtureWeights::from_flat(config, &state.parameters), &Device::flex());
        let (val_loss, val_mae) = judge(&network, watched);
        finite("validation loss", val_loss, epoch, pool.n.div_ceil(settings.batch_size), settings)?;
        let (fixed_loss, _) = judge(&network, &fixed);
        let (loss, mae) = (state.errors.mean_loss(), state.errors.mae());
        let seconds = (before + began.elapsed()).as_secs_f64();
        let row = Epoch { epoch, loss, val_loss, mae, val_mae, fixed_loss, seconds };
        (state.position, state.errors, state.spent) = (0, Errors::default(), Duration::ZERO);
        state.epochs.push(row);
        tell(Progress::Epoch(&row));
        if rhythm.is_due() || state.epochs.len() == settings.epochs {
            (Saving { checkpoint, rhythm: &mut rhythm }).save(&state, &mut tell);
        }
    }
    let weights = MixtureWeights::from_flat(config, &state.parameters);
    Ok(Mixed { weights, mean: pool.mean.clone(), deviation: pool.deviation.clone(), epochs: state.epochs })
}

/// One step on the examples `batch`, which end at place `end` of the epoch's order.
fn step(
    pool: &Pool,
    config: MixtureConfig,
    settings: &Settings,
    batch: &[usize],
    end: usize,
    state: &mut State,
) -> Result<Errors, Error> {
    let device = Device::flex().autodiff();
    let n_steps = settings.epochs * pool.n.div_ceil(settings.batch_size);
    let done = state.adam.steps;
    let mut examples = Examples::of(pool, batch);
    examples.disturb(&mut stream(settings.seed, STREAM_NOISE + done), settings.dropout as f32, config.hidden);
    let network = Mixture::from_weights(&MixtureWeights::from_flat(config, &state.parameters), &device);
    let difference = examples.difference(&network, &device);
    let weights = examples.tensor(&examples.weight, pool.horizon, &device);
    let loss = (difference.clone().abs() * weights).mean();
    let of_batch = f64::from(to_vec(loss.clone().reshape([1, 1]))[0]);
    finite("loss", of_batch, state.epochs.len() + 1, end.div_ceil(settings.batch_size), settings)?;
    let absolute = f64::from(to_vec(difference.abs().mean().reshape([1, 1]))[0]);
    let progress = done as f64 / n_steps as f64;
    let rate = settings.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    descend(rate, &mut state.parameters, &mut state.adam, network.gradients(&loss.backward()));
    let n = batch.len();
    Ok(Errors { n, loss: of_batch * n as f64, n_absolute: n, absolute: absolute * n as f64 })
}

/// Adam with decoupled weight decay, each vector's gradient cut to [`LARGEST_GRADIENT`].
fn descend(rate: f64, parameters: &mut [f32], adam: &mut Adam, mut gradients: Vec<Vec<f32>>) {
    for gradient in &mut gradients {
        let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        if norm > LARGEST_GRADIENT {
            gradient.iter_mut().for_each(|g| *g *= LARGEST_GRADIENT / norm);
        }
    }
    let kept = (1.0 - rate * WEIGHT_DECAY) as f32;
    parameters.iter_mut().for_each(|parameter| *parameter *= kept);
    adam.step(rate, parameters, &[&gradients.concat()]);
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
    use std::sync::atomic::Ordering;

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

    fn settings() -> Settings {
        Settings {
            hidden: 4,
            dense: 8,
            dropout: 0.1,
            loss: crate::model::Loss::Mae,
            epochs: 10,
            batch_size: 32,
            learning_rate: 0.02,
            patience: 1,
            seed: 3,
        }
    }

    #[test]
    fn the_candidate_that_is_right_is_found_and_the_same_seed_gives_the_same_network() {
        let settings = settings();
        let (pool, watched) = (pool(600), pool(100));
        let go = |stop: bool, checkpoint: Option<&Checkpoint>| {
            train_mixture(&pool, &watched, &settings, &AtomicBool::new(stop), checkpoint, |_| ())
        };
        let mixed = go(false, None).expect("trained");
        let (first, last) = (&mixed.epochs[0], &mixed.epochs[9]);
        assert!(last.val_loss < 0.3 * first.val_loss, "{} after {}", last.val_loss, first.val_loss);
        assert_eq!(mixed.weights, go(false, None).expect("trained").weights);
        let stopped = go(true, None);
        assert_eq!(stopped.err(), Some(Error::Stopped { epoch: 1 }));
    }

    #[test]
    fn an_interruption_anywhere_changes_no_bit() {
        let settings = Settings { epochs: 3, ..settings() };
        let (pool, watched) = (pool(200), pool(50));
        let whole = train_mixture(&pool, &watched, &settings, &AtomicBool::new(false), None, |_| ()).expect("trained");
        let dir = tempfile::tempdir().expect("a directory");
        let checkpoint = crate::train::tests::checkpoint(dir.path());
        // seven steps an epoch; the signal comes later in each attempt
        let mut attempts = 0;
        let mixed = loop {
            attempts += 1;
            let stop = AtomicBool::new(false);
            let mut rows = 0;
            let trained = train_mixture(&pool, &watched, &settings, &stop, Some(&checkpoint), |progress| {
                rows += usize::from(matches!(progress, Progress::Epoch(_)));
                stop.store(rows == 1, Ordering::Relaxed);
            });
            match trained {
                Ok(mixed) => break mixed,
                Err(error) => assert!(matches!(error, Error::Stopped { .. }), "{error}"),
            }
            assert!(attempts < 10, "it does not get on");
        };
        assert_eq!((attempts, mixed.weights), (3, whole.weights));
        let losses = |epochs: &[Epoch]| epochs.iter().map(|e| (e.loss, e.val_loss)).collect::<Vec<_>>();
        assert_eq!(losses(&mixed.epochs), losses(&whole.epochs));
    }
}
