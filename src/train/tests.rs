//! A training as a whole: same bytes whatever interrupts it, and however many threads it has.

use super::*;
use crate::data::DataVersion;
use crate::model::plain;
use std::path::Path;

/// Waves as windows of 6 steps of 3 features.
struct Waves(usize);

impl Examples for Waves {
    fn len(&self) -> usize {
        self.0
    }

    fn steps(&self) -> usize {
        6
    }

    fn width(&self) -> usize {
        3
    }

    fn truths(&self) -> usize {
        1
    }

    fn window(&self, index: usize, into: &mut Vec<f32>) {
        into.extend((0..18).map(|k| (index as f32 * 0.3 + (k / 3) as f32 * 0.2 + (k % 3) as f32).sin() / 2.0));
    }

    fn truth(&self, index: usize, into: &mut Vec<f32>) {
        into.push((index as f32 * 0.3 + 1.2).sin() / 2.0);
    }
}

const TRAIN: Waves = Waves(150);
const VALIDATION: Waves = Waves(40);

fn settings() -> Settings {
    Settings {
        hidden: 7,
        dense: 5,
        dropout: 0.2,
        loss: Loss::Mse,
        epochs: 5,
        batch_size: 32,
        learning_rate: 0.01,
        patience: 10,
        seed: 3,
    }
}

pub(super) fn checkpoint(dir: &Path) -> Checkpoint {
    let data = DataVersion { sha256: "abc".to_owned(), rows: 200, videos: 1, first: None, last: None };
    let origin = Origin {
        data,
        target: "views".to_owned(),
        recipe: "waves".to_owned(),
        settings: settings(),
        windows: [TRAIN.0, VALIDATION.0],
        program_version: "1".to_owned(),
    };
    Checkpoint::new(&dir.join("7"), "views", origin)
}

/// What a training leaves, down to the bits; seconds are wall time and not part of it.
fn bits(trained: &Trained) -> (Vec<u32>, Vec<[u64; 5]>, usize) {
    let epochs = trained.epochs.iter();
    (
        trained.network.weights().to_flat().iter().map(|w| w.to_bits()).collect(),
        epochs.map(|e| [e.loss, e.val_loss, e.mae, e.val_mae, e.fixed_loss].map(f64::to_bits)).collect(),
        trained.best_epoch,
    )
}

fn run(
    settings: &Settings,
    threads: usize,
    checkpoint: Option<&Checkpoint>,
    stop: &AtomicBool,
    tell: impl FnMut(Progress<'_>),
) -> Result<Trained, Error> {
    train(&TRAIN, &VALIDATION, settings, Conditions { stop, budget: &Budget::new(threads), checkpoint }, tell)
}

fn uninterrupted(settings: &Settings, threads: usize) -> Trained {
    run(settings, threads, None, &AtomicBool::new(false), |_| ()).expect("a network")
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let settings = Settings { batch_size: 70, ..settings() };
    let one = bits(&uninterrupted(&settings, 1));
    assert_eq!(one, bits(&uninterrupted(&settings, 2)));
    assert_eq!(one, bits(&uninterrupted(&settings, 16)));
}

#[test]
fn a_training_goes_on_from_every_epoch_to_the_same_bytes() {
    let whole = bits(&uninterrupted(&settings(), 1));
    for epoch in 1..settings().epochs {
        let dir = tempfile::tempdir().expect("a directory");
        let checkpoint = checkpoint(dir.path());
        let stop = AtomicBool::new(false);
        let stopped = run(&settings(), 2, Some(&checkpoint), &stop, |progress| {
            if let Progress::Epoch(row) = progress {
                stop.store(row.epoch == epoch, Ordering::Relaxed);
            }
        });
        assert_eq!(stopped.err(), Some(Error::Stopped { epoch: epoch + 1 }));
        assert_eq!(peek(&checkpoint.path).expect("readable"), Some(checkpoint.origin.clone()));
        let mut resumed = None;
        let trained = run(&settings(), 1, Some(&checkpoint), &AtomicBool::new(false), |progress| {
            if let Progress::Resumed { epochs, windows } = progress {
                resumed = Some((epochs.len(), windows));
            }
        });
        assert_eq!(resumed, Some((epoch, 0)));
        assert_eq!(bits(&trained.expect("a network")), whole, "resumed after epoch {epoch}");
        remove_checkpoints(&dir.path().join("7")).expect("removed");
        assert_eq!(peek(&checkpoint.path).expect("nothing to read"), None);
    }
}

/// Counts the windows it hands out, and asks for a stop after so many.
struct Stopping<'a> {
    handed: std::sync::atomic::AtomicUsize,
    after: usize,
    stop: &'a AtomicBool,
}

impl Examples for Stopping<'_> {
    fn len(&self) -> usize {
        TRAIN.len()
    }

    fn steps(&self) -> usize {
        TRAIN.steps()
    }

    fn width(&self) -> usize {
        TRAIN.width()
    }

    fn truths(&self) -> usize {
        1
    }

    fn window(&self, index: usize, into: &mut Vec<f32>) {
        if self.handed.fetch_add(1, Ordering::Relaxed) == self.after {
            self.stop.store(true, Ordering::Relaxed);
        }
        TRAIN.window(index, into);
    }

    fn truth(&self, index: usize, into: &mut Vec<f32>) {
        TRAIN.truth(index, into);
    }
}

#[test]
fn a_training_goes_on_from_within_an_epoch() {
    let whole = bits(&uninterrupted(&settings(), 1));
    let dir = tempfile::tempdir().expect("a directory");
    let checkpoint = checkpoint(dir.path());
    // stopped again and again, each time some steps further
    for round in 0.. {
        let stop = AtomicBool::new(false);
        let stopping = |after| Stopping { handed: 0.into(), after, stop: &stop };
        let conditions = Conditions { stop: &stop, budget: &Budget::new(2), checkpoint: Some(&checkpoint) };
        match train(&stopping(200), &stopping(usize::MAX), &settings(), conditions, |_| ()) {
            Err(error) => assert!(matches!(error, Error::Stopped { .. }), "{error}"),
            Ok(trained) => {
                assert!(round > 2, "stopped {round} times");
                // its validation windows are other ones, so only the weights of the last epoch compare
                assert_eq!(trained.epochs.len(), 5);
                let losses = |e: &[[u64; 5]]| e.iter().map(|row| row[0]).collect::<Vec<_>>();
                assert_eq!(losses(&bits(&trained).1), losses(&whole.1));
                break;
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_training_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let checkpoint = checkpoint(dir.path());
    let mut other = checkpoint.clone();
    other.origin.data.sha256 = "other".to_owned();
    let start = |checkpoint: &Checkpoint| {
        let mut said = Vec::new();
        let trained = run(&settings(), 1, Some(checkpoint), &AtomicBool::new(false), |progress| match progress {
            Progress::StartsOver(error) => said.push(error.to_string()),
            Progress::Resumed { epochs, .. } => said.push(format!("goes on after {}", epochs.len())),
            _ => {}
        });
        (bits(&trained.expect("a network")), said)
    };
    let (whole, said) = start(&other);
    assert!(said.is_empty(), "{said:?}");
    let (again, said) = start(&checkpoint);
    assert!(said[0].contains("data other instead of abc"), "{said:?}");
    assert_eq!(again, whole);
    std::fs::write(&checkpoint.path, b"no tensors at all").expect("written");
    let (again, said) = start(&checkpoint);
    assert!(said[0].starts_with("use the checkpoint"), "{said:?}");
    assert_eq!(again, whole);
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_costs_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("7"), b"a file where the directory should be").expect("written");
    let mut told = 0;
    let trained = run(&settings(), 1, Some(&checkpoint(dir.path())), &AtomicBool::new(false), |progress| {
        told += usize::from(matches!(progress, Progress::NotSaved(_)));
    });
    assert!(trained.is_ok() && told > 0);
}

#[test]
fn training_follows_burns_own_lstm() {
    let settings = Settings { dropout: 0.0, epochs: 1, ..settings() };
    let ours = uninterrupted(&settings, 2);
    let config = Config { features: 3, hidden: 7, dense: 5, outputs: 1 };
    let mut flat = Weights::new(config, &mut stream(settings.seed, STREAM_WEIGHTS)).to_flat();
    let mut adam = Adam::new(flat.len());
    let mut order: Vec<u32> = (0..150).collect();
    fit::shuffle(&mut order, &mut stream(settings.seed, STREAM_ORDER - 1));
    let (mut sum, mut n) = (0.0, 0);
    for batch in order.chunks(32) {
        let (mut windows, mut truth) = (Vec::new(), Vec::new());
        for &index in batch {
            TRAIN.window(index as usize, &mut windows);
            TRAIN.truth(index as usize, &mut truth);
        }
        let (loss, gradient) = plain::gradient(&Weights::from_flat(config, &flat), &windows, &truth);
        adam.step(settings.learning_rate, &mut flat, &[&gradient]);
        (sum, n) = (sum + loss * batch.len() as f64, n + batch.len());
    }
    let loss = sum / n as f64;
    assert!((ours.epochs[0].loss - loss).abs() < 1e-4 * loss, "{} and {loss}", ours.epochs[0].loss);
    let weights = ours.network.weights().to_flat();
    let largest = weights.iter().zip(&flat).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-4, "weights differ by {largest} after an epoch");
}
