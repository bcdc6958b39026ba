//! Recipe `increment` from rows to the numbers that ONNX Runtime gives: what the file says is what the program says, and
//! nothing that is said for a time follows from later rows.

#[path = "support/onnxruntime.rs"]
mod onnxruntime;

use onnxruntime::onnxruntime;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retraind::data::{Series, Target, Video};
use retraind::evaluate::{Forecasts, compare};
use retraind::export::{Description, Mixing, Parts, increment_to_onnx};
use retraind::grid::{self, Grid, Gridded, Settings};
use retraind::model::{MixtureConfig, MixtureWeights};
use retraind::recipe::{Blend, CANDIDATES, Intervals, Options, Plan, Prepared, Recipe, SEQUENCE_WIDTH, growth};
use retraind::runtime::{CountForecasts, Session};
use retraind::train::{Mixed, forecast_mixture};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Videos of nine days with a rhythm, gaps, revisions and dropouts; rows about every 13 minutes. Counts begin at `level`.
fn recorded(level: f64, seed: u64) -> Series {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut series = Series::default();
    for id in ["a", "b"] {
        let begin = series.at.len();
        let mut counts = [level, level / 30.0, level / 400.0].map(f64::floor);
        let mut seconds = 1_700_000_000;
        while seconds < 1_700_000_000 + 9 * 86_400 {
            seconds += if random.random_bool(0.01) { 7_000 } else { random.random_range(300..1300) };
            let hour = (seconds % 86_400) as f64 / 86_400.0 * std::f64::consts::TAU;
            for (count, rate) in counts.iter_mut().zip([400.0, 20.0, 1.5]) {
                *count += (rate * (1.3 + hour.sin()) * random.random_range(0.0..2.0)).floor();
                if random.random_bool(0.01) {
                    *count -= 3.0;
                }
            }
            series.at.push(seconds * 1_000_000);
            let dropout = random.random_bool(0.005);
            for (k, column) in series.counts.iter_mut().enumerate() {
                column.push(if dropout && k == 1 { 0.0 } else { counts[k].max(0.0) });
            }
            series.growth.iter_mut().for_each(|column| column.push(0.0));
        }
        series.videos.push(Video { id: id.to_owned(), rows: begin..series.at.len() });
    }
    series
}

/// With the day of the week among the features where half a day is forecast.
fn prepare(series: &Series, horizon: usize) -> Prepared {
    let options = Options { horizon, day_of_week: horizon == 24, ..Options::default() };
    Recipe::Increment.prepare(series.clone(), &Settings::of(Grid::HalfHour), &options).expect("enough rows")
}

#[test]
fn a_collector_that_stood_still_takes_no_share_of_the_time() {
    let usual = recorded(1e5, 4);
    let shares = |prepared: &Prepared| (prepared.split.train.len(), prepared.split.validation.len());
    let before = shares(&prepare(&usual, 1));
    // one video's last day comes four months later
    let mut series = usual.clone();
    let rows = series.videos[0].rows.clone();
    let day_before = series.at[rows.end - 1] - 86_400_000_000;
    for at in series.at[rows].iter_mut().filter(|at| **at > day_before) {
        *at += 120 * 86_400_000_000;
    }
    let after = shares(&prepare(&series, 1));
    assert!(after.1 * 10 > before.1 * 6, "{before:?}, then {after:?}");
}

#[test]
fn without_a_truth_nothing_is_judged() {
    let settings = Settings { stale_after: std::time::Duration::from_secs(1), ..Settings::of(Grid::HalfHour) };
    let mut series = recorded(1e5, 4);
    // a row right at a grid time, and none at the next one
    series.at.iter_mut().for_each(|at| *at = *at / 3_600_000_000 * 3_600_000_000);
    let mut seen = std::collections::HashSet::new();
    let mut kept = Series::default();
    for video in &series.videos {
        let begin = kept.at.len();
        for row in video.rows.clone().filter(|&row| seen.insert((video.id.clone(), series.at[row]))) {
            kept.at.push(series.at[row]);
            (0..3).for_each(|k| {
                kept.counts[k].push(series.counts[k][row]);
                kept.growth[k].push(0.0);
            });
        }
        kept.videos.push(Video { id: video.id.clone(), rows: begin..kept.at.len() });
    }
    let error = Recipe::Increment.prepare(kept, &settings, &Options::default()).expect_err("no truth");
    assert!(error.to_string().contains("stale_after` = 1s"), "{error}");
}

#[test]
fn versions_of_other_horizons_are_compared_where_both_forecast() {
    let prepared = prepare(&recorded(1e5, 4), 24);
    let windows = prepared.validation(Target::Views);
    let points = |steps: usize| (0..windows.len()).flat_map(move |k| (0..steps).map(move |o| (k, o)));
    let truth: Vec<f64> = points(24).map(|(k, o)| windows.truth(k, o)).collect();
    let wrong: Vec<f64> = points(2).map(|(k, o)| windows.truth(k, o) + 0.5).collect();
    let ours = Forecasts { values: &truth, intervals: None };
    let paired = compare(&windows, &wrong, ours, 0.0).expect("points");
    assert_eq!((paired.steps, paired.challenger_mae), (Some(2), 0.0));
    assert!((paired.champion_mae - 0.5).abs() < 1e-12 && paired.p_value < 0.01, "{paired:?}");
    assert_eq!(compare(&windows, &truth, ours, 0.0).expect("points").steps, None);
}

/// A network that has learnt nothing: what it computes is what counts.
fn network(horizon: usize, statics: usize, hidden: usize, seed: u64) -> Mixed {
    let outputs = horizon * (CANDIDATES + 1);
    let config = MixtureConfig { features: SEQUENCE_WIDTH, statics, hidden, dense: 16, outputs };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut weights = MixtureWeights::new(config, &mut random);
    weights.output.kernel.iter_mut().for_each(|weight| *weight *= 100.0);
    let mean = (0..statics).map(|_| random.random_range(-0.5..0.5)).collect();
    let deviation = (0..statics).map(|_| random.random_range(0.5..1.5)).collect();
    Mixed { weights, mean, deviation, epochs: Vec::new() }
}

fn description() -> Description {
    Description {
        target: "views".to_owned(),
        recipe: "increment".to_owned(),
        features: vec![],
        steps: 48,
        training_data_version: "0".repeat(64),
    }
}

fn ask(model: &[u8], prepared: &Prepared, target: Target, at: &[u32]) -> CountForecasts {
    let windows = prepared.at(target, at);
    let history = windows.plan().expect("a plan").history;
    let mut session = Session::open(&onnxruntime(), model, 2).expect("a model");
    session.forecast_counts(windows.len(), |range| windows.raw_batch(range, history)).expect("forecasts")
}

#[test]
fn onnx_runtime_computes_what_the_program_computes() {
    let mut worst = 0.0f64;
    for (level, horizon, hidden) in [(500.0, 1, 16), (3e6, 24, 16), (1e10, 3, 0), (40.0, 60, 8)] {
        let prepared = prepare(&recorded(level, 3), horizon);
        let counts = prepared.counts().expect("a grid");
        let statics = counts.plan().n_statics();
        let members = [network(horizon, statics, hidden, 1), network(horizon, statics, hidden, 2)];
        let intervals = Intervals { level: 0.8, lower: vec![-0.3; horizon], upper: vec![0.4; horizon] };
        let parts = Parts { plan: counts.plan(), mixing: Mixing::Networks(&members), intervals: Some(&intervals) };
        let model = increment_to_onnx(parts, &description());
        let at = [prepared.split.train.as_slice(), &prepared.split.validation].concat();
        for target in Target::ALL {
            let said = ask(&model, &prepared, target, &at);
            let batch = counts.batch(target, &at);
            let outputs: Vec<Vec<f32>> = members.iter().map(|member| forecast_mixture(member, &batch)).collect();
            let (lower, upper) = said.intervals.as_ref().expect("intervals");
            for (k, &point) in at.iter().enumerate() {
                let candidates = &batch.candidates[k * horizon * CANDIDATES..(k + 1) * horizon * CANDIDATES];
                let width = horizon * (CANDIDATES + 1);
                let grown: Vec<Vec<f64>> =
                    outputs.iter().map(|o| growth(&o[k * width..(k + 1) * width], candidates)).collect();
                let last = counts.grid().counts[target.index()][point as usize];
                for (h, (first, second)) in grown[0].iter().zip(&grown[1]).enumerate() {
                    let ours = f64::midpoint(*first, *second);
                    let at = k * horizon + h;
                    worst = worst.max((ours - said.growth[at]).abs() / (batch.paces[k] * (h + 1) as f64));
                    assert_eq!(said.values[at], last + said.growth[at].max(0.0).round_ties_even());
                    assert!(said.values[at] >= last && lower[at] <= said.values[at] && said.values[at] <= upper[at]);
                }
            }
        }
    }
    println!("largest difference: {worst:e} scaled units");
    assert!(worst <= 1e-5, "{worst:e}");
}

#[test]
fn the_blend_is_exported_too() {
    let prepared = prepare(&recorded(1e5, 4), 24);
    let counts = prepared.counts().expect("a grid");
    let blend = Blend::fit(&prepared.pools[0]);
    let parts = Parts { plan: counts.plan(), mixing: Mixing::Blend(&blend), intervals: None };
    let model = increment_to_onnx(parts, &description());
    let at = &prepared.split.validation;
    let said = ask(&model, &prepared, Target::Views, at);
    assert!(said.intervals.is_none());
    let batch = counts.batch(Target::Views, at);
    for (k, pace) in batch.paces.iter().enumerate() {
        let candidates = &batch.candidates[k * 24 * CANDIDATES..(k + 1) * 24 * CANDIDATES];
        let n = blend.mean.len();
        let statics = &batch.statics[k * n..(k + 1) * n];
        for (h, ours) in blend.growth(candidates, statics, *pace).into_iter().enumerate() {
            // features are of 32 bits
            assert!((ours - said.growth[k * 24 + h]).abs() <= 1e-5 * ours.abs().max(1.0));
        }
    }
}

/// What is forecast from every point of every series: video, time, forecasts.
fn all_forecasts(grid: &Gridded, plan: &Plan, session: &mut Session) -> Vec<(usize, i64, Vec<f64>)> {
    let points: Vec<usize> = grid
        .segments
        .iter()
        .flat_map(|segment| {
            (segment.points.start + plan.least_history() - 1).min(segment.points.end)..segment.points.end
        })
        .collect();
    let said = session
        .forecast_counts(points.len(), |range| {
            let (mut counts, mut seen) = (Vec::new(), Vec::new());
            let of = |&point: &usize| grid.history(point, 0, plan.history, &mut counts, &mut seen);
            let times = points[range].iter().map(of).collect();
            (counts, seen, times)
        })
        .expect("forecasts");
    let of = |(k, &point): (usize, &usize)| {
        let segment = grid.segment_of(point);
        let values = said.growth[k * plan.horizon..(k + 1) * plan.horizon].to_vec();
        (segment.video, grid.time(segment, point), values)
    };
    points.iter().enumerate().map(of).collect()
}

#[test]
fn no_forecast_follows_from_later_rows() {
    let settings = Settings::of(Grid::HalfHour);
    let plan = Plan::new(1800, &Options { horizon: 4, day_of_week: true, ..Options::default() });
    let members = [network(4, plan.n_statics(), 8, 7)];
    let parts = Parts { plan: &plan, mixing: Mixing::Networks(&members), intervals: None };
    let model = increment_to_onnx(parts, &description());
    let mut session = Session::open(&onnxruntime(), &model, 2).expect("a model");
    let before = recorded(1e5, 11);
    let expected = all_forecasts(&grid::lay(&before, &settings).0, &plan, &mut session);
    let mut random = ChaCha8Rng::seed_from_u64(12);
    for cut_days in [2.1, 3.0, 5.7, 8.5] {
        let cut = 1_700_000_000 + (cut_days * 86_400.0) as i64;
        let mut after = before.clone();
        for row in 0..after.at.len() {
            if after.at[row] > cut * 1_000_000 {
                for column in &mut after.counts {
                    column[row] = random.random_range(0.0f64..1e9).floor();
                }
            }
        }
        let found = all_forecasts(&grid::lay(&after, &settings).0, &plan, &mut session);
        let known = |all: &[(usize, i64, Vec<f64>)]| -> Vec<(usize, i64, Vec<f64>)> {
            all.iter().filter(|(_, time, _)| *time <= cut).cloned().collect()
        };
        let (expected, found) = (known(&expected), known(&found));
        assert!(expected.len() > 50, "there is something to compare");
        assert_eq!(expected, found, "rows after day {cut_days} changed what was said before");
    }
}

#[test]
fn nothing_that_trains_follows_from_rows_that_judge() {
    let before = recorded(1e5, 21);
    let prepared = prepare(&before, 4);
    let counts = prepared.counts().expect("a grid");
    let grid = counts.grid();
    let first = |video: usize| {
        let of = |&&point: &&u32| grid.segment_of(point as usize).video == video;
        prepared.split.validation.iter().find(of).map(|&p| grid.time(grid.segment_of(p as usize), p as usize))
    };
    let borders: Vec<i64> = (0..2).map(|video| first(video).expect("validation windows of every video")).collect();
    let mut after = before.clone();
    for (video, border) in before.videos.iter().zip(&borders) {
        for row in video.rows.clone().filter(|&row| before.at[row] > border * 1_000_000) {
            after.counts.iter_mut().for_each(|column| column[row] = column[row] * 3.0 + 1e6);
        }
    }
    let changed = prepare(&after, 4);
    assert_eq!(prepared.split, changed.split);
    assert_eq!(prepared.pools, changed.pools, "what trains changed with rows that judge");
    assert!(prepared.pools[0].n > 200, "{}", prepared.pools[0].n);
}

#[test]
fn onnx_checker_passes_the_file() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("venv/bin/python");
    assert!(python.exists(), "{} is missing; `make test` makes it", python.display());
    let plan = Plan::new(1800, &Options { horizon: 60, ..Options::default() });
    let members = [network(60, plan.n_statics(), 8, 7), network(60, plan.n_statics(), 8, 8)];
    let intervals = Intervals { level: 0.8, lower: vec![-0.1; 60], upper: vec![0.1; 60] };
    let parts = Parts { plan: &plan, mixing: Mixing::Networks(&members), intervals: Some(&intervals) };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("model.onnx");
    std::fs::write(&file, increment_to_onnx(parts, &description())).expect("written");
    let script = "import onnx, sys; m = onnx.load(sys.argv[1]); onnx.checker.check_model(m, full_check=True); \
                  print([i.name for i in m.graph.input], [o.name for o in m.graph.output])";
    let out = Command::new(python).args(["-c", script]).arg(&file).output().expect("Python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(said.trim(), "['history', 'seen', 'time'] ['forecast', 'growth', 'lower', 'upper']");
}
