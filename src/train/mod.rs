//! Training: windows and settings go in, the best network and the history of its epochs come out.
//!
//! Data, settings and seed determine the weights bit for bit on one kind of processor, whatever the number of threads
//! and however often the training was interrupted. Never knows what the windows mean, nor what becomes of the network.

mod adam;
mod budget;
mod checkpoint;
mod crew;
mod early_stop;
mod fit;
mod mixture;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use checkpoint::{Checkpoint, CheckpointError, Origin, checkpoints, leavings, peek, remove_checkpoints};
pub use mixture::{Mixed, forecast_mixture, mixture_config, train_mixture};

use crate::model::{Config, Errors, Loss, Network, Weights};
use crate::recipe::Windows;
use adam::Adam;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use checkpoint::{Rhythm, State};
use early_stop::EarlyStop;
use fit::{Fit, Step, Worker};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Windows a forward pass through Burn takes at once; changes nothing but speed and memory.
const FORECAST_BATCH: usize = 512;

/// Streams of the seed. The masks of dropout count theirs from 0, the orders of the epochs theirs downwards.
const STREAM_WEIGHTS: u64 = u64::MAX;
const STREAM_ORDER: u64 = u64::MAX - 1;

/// How often somebody who watches hears of an epoch's steps.
const TELL: Duration = Duration::from_millis(100);

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Units of each LSTM layer.
    pub hidden: usize,
    /// Units of the dense layer.
    pub dense: usize,
    /// Share of outputs dropped after each LSTM layer.
    pub dropout: f64,
    /// What is made small.
    pub loss: Loss,
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

/// Training pairs: windows `[steps, width]` and what is true of each, `[truths]`.
pub trait Examples: Sync {
    /// How many there are; at most `u32::MAX`.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Steps a window holds.
    fn steps(&self) -> usize;
    /// Features a step.
    fn width(&self) -> usize;
    /// True values a window has.
    fn truths(&self) -> usize;
    /// Appends window `index` to `into`.
    fn window(&self, index: usize, into: &mut Vec<f32>);
    /// Appends what is true of window `index`.
    fn truth(&self, index: usize, into: &mut Vec<f32>);
}

impl Examples for Windows<'_> {
    fn len(&self) -> usize {
        self.len()
    }

    fn steps(&self) -> usize {
        self.steps()
    }

    fn width(&self) -> usize {
        self.width()
    }

    fn truths(&self) -> usize {
        1
    }

    fn window(&self, index: usize, into: &mut Vec<f32>) {
        self.copy_to(index, into);
    }

    fn truth(&self, index: usize, into: &mut Vec<f32>) {
        self.copy_truth(index, into);
    }
}

/// One epoch, as it stands in `history.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the epoch's batches as they were trained, dropout on (as Keras reports it).
    pub loss: f64,
    /// Mean loss on the validation windows after the epoch, dropout off.
    pub val_loss: f64,
    /// Mean absolute error, taken like `loss`.
    pub mae: f64,
    /// Mean absolute error, taken like `val_loss`.
    pub val_mae: f64,
    /// Mean loss on a fixed sample of the training windows, taken like `val_loss`, so that the two compare.
    pub fixed_loss: f64,
    /// Wall time of training and validation.
    pub seconds: f64,
}

/// What somebody who watches a training hears of it.
#[derive(Debug)]
pub enum Progress<'a> {
    /// It goes on from a checkpoint, in this epoch (counted from 1), so many windows into it.
    Resumed {
        /// Epochs that are over.
        epochs: &'a [Epoch],
        /// Windows of the next epoch trained on.
        windows: usize,
    },
    /// There is a checkpoint that it cannot go on from, so it starts over.
    StartsOver(CheckpointError),
    /// The checkpoint could not be written; the training goes on.
    NotSaved(CheckpointError),
    /// Within an epoch; now and then.
    Windows {
        /// Counted from 1.
        epoch: usize,
        /// Windows trained on so far.
        done: usize,
        /// Of how many.
        of: usize,
        /// Mean loss so far.
        loss: f64,
    },
    /// An epoch ended.
    Epoch(&'a Epoch),
}

/// What a training works under.
#[derive(Clone, Copy)]
pub struct Conditions<'a> {
    /// Looked at before every step.
    pub stop: &'a AtomicBool,
    /// Threads, shared with the trainings beside it.
    pub budget: &'a Budget,
    /// Where it is written down; also where it goes on from, if there is something.
    pub checkpoint: Option<&'a Checkpoint>,
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

/// Trains a network, a fresh one or the checkpoint's, and tells `tell` of it. Stopping leaves a checkpoint.
///
/// The number of threads changes nothing but the speed.
pub fn train<E: Examples>(
    train: &E,
    validation: &E,
    settings: &Settings,
    conditions: Conditions<'_>,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Trained, Error> {
    let config = settings.config(train.width(), train.truths());
    let mut state = begin(config.n_parameters(), conditions.checkpoint, &mut tell, || {
        Weights::new(config, &mut stream(settings.seed, STREAM_WEIGHTS)).to_flat()
    });
    let share = conditions.budget.enter();
    let threads = conditions.budget.threads().min(fit::MAX_THREADS);
    let fit = Fit::new(config, [train, validation], &settings.loss, settings.batch_size, threads, &state.parameters);
    let mut early_stop = EarlyStop::new(settings.patience, state.best_epoch);
    let mut rhythm = Rhythm::new();
    fit.with_crew(threads, |worker| {
        while state.epochs.len() < settings.epochs && !early_stop.is_over(state.epochs.len()) {
            let saving = Saving { checkpoint: conditions.checkpoint, rhythm: &mut rhythm };
            let row = epoch(worker, &mut state, settings, conditions.stop, &share, saving, &mut tell)?;
            state.epochs.push(row);
            tell(Progress::Epoch(&row));
            if early_stop.is_better(row.epoch, row.val_loss) {
                state.best.copy_from_slice(&state.parameters);
                state.best_epoch = Some((row.epoch, row.val_loss));
            }
            if rhythm.is_due() {
                (Saving { checkpoint: conditions.checkpoint, rhythm: &mut rhythm }).save(&state, &mut tell);
            }
        }
        Ok(())
    })?;
    let weights = Weights::from_flat(config, &state.best);
    let network = Network::from_weights(&weights, &Device::flex());
    Ok(Trained { network, epochs: state.epochs, best_epoch: early_stop.best_epoch() })
}

/// Where the checkpoint stands, or a fresh start.
fn begin(
    n_parameters: usize,
    checkpoint: Option<&Checkpoint>,
    tell: &mut impl FnMut(Progress<'_>),
    fresh: impl FnOnce() -> Vec<f32>,
) -> State {
    match checkpoint.map_or(Ok(None), Checkpoint::load) {
        Ok(Some(state)) if state.parameters.len() == n_parameters => {
            tell(Progress::Resumed { epochs: &state.epochs, windows: state.position });
            return state;
        }
        // settings were compared: only a program that counts parameters in another way gets here
        Ok(_) => {}
        Err(error) => tell(Progress::StartsOver(error)),
    }
    let parameters = fresh();
    State {
        best: parameters.clone(),
        adam: Adam::new(parameters.len()),
        parameters,
        best_epoch: None,
        epochs: Vec::new(),
        position: 0,
        errors: Errors::default(),
        spent: Duration::ZERO,
    }
}

/// Goes through the present epoch from where `state` stands.
fn epoch<E: Examples>(
    worker: &mut Worker<'_, '_, '_, E>,
    state: &mut State,
    settings: &Settings,
    stop: &AtomicBool,
    share: &budget::Share<'_>,
    saving: Saving<'_>,
    tell: &mut impl FnMut(Progress<'_>),
) -> Result<Epoch, Error> {
    let (began, before) = (Instant::now(), state.spent);
    let epoch = state.epochs.len() + 1;
    let windows = worker.windows();
    let diverged = |which, value, steps: usize| Error::NotFinite {
        which,
        value,
        epoch,
        step: steps,
        learning_rate: settings.learning_rate,
    };
    // each epoch's order comes from a stream of its own, so that none has to be written down
    worker.set_order(&mut stream(settings.seed, STREAM_ORDER - epoch as u64));
    go_through(state, windows, settings.batch_size, stop, saving, tell, |state, range| {
        worker.set_threads(share.threads());
        let step = Step {
            learning_rate: settings.learning_rate,
            dropout: (settings.dropout > 0.0).then_some((settings.dropout as f32, settings.seed)),
            number: state.adam.steps,
        };
        let end = range.end;
        let of_batch = worker.step(range, step, &mut state.parameters, &mut state.adam);
        if !of_batch.loss.is_finite() {
            return Err(diverged("loss", of_batch.mean_loss(), end.div_ceil(settings.batch_size)));
        }
        Ok(of_batch)
    })?;
    let val = worker.validate(&mut state.parameters);
    if !val.loss.is_finite() {
        return Err(diverged("validation loss", val.mean_loss(), windows.div_ceil(settings.batch_size)));
    }
    let fixed = worker.judge_training(fixed_sample(windows), &mut state.parameters);
    let row = Epoch {
        epoch,
        loss: state.errors.mean_loss(),
        val_loss: val.mean_loss(),
        mae: state.errors.mae(),
        val_mae: val.mae(),
        fixed_loss: fixed.mean_loss(),
        seconds: (before + began.elapsed()).as_secs_f64(),
    };
    (state.position, state.errors, state.spent) = (0, Errors::default(), Duration::ZERO);
    Ok(row)
}

/// Steps through the present epoch of `n` examples from where `state` stands, and writes it down when it takes long or is
/// to stop. `step` trains on a range of the epoch's order and says the errors on it.
fn go_through(
    state: &mut State,
    n: usize,
    batch_size: usize,
    stop: &AtomicBool,
    mut saving: Saving<'_>,
    tell: &mut impl FnMut(Progress<'_>),
    mut step: impl FnMut(&mut State, Range<usize>) -> Result<Errors, Error>,
) -> Result<(), Error> {
    let (began, before) = (Instant::now(), state.spent);
    let epoch = state.epochs.len() + 1;
    let mut told = began;
    while state.position < n {
        if stop.load(Ordering::Relaxed) {
            state.spent = before + began.elapsed();
            saving.save(state, tell);
            return Err(Error::Stopped { epoch });
        }
        let end = (state.position + batch_size).min(n);
        let of_batch = step(state, state.position..end)?;
        state.errors.add(of_batch);
        state.position = end;
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(Progress::Windows { epoch, done: end, of: n, loss: state.errors.mean_loss() });
            if saving.rhythm.is_overdue() {
                state.spent = before + began.elapsed();
                saving.save(state, tell);
            }
        }
    }
    Ok(())
}

/// Training windows that are judged after each epoch: a 128th of them, which costs about 0.25 % of the epoch, but at
/// least 48 and at most 1,024.
fn fixed_sample(windows: usize) -> usize {
    (windows / 128).clamp(48, 1024).min(windows)
}

/// Writing down where a training stands.
struct Saving<'a> {
    checkpoint: Option<&'a Checkpoint>,
    rhythm: &'a mut Rhythm,
}

impl Saving<'_> {
    fn save(&mut self, state: &State, tell: &mut impl FnMut(Progress<'_>)) {
        let Some(checkpoint) = self.checkpoint else { return };
        let began = Instant::now();
        if let Err(error) = checkpoint.save(state) {
            tell(Progress::NotSaved(error));
        }
        self.rhythm.wrote(began);
    }
}

/// Memory that a training takes beside its windows. Unit: bytes.
///
/// `shape` is a window's `[steps, width]`, `windows` how many there are to train on.
pub fn memory(settings: &Settings, [steps, width]: [usize; 2], truths: usize, windows: usize, threads: usize) -> u64 {
    let config = settings.config(width, truths);
    fit::bytes(config, steps, truths, windows, settings.batch_size, threads)
}

impl Settings {
    /// The network for windows of `width` features and so many true values each.
    pub fn config(&self, width: usize, truths: usize) -> Config {
        let outputs = self.loss.outputs(truths);
        Config { features: width, hidden: self.hidden, dense: self.dense, outputs }
    }
}

/// The network's outputs for all `windows`, scaled, dropout off.
pub fn forecast(network: &Network, windows: &Windows<'_>) -> Vec<f32> {
    let device = network.devices().into_iter().next().unwrap_or_else(Device::flex);
    let mut out = Vec::with_capacity(windows.len());
    for begin in (0..windows.len()).step_by(FORECAST_BATCH) {
        let range = begin..(begin + FORECAST_BATCH).min(windows.len());
        let shape = [range.len(), windows.steps(), windows.width()];
        let batch = Tensor::from_data(TensorData::new(windows.batch(range), shape), &device);
        out.extend(to_vec(network.forward(batch, None)));
    }
    out
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

fn to_vec(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("the network computes in f32")
}
