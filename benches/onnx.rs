//! ONNX Runtime: forecasts of many windows and of one, `cargo bench --bench onnx`.

#[path = "../tests/support/onnxruntime.rs"]
mod onnxruntime;

use burn::tensor::Device;
use divan::Bencher;
use divan::counter::ItemsCount;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retraind::data::{Target, sample};
use retraind::export::{self, Description};
use retraind::grid::{Grid, Settings};
use retraind::model::{Config, Network};
use retraind::recipe::{FEATURES, Options, Prepared, Recipe, STEPS};
use retraind::runtime::Session;

fn main() {
    divan::main();
}

/// The reference network, untrained: values do not change the time.
fn session(threads: usize) -> Session {
    let config = Config { features: FEATURES.len(), hidden: 50, dense: 25, outputs: 1 };
    let network = Network::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::flex());
    let description = Description {
        target: "views".to_owned(),
        recipe: "level".to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
        steps: STEPS,
        training_data_version: String::new(),
    };
    let model = export::to_onnx(&network.weights(), &description);
    Session::open(&onnxruntime::onnxruntime(), &model, threads).expect("a session")
}

fn prepared() -> Prepared {
    Recipe::Level.prepare(sample(0), &Settings::of(Grid::AsRecorded), &Options::default()).expect("windows")
}

/// All windows of the sample, from the arena, as judging takes them.
#[divan::bench(sample_count = 10, sample_size = 1, args = [1, 2])]
fn batches(bencher: Bencher<'_, '_>, threads: usize) {
    let (prepared, mut session) = (prepared(), session(threads));
    let windows = prepared.train(Target::Views);
    bencher
        .counter(ItemsCount::new(windows.len()))
        .bench_local(|| session.forecast(windows.len(), |range| windows.batch(range)).expect("forecasts"));
}

/// One window, as a service that is asked for one video would.
#[divan::bench(sample_count = 200)]
fn single(bencher: Bencher<'_, '_>) {
    let (prepared, mut session) = (prepared(), session(1));
    let windows = prepared.validation(Target::Views);
    bencher.bench_local(|| session.forecast(1, |range| windows.batch(range)).expect("a forecast"));
}
