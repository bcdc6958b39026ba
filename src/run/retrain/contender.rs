//! What wants to become a version, and what it says in memory.

use crate::data::Target;
use crate::evaluate::{Forecasts, score};
use crate::export::{self, Description, Mixing, Parts};
use crate::recipe::{Batch, Blend, CANDIDATES, Intervals, Plan, Prepared, Windows, growth};
use crate::registry::Member;
use crate::train::{self, Epoch, Mixed, Trained};
use std::sync::Arc;

/// Windows asked in one batch: bounds memory.
const BATCH: usize = 4096;

/// Trained, and not judged yet.
pub(super) struct Contender {
    pub(super) model: Model,
    pub(super) training_seconds: f64,
}

/// What there is to forecast with.
pub(super) enum Model {
    /// The network of recipe `level`.
    Level(Box<Trained>),
    /// Networks that mix candidates; the mean of their forecasts.
    Mixture(Arc<Vec<Mixed>>),
    /// A linear blend of the candidates and the features.
    Ridge(Arc<Blend>),
}

/// What a model says of windows by the program's own arithmetic.
pub(super) enum InMemory {
    /// Outputs in scaled units, one a window.
    Scaled(Vec<f32>),
    /// Growth before it is rounded, what a unit of it is, and the largest candidate where that is more, each `[windows,
    /// horizon]`. Unit: counts.
    Growth { growth: Vec<f64>, units: Vec<f64>, sizes: Vec<f64> },
}

impl Contender {
    pub(super) fn model_type(&self) -> &'static str {
        match &self.model {
            Model::Mixture(members) if members.iter().all(|mixed| mixed.weights.lstm.is_none()) => "dense",
            Model::Level(_) | Model::Mixture(_) => "LSTM",
            Model::Ridge(_) => "ridge",
        }
    }

    /// Epochs of all its networks, one after another.
    pub(super) fn epochs(&self) -> Vec<Epoch> {
        match &self.model {
            Model::Level(trained) => trained.epochs.clone(),
            Model::Mixture(members) => one_after_another(members),
            Model::Ridge(_) => Vec::new(),
        }
    }

    pub(super) fn best_epoch(&self) -> usize {
        match &self.model {
            Model::Level(trained) => trained.best_epoch,
            // the last weights are taken
            Model::Mixture(members) => members.iter().map(|mixed| mixed.epochs.len()).sum(),
            Model::Ridge(_) => 0,
        }
    }

    /// Trainable parameters of all its parts.
    pub(super) fn n_parameters(&self) -> usize {
        match &self.model {
            Model::Level(trained) => trained.network.weights().config.n_parameters(),
            Model::Mixture(members) => members.iter().map(|mixed| mixed.weights.config.n_parameters()).sum(),
            Model::Ridge(blend) => blend.coefficients.iter().map(Vec::len).sum(),
        }
    }

    /// What it says of `windows`.
    pub(super) fn ask(&self, windows: &Windows<'_>) -> InMemory {
        match &self.model {
            Model::Level(trained) => InMemory::Scaled(train::forecast(&trained.network, windows)),
            Model::Mixture(members) => grown(windows, |batch| mean_growth(members, batch)),
            Model::Ridge(blend) => grown(windows, |batch| blended(blend, batch)),
        }
    }

    /// Intervals as wide as the errors on the older half of the windows that judge. None: too few, or the recipe has none.
    pub(super) fn intervals(&self, prepared: &Prepared, target: Target, level: f64) -> Option<Intervals> {
        let windows = prepared.at(target, &prepared.split.calibration);
        let (counts, at) = windows.on_grid()?;
        let InMemory::Growth { growth, units, .. } = self.ask(&windows) else { return None };
        let outputs = windows.outputs();
        let mut errors = vec![Vec::new(); outputs];
        for (k, (growth, unit)) in growth.iter().zip(&units).enumerate() {
            let (window, h) = (k / outputs, k % outputs);
            if windows.is_observed(window, h) {
                let column = &counts.grid().counts[target.index()];
                let point = at[window] as usize;
                let truth = column[point + h + 1] - column[point];
                errors[h].push((truth - growth) / unit);
            }
        }
        Intervals::of(level, errors)
    }

    /// The bytes of its ONNX file.
    pub(super) fn to_onnx(
        &self,
        plan: Option<&Plan>,
        intervals: Option<&Intervals>,
        description: &Description,
    ) -> Vec<u8> {
        let of = |mixing: Mixing<'_>| {
            let plan = plan.expect("the recipe of a mixture has a plan");
            export::increment_to_onnx(Parts { plan, mixing, intervals }, description)
        };
        match &self.model {
            Model::Level(trained) => export::to_onnx(&trained.network.weights(), description),
            Model::Mixture(members) => of(Mixing::Networks(members)),
            Model::Ridge(blend) => of(Mixing::Blend(blend)),
        }
    }

    /// What each network of several adds, on the validation windows.
    pub(super) fn members(&self, prepared: &Prepared, target: Target, seed: u64) -> Vec<Member> {
        let Model::Mixture(members) = &self.model else { return Vec::new() };
        if members.len() < 2 {
            return Vec::new();
        }
        let mae = |members: &[Mixed]| {
            let windows = prepared.validation(target);
            mae(prepared, target, &windows, &grown(&windows, |batch| mean_growth(members, batch)))
        };
        let of =
            |k: usize| Member { seed: seed + k as u64, mae: mae(&members[k..=k]), mae_so_far: mae(&members[..=k]) };
        (0..members.len()).map(of).collect()
    }
}

/// Epochs of several networks as those of one training.
pub(super) fn one_after_another(members: &[Mixed]) -> Vec<Epoch> {
    let rows = members.iter().flat_map(|mixed| &mixed.epochs);
    rows.enumerate().map(|(k, row)| Epoch { epoch: k + 1, ..*row }).collect()
}

/// MAE in units of each series' range.
pub(super) fn mae(prepared: &Prepared, target: Target, windows: &Windows<'_>, said: &InMemory) -> f64 {
    let values = in_range(windows, &counts(windows, said));
    score(&prepared.train(target), windows, Forecasts { values: &values, intervals: None }).own.scaled.mae
}

/// Asks in batches.
pub(super) fn grown(windows: &Windows<'_>, of: impl Fn(&Batch) -> Vec<f64>) -> InMemory {
    let (counts, at) = windows.on_grid().expect("windows on a grid");
    let (mut growth, mut units, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for points in at.chunks(BATCH) {
        let batch = counts.batch(windows.target(), points);
        growth.extend(of(&batch));
        units.extend(batch.paces.iter().flat_map(|pace| (1..=windows.outputs()).map(move |h| pace * h as f64)));
        let largest = |(candidates, unit): (&[f64], &f64)| candidates.iter().copied().fold(*unit, f64::max);
        sizes.extend(batch.candidates.chunks(CANDIDATES).zip(&units[sizes.len()..]).map(largest));
    }
    InMemory::Growth { growth, units, sizes }
}

/// The mean of what networks say, `[windows, horizon]`.
pub(super) fn mean_growth(members: &[Mixed], batch: &Batch) -> Vec<f64> {
    let n = batch.paces.len();
    if n == 0 {
        return Vec::new();
    }
    let width = batch.candidates.len() / n;
    let mut sums: Vec<f64> = Vec::new();
    for mixed in members {
        let outputs = train::forecast_mixture(mixed, batch);
        let of_window = outputs.chunks(outputs.len() / n).zip(batch.candidates.chunks(width));
        let grown = of_window.flat_map(|(outputs, candidates)| growth(outputs, candidates));
        if sums.is_empty() {
            sums = grown.collect();
        } else {
            sums.iter_mut().zip(grown).for_each(|(sum, growth)| *sum += growth);
        }
    }
    sums.into_iter().map(|sum| sum / members.len() as f64).collect()
}

fn blended(blend: &Blend, batch: &Batch) -> Vec<f64> {
    let n = batch.paces.len().max(1);
    let (width, statics) = ((batch.candidates.len() / n).max(1), (batch.statics.len() / n).max(1));
    let of_window = batch.candidates.chunks(width).zip(batch.statics.chunks(statics)).zip(&batch.paces);
    of_window.flat_map(|((candidates, statics), &pace)| blend.growth(candidates, statics, pace)).collect()
}

/// The counts that are forecast, `[windows, outputs]`: whole, and never below the last one. Of `level`, in units of
/// each series' range.
pub(super) fn counts(windows: &Windows<'_>, said: &InMemory) -> Vec<f64> {
    match said {
        InMemory::Scaled(outputs) => {
            outputs.iter().enumerate().map(|(k, &output)| f64::from(output) * windows.range(k)).collect()
        }
        InMemory::Growth { growth, .. } => {
            let (counts, at) = windows.on_grid().expect("windows on a grid");
            let (column, outputs) = (&counts.grid().counts[windows.target().index()], windows.outputs());
            let last = |k: usize| column[at[k / outputs] as usize];
            growth.iter().enumerate().map(|(k, growth)| last(k) + growth.max(0.0).round_ties_even()).collect()
        }
    }
}

/// Counts in units of each series' range, as they are judged.
///
/// Shape: `[windows, steps]`, of any number of steps.
pub(super) fn in_range(windows: &Windows<'_>, counts: &[f64]) -> Vec<f64> {
    let outputs = counts.len() / windows.len().max(1);
    counts.iter().enumerate().map(|(k, count)| count / windows.range(k / outputs)).collect()
}
