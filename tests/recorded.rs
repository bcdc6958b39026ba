//! The recipe `level` on real data: the same windows as the reference pipeline cuts.

use retraind::data::{Series, Target, read_csv, sample};
use retraind::evaluate::{Forecasts, Naive, score};
use retraind::grid::{Grid, Settings};
use retraind::recipe::{FEATURES, Options, Prepared, Recipe, STEPS};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

fn floats(golden: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = golden.tensor(name).expect(name);
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn level(series: &Series) -> Prepared {
    let settings = Settings::of(Grid::AsRecorded);
    Recipe::Level.prepare(series.clone(), &settings, &Options::default()).expect("enough rows")
}

/// The golden file holds 64 windows that the reference pipeline cut, evenly spread over the validation windows.
fn check_windows(series: &Series, golden: &Path) {
    let bytes = std::fs::read(golden).expect("the golden file");
    let theirs = floats(&SafeTensors::deserialize(&bytes).expect("safetensors"), "windows");
    let prepared = level(series);
    let validation = prepared.validation(Target::Views);
    let width = STEPS * FEATURES.len();
    let mut worst = 0.0f32;
    for (k, theirs) in theirs.chunks(width).enumerate() {
        let index = ((validation.len() - 1) as f64 * k as f64 / 63.0) as usize;
        let ours = validation.batch(index..index + 1);
        worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
    }
    assert!(worst <= 1e-7, "{}: windows differ by {worst:e}", golden.display());
}

#[test]
fn the_windows_are_the_references() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keras_level.safetensors");
    check_windows(&sample(1), &golden);
}

#[test]
fn recorded_series_score_as_in_the_reference() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let files: Vec<PathBuf> = ["eeMTs8R3tOY.csv", "jKlA7wS3SkE.csv"].map(|name| data.join(name)).into();
    if !files.iter().all(|file| file.exists()) {
        // the recordings may not be distributed; the sample above is always checked
        eprintln!("no recorded series in {}: this check was left out", data.display());
        return;
    }
    let (series, report) = read_csv(&files, false, |_| ()).expect("read");
    assert_eq!((series.len(), report.n_bad), (6_864, 0));
    check_windows(&series, &data.join("golden/keras_level.safetensors"));
    let prepared = level(&series);
    // as the reference pipeline's own script measures them, to six decimals
    for (target, last_value, drift) in [
        (Target::Views, 0.000_112, 0.000_058),
        (Target::Likes, 0.000_020, 0.000_025),
        (Target::Comments, 0.000_054, 0.000_087),
    ] {
        let validation = prepared.validation(target);
        let last: Vec<f64> = (0..validation.len()).filter_map(|k| validation.before(k, 0)).collect();
        let scores = score(&prepared.train(target), &validation, Forecasts { values: &last, intervals: None });
        let six = |which: Naive| (scores.naive[&which].scaled.mae * 1e6).round() / 1e6;
        assert_eq!((six(Naive::LastValue), six(Naive::Drift)), (last_value, drift), "{target}");
        assert!((scores.own.scaled.mae - scores.naive[&Naive::LastValue].scaled.mae).abs() < 1e-12);
    }
}

#[test]
fn naive_forecasts_on_the_grid_are_those_of_the_measuring_script() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let files: Vec<PathBuf> = ["eeMTs8R3tOY.csv", "jKlA7wS3SkE.csv"].map(|name| data.join(name)).into();
    if !files.iter().all(|file| file.exists()) {
        eprintln!("no recorded series in {}: this check was left out", data.display());
        return;
    }
    let (series, _) = read_csv(&files, false, |_| ()).expect("read");
    let options = Options { horizon: 24, ..Options::default() };
    let prepared = Recipe::Increment.prepare(series, &Settings::of(Grid::HalfHour), &options).expect("enough rows");
    let validation = prepared.validation(Target::Views);
    let last: Vec<f64> =
        (0..validation.len()).flat_map(|k| vec![validation.before(k, 0).expect("known"); 24]).collect();
    let scores = score(&prepared.train(Target::Views), &validation, Forecasts { values: &last, intervals: None });
    let range =
        |video: &str| (0..validation.len()).find(|&k| validation.video(k) == video).map(|k| validation.range(k));
    // video, horizon, points, MAE of the last value and of the best naive forecast, in counts
    for (video, horizon, points, last_value, best) in [
        ("eeMTs8R3tOY", 1, 302, 198.970_20, 56.258_28),
        ("eeMTs8R3tOY", 24, 299, 4_643.331_1, 262.956_52),
        ("jKlA7wS3SkE", 1, 518, 114.523_17, 39.424_71),
        ("jKlA7wS3SkE", 24, 523, 2_671.154_88, 132.191_20),
    ] {
        let found = scores.series.iter().find(|s| s.video == video && s.horizon == horizon).expect("scored");
        let range = range(video).expect("a window of each video");
        assert_eq!((found.n, found.naive), (points, Naive::SeasonalDrift), "{video} {horizon}");
        assert!((found.mae * range - last_value).abs() < 1e-5, "{video} {horizon}: {}", found.mae * range);
        assert!((found.naive_mae * range - best).abs() < 1e-5, "{video} {horizon}: {}", found.naive_mae * range);
    }
    assert!(scores.skill.is_some_and(|skill| skill < 0.0) && scores.share_beaten == Some(0.0));
}
