//! The exported file, read by others: ONNX Runtime, Keras's outputs, `onnx.checker`. Leaves a model behind for
//! `make test-reimport`.

#[path = "support/onnxruntime.rs"]
mod onnxruntime;

use burn::tensor::Device;
use onnxruntime::onnxruntime;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retraind::data::{Series, Target, Video, growth_rate};
use retraind::export::{self, Description};
use retraind::grid::{Grid, Settings};
use retraind::model::{Config, DenseWeights, Loss, LstmWeights, Network, Weights};
use retraind::recipe::{FEATURES, Options, Recipe, STEPS, Windows};
use retraind::runtime::{Input, Session};
use retraind::train;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::{Path, PathBuf};
use std::process::Command;

const REFERENCE: Config = Config { features: 6, hidden: 50, dense: 25, outputs: 1 };

fn description() -> Description {
    Description {
        target: "views".to_owned(),
        recipe: "level".to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
        steps: STEPS,
        training_data_version: "0".repeat(64),
    }
}

fn target_dir() -> PathBuf {
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).expect("a path")
}

fn network(config: Config, seed: u64) -> Network {
    Network::new(config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::flex())
}

fn windows(n: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    (0..n * STEPS * FEATURES.len()).map(|_| random.random_range(-0.5..1.5)).collect()
}

/// What the network in memory says of `windows`, by way of its weights.
fn in_memory(weights: &Weights, windows: &[f32]) -> Vec<f32> {
    let device = Device::flex();
    let n = windows.len() / STEPS / FEATURES.len();
    let data = burn::tensor::TensorData::new(windows.to_vec(), [n, STEPS, FEATURES.len()]);
    let network = Network::from_weights(weights, &device);
    network.forward(burn::tensor::Tensor::from_data(data, &device), None).into_data().try_to_vec().expect("f32")
}

/// What ONNX Runtime says of `windows`, by way of the exported file.
fn exported(model: &[u8], windows: &[f32]) -> Vec<f32> {
    let width = STEPS * FEATURES.len();
    let mut session = Session::open(&onnxruntime(), model, 2).expect("a model");
    assert_eq!(session.input(), &Input::Windows { steps: STEPS, features: FEATURES.len() });
    session
        .forecast(windows.len() / width, |range| windows[range.start * width..range.end * width].to_vec())
        .expect("forecasts")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // not a maximum of floats, which would pass over NaN
    let differences: Vec<f32> = a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
    assert!(differences.iter().all(|d| d.is_finite()));
    differences.into_iter().fold(0.0, f32::max)
}

#[test]
fn onnx_runtime_computes_what_the_network_computes() {
    let windows = windows(1500);
    for (config, seed) in [
        (REFERENCE, 1),
        (Config { hidden: 1, dense: 1, ..REFERENCE }, 2),
        (Config { hidden: 33, dense: 7, ..REFERENCE }, 3),
    ] {
        let weights = network(config, seed).weights();
        let (ours, theirs) =
            (in_memory(&weights, &windows), exported(&export::to_onnx(&weights, &description()), &windows));
        let difference = largest_difference(&ours, &theirs);
        assert!(difference <= 2e-6, "{config:?}: {difference:e}");
        assert_eq!(export::check_parity(&ours, &theirs), Ok(f64::from(difference)));
    }
}

#[test]
fn keras_outputs_are_reproduced() {
    // ours: Keras on the sample series; the other, made from recorded series, lies beside some checkouts
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keras_level.safetensors");
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/golden/keras_level.safetensors");
    let files = [own].into_iter().chain(Some(shared).filter(|file| file.exists()));
    for file in files {
        let bytes = std::fs::read(&file).expect("the golden file");
        let golden = SafeTensors::deserialize(&bytes).expect("safetensors");
        let floats = |name: &str| -> Vec<f32> {
            let tensor = golden.tensor(name).expect(name);
            assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        let lstm = |name: &str| LstmWeights {
            input: from_keras(&floats(&format!("{name}.kernel"))),
            recurrent: from_keras(&floats(&format!("{name}.recurrent_kernel"))),
            bias: from_keras(&floats(&format!("{name}.bias"))),
        };
        let dense = |name: &str| DenseWeights {
            kernel: floats(&format!("{name}.kernel")),
            bias: floats(&format!("{name}.bias")),
        };
        let weights = Weights {
            config: REFERENCE,
            first: lstm("lstm1"),
            second: lstm("lstm2"),
            dense: dense("dense1"),
            output: dense("dense2"),
        };
        let (windows, outputs) = (floats("windows"), floats("outputs"));
        let burn = largest_difference(&in_memory(&weights, &windows), &outputs);
        let onnx = largest_difference(&exported(&export::to_onnx(&weights, &description()), &windows), &outputs);
        println!("{}: network {burn:e}, exported file {onnx:e} from Keras", file.display());
        assert!(burn <= 1e-5 && onnx <= 1e-5, "{}: {burn:e}, {onnx:e}", file.display());
    }
}

/// Keras's gates stand in the order input, forget, cell, output; ours input, output, forget, cell.
fn from_keras(values: &[f32]) -> Vec<f32> {
    let hidden = REFERENCE.hidden;
    values
        .chunks(4 * hidden)
        .flat_map(|row| [0, 3, 1, 2].into_iter().flat_map(|gate| &row[gate * hidden..(gate + 1) * hidden]))
        .copied()
        .collect()
}

#[test]
fn onnx_checker_passes_the_file_and_finds_what_it_says_of_itself() {
    let python = target_dir().join("venv/bin/python");
    assert!(python.exists(), "{} is missing; `make test` makes it", python.display());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("model.onnx");
    std::fs::write(&file, export::to_onnx(&network(REFERENCE, 1).weights(), &description())).expect("written");
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_checker.py"))
        .arg(&file)
        .output()
        .expect("python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    for expected in ["retraind", "views_growth_rate", "sequence_length", "training_data_version", "batch", "forecast"] {
        assert!(said.contains(expected), "{said} lacks {expected}");
    }
}

/// Two videos of a sine on a slope: enough for a network to learn something in a second.
fn waves() -> Series {
    let mut series = Series::default();
    for (video, period) in [("a", 40.0), ("b", 55.0)] {
        let begin = series.at.len();
        for minute in 0..220u32 {
            let count = (1000.0
                + 50.0 * f64::from(minute)
                + 400.0 * (f64::from(minute) / period * std::f64::consts::TAU).sin())
            .round();
            series.at.push(i64::from(minute) * 60_000_000);
            for k in 0..3 {
                let previous = (minute > 0).then(|| series.counts[k][series.counts[k].len() - 1]);
                series.growth[k].push(growth_rate(previous, count));
                series.counts[k].push(count);
            }
        }
        series.videos.push(Video { id: video.to_owned(), rows: begin..series.at.len() });
    }
    series
}

fn settings(seed: u64) -> train::Settings {
    train::Settings {
        hidden: 50,
        dense: 25,
        dropout: 0.2,
        loss: Loss::Mse,
        epochs: 4,
        batch_size: 32,
        learning_rate: 0.001,
        patience: 10,
        seed,
    }
}

fn train_with(
    train: &Windows<'_>,
    validation: &Windows<'_>,
    settings: &train::Settings,
    stopped: bool,
) -> Result<train::Trained, train::Error> {
    let stop = std::sync::atomic::AtomicBool::new(stopped);
    let conditions = train::Conditions { stop: &stop, budget: &train::Budget::new(2), checkpoint: None };
    train::train(train, validation, settings, conditions, |_| ())
}

fn trained(seed: u64) -> (Weights, Vec<train::Epoch>) {
    let prepared =
        Recipe::Level.prepare(waves(), &Settings::of(Grid::AsRecorded), &Options::default()).expect("enough rows");
    let (train, validation) = (prepared.train(Target::Views), prepared.validation(Target::Views));
    let trained = train_with(&train, &validation, &settings(seed), false).expect("a network");
    (trained.network.weights(), trained.epochs)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let bytes = |seed| export::to_onnx(&trained(seed).0, &description());
    let (first, again, other) = (bytes(1), bytes(1), bytes(2));
    assert!(first == again, "two trainings with the same seed differ");
    assert!(first != other, "the seed does not matter");
}

#[test]
fn training_learns_and_stops_on_request_and_on_nonsense() {
    let (_, epochs) = trained(1);
    assert!(epochs[3].val_loss < epochs[0].val_loss, "{epochs:?}");
    let prepared =
        Recipe::Level.prepare(waves(), &Settings::of(Grid::AsRecorded), &Options::default()).expect("enough rows");
    let (train, validation) = (prepared.train(Target::Likes), prepared.validation(Target::Likes));
    let run = |stopped: bool, learning_rate: f64| {
        let settings = train::Settings { learning_rate, ..settings(1) };
        train_with(&train, &validation, &settings, stopped).map(|_| ())
    };
    assert_eq!(run(true, 0.001), Err(train::Error::Stopped { epoch: 1 }));
    let error = run(false, 1e30).expect_err("such steps leave the numbers");
    let train::Error::NotFinite { epoch, step, .. } = error else { panic!("{error}") };
    assert!(epoch == 1 && step > 1, "epoch {epoch}, step {step}");
}

#[test]
fn a_trained_model_is_left_for_the_reader_that_is_not_ours() {
    let prepared =
        Recipe::Level.prepare(waves(), &Settings::of(Grid::AsRecorded), &Options::default()).expect("enough rows");
    let validation: Windows<'_> = prepared.validation(Target::Views);
    let windows = validation.batch(0..validation.len());
    let model = export::to_onnx(&trained(1).0, &description());
    let outputs = exported(&model, &windows);
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (windows, outputs) = (bytes(&windows), bytes(&outputs));
    let view = |shape: Vec<usize>, data| TensorView::new(Dtype::F32, shape, data).expect("a tensor");
    let saved = safetensors::serialize(
        [
            ("windows", view(vec![validation.len(), STEPS, FEATURES.len()], &windows)),
            ("outputs", view(vec![validation.len(), 1], &outputs)),
        ],
        None,
    )
    .expect("safetensors");
    let dir = target_dir().join("reimport");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("model.onnx"), model).expect("written");
    std::fs::write(dir.join("windows.safetensors"), saved).expect("written");
}
