//! Training: a chunk of the network forward and backward, a step's bookkeeping, whole epochs, the export.

use burn::tensor::{Device, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retraind::data::{Target, sample};
use retraind::export::{self, Description};
use retraind::grid::{self, Grid};
use retraind::model::{Chunk, Config, Dropout, Loss, Network, Packed, Weights};
use retraind::recipe::{FEATURES, Options, Prepared, Recipe, STEPS};
use retraind::train::{self, Budget, Conditions, Examples, Settings};
use std::sync::atomic::AtomicBool;

fn main() {
    divan::main();
}

fn config(hidden: usize) -> Config {
    Config { features: FEATURES.len(), hidden, dense: 25, outputs: 1 }
}

fn weights(config: Config) -> Weights {
    Weights::new(config, &mut ChaCha8Rng::seed_from_u64(0))
}

fn prepared() -> Prepared {
    Recipe::Level.prepare(sample(0), &grid::Settings::of(Grid::AsRecorded), &Options::default()).expect("windows")
}

/// A chunk filled with the first windows of the sample.
fn chunk(config: Config, rows: usize) -> Chunk {
    let prepared = prepared();
    let windows = prepared.train(Target::Views);
    let mut chunk = Chunk::new(config, STEPS, 1, rows);
    chunk.begin(rows);
    for row in 0..rows {
        chunk.set(row, &windows.batch(row..row + 1), &[windows.truth(row, 0) as f32]);
    }
    chunk
}

/// Forward and backward of the whole network on one thread: half a batch of 32, and a chunk of a large one.
#[divan::bench(args = [(50, 16), (50, 32), (256, 32)])]
fn forward_and_backward(bencher: Bencher<'_, '_>, (hidden, rows): (usize, usize)) {
    let config = config(hidden);
    let (mut chunk, packed) = (chunk(config, rows), Packed::new(config, &weights(config).to_flat()));
    let dropout = Some(Dropout { rate: 0.2, seed: 1, stream: 1 });
    // 2 FLOP a weight and step forward, 4 backward, none for the windows' own gradient
    let mut gradient = vec![0.0; config.n_parameters()];
    bencher.counter(ItemsCount::new(rows)).bench_local(|| chunk.train(&packed, &Loss::Mse, 32, dropout, &mut gradient));
}

#[divan::bench(args = [(50, 16), (256, 32)])]
fn forward(bencher: Bencher<'_, '_>, (hidden, rows): (usize, usize)) {
    let config = config(hidden);
    let (mut chunk, packed) = (chunk(config, rows), Packed::new(config, &weights(config).to_flat()));
    bencher.counter(ItemsCount::new(rows)).bench_local(|| chunk.judge(&packed, &Loss::Mse));
}

/// The same network in Burn: each LSTM layer one operation with its own backward, as `increment` trains.
#[divan::bench(args = [(50, 32)])]
fn burn_forward_and_backward(bencher: Bencher<'_, '_>, (hidden, rows): (usize, usize)) {
    let device = Device::flex().autodiff();
    let network = Network::from_weights(&weights(config(hidden)), &device);
    let prepared = prepared();
    let windows = prepared.train(Target::Views).batch(0..rows);
    let windows = TensorData::new(windows, [rows, STEPS, FEATURES.len()]);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let outputs = network.forward(Tensor::from_data(windows.clone(), &device), None);
        outputs.powi_scalar(2).mean().backward()
    });
}

/// Once a step.
#[divan::bench(args = [50, 256])]
fn pack_weights(bencher: Bencher<'_, '_>, hidden: usize) {
    let flat = weights(config(hidden)).to_flat();
    let mut packed = Packed::new(config(hidden), &flat);
    bencher.bench_local(|| packed.pack(black_box(&flat)));
}

/// Two epochs as `level` trains them, windows a second.
#[divan::bench(sample_count = 5, sample_size = 1, args = [(1, 50, 32), (2, 50, 32), (2, 256, 512)])]
fn two_epochs(bencher: Bencher<'_, '_>, (threads, hidden, batch_size): (usize, usize, usize)) {
    let prepared = prepared();
    let (train, validation) = (prepared.train(Target::Views), prepared.validation(Target::Views));
    let settings = Settings {
        hidden,
        dense: 25,
        dropout: 0.2,
        loss: Loss::Mse,
        epochs: 2,
        batch_size,
        learning_rate: 0.001,
        patience: 10,
        seed: 1,
    };
    let (stop, budget) = (AtomicBool::new(false), Budget::new(threads));
    let conditions = Conditions { stop: &stop, budget: &budget, checkpoint: None };
    bencher
        .counter(ItemsCount::new(2 * Examples::len(&train)))
        .bench_local(|| train::train(&train, &validation, &settings, conditions, |_| ()).expect("a network"));
}

#[divan::bench]
fn onnx_export(bencher: Bencher<'_, '_>) {
    let weights = weights(config(50));
    let description = Description {
        target: "views".to_owned(),
        recipe: "level".to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
        steps: STEPS,
        training_data_version: String::new(),
    };
    bencher.bench_local(|| export::to_onnx(&weights, &description));
}
