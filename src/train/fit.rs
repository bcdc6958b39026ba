//! The arithmetic of a training on all its threads: batches to steps, windows to errors.
//!
//! A batch is cut into chunks by its size alone, and gradients are summed in the chunks' order: the number of threads
//! changes no bit. Every buffer is made once.

use super::crew::{self, Crew};
use super::{Adam, Examples};
use crate::model::{Chunk, Config, Dropout, Errors, Loss, Packed};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// More chunks than this would not help any host this is made for.
const MAX_CHUNKS: usize = 16;
/// Fewer windows than this leave part of a processor's registers empty.
const MIN_ROWS: usize = 16;
/// Windows judged as one task, at least; more where there would be too many tasks.
const BLOCK: usize = 32;
const MAX_BLOCKS: usize = 4096;

/// Threads that a training can make use of.
pub(super) const MAX_THREADS: usize = MAX_CHUNKS;

/// How a step turns out: what it needs besides the windows.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) learning_rate: f64,
    /// Rate and seed; none without dropout.
    pub(super) dropout: Option<(f32, u64)>,
    /// Which step of the training it is: decides the masks.
    pub(super) number: u64,
}

/// What all threads of a training see.
pub(super) struct Fit<'a, E> {
    train: &'a E,
    validation: &'a E,
    loss: &'a Loss,
    /// Those of the call at work.
    parameters: RwLock<Parameters>,
    /// One a thread: what it writes stays in its processor's caches.
    desks: Vec<Mutex<Desk>>,
    /// What became of each chunk of a batch.
    parts: Vec<Mutex<Part>>,
    /// Errors of each block of windows judged.
    blocks: Vec<Mutex<Errors>>,
    order: RwLock<Vec<u32>>,
    task: RwLock<Task>,
    /// Windows of each chunk but a batch's last; from the batch size alone.
    rows: usize,
}

/// Lent by the training while the crew works on a call.
#[derive(Default)]
struct Parameters {
    values: Vec<f32>,
    /// Counts their changes.
    change: u64,
}

/// What one thread works with.
struct Desk {
    /// Of its own: packing again is faster than fetching from another processor's caches what was packed there.
    packed: Packed,
    /// The change of the parameters that is packed.
    change: u64,
    chunk: Chunk,
    window: Vec<f32>,
    truth: Vec<f32>,
}

/// A chunk's share of a step.
struct Part {
    gradient: Vec<f32>,
    errors: Errors,
}

#[derive(Clone)]
enum Task {
    /// Windows `order[range]`.
    Step { range: Range<usize>, step: Step },
    /// Every `stride`th window of one side, in blocks of `block`.
    Judge { validation: bool, n: usize, stride: usize, block: usize },
}

impl<'a, E: Examples> Fit<'a, E> {
    pub(super) fn new(
        config: Config,
        [train, validation]: [&'a E; 2],
        loss: &'a Loss,
        batch_size: usize,
        threads: usize,
        parameters: &[f32],
    ) -> Self {
        let (rows, n_chunks) = division(batch_size.min(train.len()));
        let packed = Packed::new(config, parameters);
        let desk = || Desk {
            packed: packed.clone(),
            change: 0,
            chunk: Chunk::new(config, train.steps(), train.truths(), rows),
            window: Vec::with_capacity(train.steps() * train.width()),
            truth: Vec::with_capacity(train.truths()),
        };
        let part = || Part { gradient: vec![0.0; config.n_parameters()], errors: Errors::default() };
        Self {
            train,
            validation,
            loss,
            parameters: RwLock::default(),
            desks: (0..threads).map(|_| Mutex::new(desk())).collect(),
            parts: (0..n_chunks).map(|_| Mutex::new(part())).collect(),
            blocks: (0..MAX_BLOCKS.min(validation.len().max(train.len()).div_ceil(BLOCK)))
                .map(|_| Mutex::default())
                .collect(),
            order: RwLock::new((0..train.len() as u32).collect()),
            task: RwLock::new(Task::Judge { validation: true, n: 0, stride: 1, block: 1 }),
            rows,
        }
    }

    /// Calls `body` with everything it needs to step and to judge.
    pub(super) fn with_crew<R>(&self, threads: usize, body: impl FnOnce(&mut Worker<'_, '_, 'a, E>) -> R) -> R {
        let shared = crew::Shared::default();
        crew::with(threads, &shared, &|thread, number| self.work(thread, number), |crew| {
            body(&mut Worker { fit: self, crew })
        })
    }

    /// What a thread of the crew does with a number.
    fn work(&self, thread: usize, number: usize) {
        let task = read(&self.task);
        let mut desk = lock(&self.desks[thread]);
        let Desk { packed, change, chunk, window, truth } = &mut *desk;
        let parameters = read(&self.parameters);
        if *change != parameters.change {
            packed.pack(&parameters.values);
            *change = parameters.change;
        }
        match &*task {
            Task::Step { range, step } => {
                let begin = range.start + number * self.rows;
                let part = begin..(begin + self.rows).min(range.end);
                chunk.begin(part.len());
                let order = read(&self.order);
                for (row, &index) in order[part].iter().enumerate() {
                    fill(self.train, index as usize, window, truth);
                    chunk.set(row, window, truth);
                }
                let stream = step.number * MAX_CHUNKS as u64 + number as u64;
                let dropout = step.dropout.map(|(rate, seed)| Dropout { rate, seed, stream });
                let mut part = lock(&self.parts[number]);
                let Part { gradient, errors } = &mut *part;
                *errors = chunk.train(packed, self.loss, range.len(), dropout, gradient);
            }
            Task::Judge { validation, n, stride, block } => {
                let windows = if *validation { self.validation } else { self.train };
                let mut errors = Errors::default();
                let end = ((number + 1) * block).min(*n);
                for begin in (number * block..end).step_by(MIN_ROWS) {
                    let part = begin..(begin + MIN_ROWS).min(end);
                    chunk.begin(part.len());
                    for (row, index) in part.enumerate() {
                        fill(windows, index * stride, window, truth);
                        chunk.set(row, window, truth);
                    }
                    errors.add(chunk.judge(packed, self.loss));
                }
                *lock(&self.blocks[number]) = errors;
            }
        }
    }
}

/// Windows of a chunk, from the batch's size alone, and how many chunks there are.
fn division(batch: usize) -> (usize, usize) {
    let rows = batch.div_ceil(MAX_CHUNKS).next_multiple_of(MIN_ROWS);
    (rows, batch.div_ceil(rows))
}

/// Memory of a training beside its windows: buffers, parameters and their moments, the order. Unit: bytes.
pub(super) fn bytes(config: Config, steps: usize, truths: usize, windows: usize, batch: usize, threads: usize) -> u64 {
    let (rows, n_chunks) = division(batch.min(windows));
    let parameters = 4 * config.n_parameters() as u64;
    let threads = threads.min(MAX_THREADS) as u64;
    // packed twice
    threads * (Chunk::bytes(config, steps, truths, rows) + 2 * parameters)
        // themselves, two moments, the best, each chunk's gradient
        + (4 + n_chunks as u64) * parameters
        + 4 * windows as u64
}

/// All numbers below `order.len()` in an order that depends on `random` alone.
pub(super) fn shuffle(order: &mut [u32], random: &mut ChaCha8Rng) {
    order.iter_mut().zip(0..).for_each(|(place, index)| *place = index);
    order.shuffle(random);
}

fn fill<E: Examples>(windows: &E, index: usize, window: &mut Vec<f32>, truth: &mut Vec<f32>) {
    window.clear();
    truth.clear();
    windows.window(index, window);
    windows.truth(index, truth);
}

/// A crew at work on a training.
pub(super) struct Worker<'w, 'crew, 'a, E> {
    fit: &'w Fit<'a, E>,
    crew: &'w mut Crew<'crew>,
}

impl<E: Examples> Worker<'_, '_, '_, E> {
    pub(super) fn set_threads(&mut self, threads: usize) {
        self.crew.set_threads(threads.min(MAX_THREADS));
    }

    /// Training windows there are.
    pub(super) fn windows(&self) -> usize {
        self.fit.train.len()
    }

    /// Puts the training windows in an order that depends on `random` alone.
    pub(super) fn set_order(&mut self, random: &mut ChaCha8Rng) {
        shuffle(&mut write(&self.fit.order), random);
    }

    /// One step of the optimiser on windows `range` of the order. The parameters are moved only where the loss is finite.
    pub(super) fn step(
        &mut self,
        range: Range<usize>,
        step: Step,
        parameters: &mut Vec<f32>,
        adam: &mut Adam,
    ) -> Errors {
        let fit = self.fit;
        let n = range.len().div_ceil(fit.rows);
        self.run(n, Task::Step { range, step }, parameters);
        let parts: [Option<MutexGuard<'_, Part>>; MAX_CHUNKS] =
            std::array::from_fn(|k| (k < n).then(|| lock(&fit.parts[k])));
        let mut errors = Errors::default();
        let mut gradients: [&[f32]; MAX_CHUNKS] = [&[]; MAX_CHUNKS];
        for (part, gradient) in parts.iter().flatten().zip(&mut gradients) {
            errors.add(part.errors);
            *gradient = &part.gradient;
        }
        if errors.loss.is_finite() {
            adam.step(step.learning_rate, parameters, &gradients[..n]);
            write(&fit.parameters).change += 1;
        }
        errors
    }

    /// Errors on the validation windows, dropout off.
    pub(super) fn validate(&mut self, parameters: &mut Vec<f32>) -> Errors {
        self.judge(true, self.fit.validation.len(), 1, parameters)
    }

    /// Errors on `n` training windows, always the same, spread over all of them; dropout off.
    pub(super) fn judge_training(&mut self, n: usize, parameters: &mut Vec<f32>) -> Errors {
        self.judge(false, n, self.fit.train.len() / n, parameters)
    }

    fn judge(&mut self, validation: bool, n: usize, stride: usize, parameters: &mut Vec<f32>) -> Errors {
        let block = BLOCK.max(n.div_ceil(MAX_BLOCKS));
        let blocks = n.div_ceil(block);
        self.run(blocks, Task::Judge { validation, n, stride, block }, parameters);
        self.fit.blocks[..blocks].iter().fold(Errors::default(), |mut sum, block| {
            sum.add(*lock(block));
            sum
        })
    }

    /// Has the crew do `n` parts of a task with these parameters.
    fn run(&mut self, n: usize, task: Task, parameters: &mut Vec<f32>) {
        *write(&self.fit.task) = task;
        write(&self.fit.parameters).values = std::mem::take(parameters);
        self.crew.run(n);
        *parameters = std::mem::take(&mut write(&self.fit.parameters).values);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
