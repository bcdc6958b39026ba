//! Training: windows and settings go in, the best network and the history of its epochs come out.
//!
//! Data, settings and seed determine the weights bit for bit. Never knows what the windows mean, nor what becomes of
//! the network.

mod early_stop;
mod mixture;

pub use mixture::{Mixed, forecast_mixture, train_mixture};

use crate::model::{Config, Dropout, Network};
use crate::recipe::Windows;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use early_stop::EarlyStop;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Windows a forward pass without gradients takes at once; changes nothing but speed and memory.
const FORECAST_BATCH: usize = 512;

/// Streams of the seed for what is drawn once; the masks of dropout count theirs from 0.
const STREAM_WEIGHTS: u64 = u64::MAX;
const STREAM_SHUFFLE: u64 = u64::MAX - 1;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Units of each LSTM layer.
    pub hidden: usize,
    /// Units of the dense layer.
    pub dense: usize,
    /// Share of outputs dropped after each LSTM layer.
    pub dropout: f64,
    /// Epochs at most.
    pub epochs: usize,
    /// Windows a step of the optimiser sees.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Epochs without a better validation loss before stopping.
    pub patience: usize,
    /// Determines initial weights, order of windows and dropout.
    pub seed: u64,
}

/// One epoch, as it stands in `history.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean squared error over the epoch's batches as they were trained, dropout on (as Keras reports it).
    pub loss: f64,
    /// Mean squared error on the validation windows after the epoch, dropout off.
    pub val_loss: f64,
    /// Mean absolute error, taken like `loss`.
    pub mae: f64,
    /// Mean absolute error, taken like `val_loss`.
    pub val_mae: f64,
    /// Wall time of training and validation.
    pub seconds: f64,
}

/// What a training leaves.
#[derive(Debug)]
pub struct Trained {
    /// The network of the best epoch.
    pub network: Network,
    /// Every epoch trained.
    pub epochs: Vec<Epoch>,
    /// The epoch the weights are from, counted from 1.
    pub best_epoch: usize,
}

/// Why a training ended without a network.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// The loss left the numbers; going on would only spread it.
    #[error(
        "the {which} is {value} at epoch {epoch}, step {step}; the data or the learning rate ({learning_rate}) \
         make the network diverge, so look at the newest rows or lower `retrain.learning_rate`"
    )]
    NotFinite {
        /// `loss` or `validation loss`.
        which: &'static str,
        /// Not a number, or infinite.
        value: f64,
        /// Counted from 1.
        epoch: usize,
        /// Step within the epoch, counted from 1; for the validation loss the last.
        step: usize,
        /// As set.
        learning_rate: f64,
    },
    /// Somebody asked it to stop.
    #[error("stopped in epoch {epoch}")]
    Stopped {
        /// Counted from 1.
        epoch: usize,
    },
}

/// Trains a fresh network; calls `on_epoch` after each epoch and looks at `stop` before every step.
pub fn train(
    train: &Windows<'_>,
    validation: &Windows<'_>,
    settings: &Settings,
    stop: &AtomicBool,
    mut on_epoch: impl FnMut(&Epoch),
) -> Result<Trained, Error> {
    let device = Device::flex().autodiff();
    let config = Config { features: train.width(), hidden: settings.hidden, dense: settings.dense };
    let mut network = Network::new(config, &mut stream(settings.seed, STREAM_WEIGHTS), &device);
    // Keras's epsilon. Burn adds it to the root of the corrected second moment, Keras to that of the raw one: apart by
    // less than one part in a thousand in the first steps, and by nothing that could be measured later.
    let mut optimizer = AdamConfig::new().with_epsilon(1e-7).init();
    let mut shuffle = stream(settings.seed, STREAM_SHUFFLE);
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut early_stop = EarlyStop::new(settings.patience);
    let mut best = network.valid();
    let mut epochs = Vec::new();
    let mut n_steps = 0;

    for epoch in 1..=settings.epochs {
        let began = Instant::now();
        order.shuffle(&mut shuffle);
        let mut errors = Errors::default();
        for (step, batch) in order.chunks(settings.batch_size).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped { epoch });
            }
            let (windows, truth) = gather(train, batch, &device);
            let dropout = Dropout { rate: settings.dropout as f32, seed: settings.seed, stream: n_steps };
            let difference = network.forward(windows, (settings.dropout > 0.0).then_some(dropout)) - truth;
            let of_batch = Errors::of(&to_vec(difference.clone()));
            finite("loss", of_batch.mse(), epoch, step + 1, settings)?;
            errors.add(of_batch);
            let gradients = difference.clone().mul(difference).mean().backward();
            let gradients = GradientsParams::from_grads(gradients, &network);
            network = optimizer.step(settings.learning_rate, network, gradients);
            n_steps += 1;
        }
        let valid = network.valid();
        let val = validate(&valid, validation);
        finite("validation loss", val.mse(), epoch, order.len().div_ceil(settings.batch_size), settings)?;
        let row = Epoch {
            epoch,
            loss: errors.mse(),
            val_loss: val.mse(),
            mae: errors.mae(),
            val_mae: val.mae(),
            seconds: began.elapsed().as_secs_f64(),
        };
        on_epoch(&row);
        epochs.push(row);
        if early_stop.is_better(epoch, row.val_loss) {
            best = valid;
        }
        if early_stop.is_over(epoch) {
            break;
        }
    }
    Ok(Trained { network: best, epochs, best_epoch: early_stop.best_epoch() })
}

/// The network's outputs for all `windows`, scaled, dropout off.
pub fn forecast(network: &Network, windows: &Windows<'_>) -> Vec<f32> {
    let mut out = Vec::with_capacity(windows.len() * windows.outputs());
    for begin in (0..windows.len()).step_by(FORECAST_BATCH) {
        let batch = windows.batch(begin..(begin + FORECAST_BATCH).min(windows.len()));
        out.extend(forecast_batch(network, &batch, windows.steps(), windows.width()));
    }
    out
}

/// The same for windows that are copied out already, `[windows, steps, width]`.
pub fn forecast_batch(network: &Network, windows: &[f32], steps: usize, width: usize) -> Vec<f32> {
    let device = network.devices().into_iter().next().unwrap_or_else(Device::flex);
    let shape = [windows.len() / (steps * width), steps, width];
    to_vec(network.forward(Tensor::from_data(TensorData::new(windows.to_vec(), shape), &device), None))
}

fn validate(network: &Network, windows: &Windows<'_>) -> Errors {
    let forecasts = forecast(network, windows);
    let mut truth = Vec::with_capacity(forecasts.len());
    (0..windows.len()).for_each(|k| windows.copy_truth(k, &mut truth));
    let differences: Vec<f32> = forecasts.iter().zip(&truth).map(|(f, truth)| f - truth).collect();
    Errors::of(&differences)
}

/// One batch: windows `[batch, steps, features]` and their targets `[batch, outputs]`.
fn gather(windows: &Windows<'_>, indices: &[usize], device: &Device) -> (Tensor<3>, Tensor<2>) {
    let mut values = Vec::with_capacity(indices.len() * windows.steps() * windows.width());
    let mut truth = Vec::with_capacity(indices.len());
    for &index in indices {
        windows.copy_to(index, &mut values);
        windows.copy_truth(index, &mut truth);
    }
    let shape = [indices.len(), windows.steps(), windows.width()];
    (
        Tensor::from_data(TensorData::new(values, shape), device),
        Tensor::from_data(TensorData::new(truth, [indices.len(), windows.outputs()]), device),
    )
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

fn to_vec(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("the network computes in f32")
}

fn finite(which: &'static str, value: f64, epoch: usize, step: usize, settings: &Settings) -> Result<(), Error> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::NotFinite { which, value, epoch, step, learning_rate: settings.learning_rate })
}

/// Sums of errors, in 64 bits.
#[derive(Clone, Copy, Default)]
struct Errors {
    n: usize,
    absolute: f64,
    squared: f64,
}

impl Errors {
    fn of(differences: &[f32]) -> Self {
        differences.iter().fold(Self::default(), |sum, &d| {
            let d = f64::from(d);
            Self { n: sum.n + 1, absolute: sum.absolute + d.abs(), squared: sum.squared + d * d }
        })
    }

    fn add(&mut self, other: Self) {
        self.n += other.n;
        self.absolute += other.absolute;
        self.squared += other.squared;
    }

    fn mse(self) -> f64 {
        self.squared / self.n as f64
    }

    fn mae(self) -> f64 {
        self.absolute / self.n as f64
    }
}
