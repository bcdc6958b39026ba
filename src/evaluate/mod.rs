//! Judging: forecasts and truth go in, scores come out, beside those of naive forecasts on the same points.
//!
//! Never knows where forecasts come from; a gate decides what scores are worth.

mod metric;
mod naive;
mod paired;
mod series;

pub use metric::{Errors, figure};
pub use naive::Naive;
pub use paired::{Paired, compare};
pub use series::OfSeries;

use crate::recipe::Windows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores of one version on the validation windows, and of the naive forecasts on the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Points judged: windows, times the horizons whose truth was observed.
    pub n: usize,
    /// The version's own.
    #[serde(flatten)]
    pub own: Measured,
    /// Naive forecasts on the same points; those that every point allows.
    pub naive: BTreeMap<Naive, Measured>,
    /// 1 − MAE / MAE of the best naive forecast, for each series and horizon the best for it; the median. None where
    /// those forecasts make no error at all.
    pub skill: Option<f64>,
    /// Share of series and horizons at which every naive forecast is beaten.
    #[serde(default)]
    pub share_beaten: Option<f64>,
    /// MAE / MAE of repeating the last value over the training windows at the same horizon; the median over series.
    #[serde(default)]
    pub mase: Option<f64>,
    /// Share of truths within the intervals, over windows that the intervals were not made from; none where there are no
    /// intervals.
    #[serde(default)]
    pub coverage: Option<f64>,
    /// The same, horizon by horizon; empty where there is but one.
    #[serde(default)]
    pub horizons: Vec<OfHorizon>,
    /// The same, for each series and horizon.
    #[serde(default)]
    pub series: Vec<OfSeries>,
}

impl Scores {
    /// What a person should know of them, a sentence a matter.
    pub fn sentences(&self) -> Vec<String> {
        let Errors { mae, mse, .. } = self.own.scaled;
        let skill = self.skill.map_or_else(|| "undefined".to_owned(), |skill| format!("{skill:.3}"));
        let mut out = vec![
            format!("MAE {}, MSE {} on {} points, in units of each series' range", figure(mae), figure(mse), self.n),
            naive_sentence(self.naive.iter().map(|(naive, measured)| (*naive, measured.scaled.mae))),
        ];
        let share = self.share_beaten.map_or_else(String::new, |share| {
            format!(" (median; every one is beaten in {:.0} % of series and steps ahead)", share * 100.0)
        });
        out.push(format!("skill against the best of them {skill}{share}"));
        let more: Vec<String> = mase_and_coverage(self.mase, self.coverage).collect();
        out.extend((!more.is_empty()).then(|| more.join(", ")));
        out
    }
}

/// Mean absolute errors of naive forecasts, in a sentence.
pub fn naive_sentence(errors: impl Iterator<Item = (Naive, f64)>) -> String {
    let each: Vec<String> = errors.map(|(naive, mae)| format!("{naive} {}", figure(mae))).collect();
    format!("MAE of naive forecasts: {}", each.join(", "))
}

/// Those of the two that there are, in words.
pub fn mase_and_coverage(mase: Option<f64>, coverage: Option<f64>) -> impl Iterator<Item = String> {
    let mase = mase.map(|mase| format!("MASE {mase:.3}"));
    let coverage = coverage.map(|held| format!("intervals hold {:.0} % of the truths", held * 100.0));
    mase.into_iter().chain(coverage)
}

/// Scores at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfHorizon {
    /// Steps ahead.
    pub horizon: usize,
    /// Points judged.
    pub n: usize,
    /// The version's own errors.
    #[serde(flatten)]
    pub own: Measured,
    /// Naive forecasts on the same points.
    pub naive: BTreeMap<Naive, Measured>,
    /// Median over series.
    pub skill: Option<f64>,
    /// Share of series in which every naive forecast is beaten.
    pub share_beaten: Option<f64>,
    /// Median over series.
    pub mase: Option<f64>,
    /// Share of truths within the intervals.
    pub coverage: Option<f64>,
}

/// Errors of one forecast in both units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// In units of each series' range: the reference's scaled units.
    #[serde(flatten)]
    pub scaled: Errors,
    /// In counts.
    pub counts: Errors,
}

/// What is to be judged, in units of [`Windows::range`], a value for each output of each window, in order.
#[derive(Clone, Copy, Debug)]
pub struct Forecasts<'a> {
    /// `[windows, outputs]`
    pub values: &'a [f64],
    /// The intervals around them.
    pub intervals: Option<Ends<'a>>,
}

/// Ends of intervals, each like [`Forecasts::values`].
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// `[windows, outputs]`
    pub lower: &'a [f64],
    /// `[windows, outputs]`
    pub upper: &'a [f64],
    /// Windows whose errors the intervals were made from, as positions that ascend: they say nothing about them.
    pub made_from: &'a [u32],
}

/// Scores forecasts on `windows`; errors of the last value over `train` are the unit of MASE.
///
/// Panics when there are more or fewer forecasts than points: that would compare different points.
pub fn score(train: &Windows<'_>, windows: &Windows<'_>, forecasts: Forecasts<'_>) -> Scores {
    let outputs = windows.outputs();
    assert_eq!(windows.len() * outputs, forecasts.values.len(), "one forecast a window and horizon");
    let all = Points { windows, outputs: 0..outputs };
    let series = series::series(train, windows, forecasts.values);
    let own = measure(&all, |k, o| Some(forecasts.values[k * outputs + o])).expect("a forecast for every point");
    let summary = |horizon: Option<usize>| series::Summary::of(&series, horizon);
    let overall = summary(None);
    let horizons = (0..outputs).filter(|_| outputs > 1).map(|o| of_horizon(windows, forecasts, o, &series)).collect();
    Scores {
        n: all.iter().count(),
        own,
        naive: naives(&all),
        skill: overall.skill,
        share_beaten: overall.share_beaten,
        mase: overall.mase,
        coverage: coverage(&all, forecasts),
        horizons,
        series,
    }
}

fn of_horizon(windows: &Windows<'_>, forecasts: Forecasts<'_>, output: usize, series: &[OfSeries]) -> OfHorizon {
    let points = Points { windows, outputs: output..output + 1 };
    let outputs = windows.outputs();
    let horizon = windows.horizon(output);
    let summary = series::Summary::of(series, Some(horizon));
    OfHorizon {
        horizon,
        n: points.iter().count(),
        own: measure(&points, |k, o| Some(forecasts.values[k * outputs + o])).expect("a forecast for every point"),
        naive: naives(&points),
        skill: summary.skill,
        share_beaten: summary.share_beaten,
        mase: summary.mase,
        coverage: coverage(&points, forecasts),
    }
}

/// Points that are judged together.
struct Points<'a> {
    windows: &'a Windows<'a>,
    outputs: std::ops::Range<usize>,
}

impl Points<'_> {
    /// Window and output of each point whose truth was observed.
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = (0..self.windows.len()).flat_map(|k| self.outputs.clone().map(move |o| (k, o)));
        pairs.filter(|&(k, o)| self.windows.is_observed(k, o))
    }
}

fn naives(points: &Points<'_>) -> BTreeMap<Naive, Measured> {
    let of = |naive: Naive| Some((naive, measure(points, |k, o| naive.forecast(points.windows, k, o))?));
    Naive::ALL.into_iter().filter_map(of).collect()
}

/// None: there is a point without a forecast, and errors over fewer points would compare different ones.
fn measure(points: &Points<'_>, forecast: impl Fn(usize, usize) -> Option<f64>) -> Option<Measured> {
    let windows = points.windows;
    let mut differences = Vec::new();
    for (k, o) in points.iter() {
        differences.push((k, forecast(k, o)? - windows.truth(k, o)));
    }
    Some(Measured {
        scaled: Errors::of(differences.iter().map(|&(_, difference)| difference)),
        counts: Errors::of(differences.iter().map(|&(k, difference)| difference * windows.range(k))),
    })
}

fn coverage(points: &Points<'_>, forecasts: Forecasts<'_>) -> Option<f64> {
    let Ends { lower, upper, made_from } = forecasts.intervals?;
    let outputs = points.windows.outputs();
    let (mut within, mut n) = (0.0, 0.0);
    for (k, o) in points.iter().filter(|&(k, _)| !points.windows.is_among(k, made_from)) {
        let truth = points.windows.truth(k, o);
        n += 1.0;
        within += f64::from(u8::from((lower[k * outputs + o]..=upper[k * outputs + o]).contains(&truth)));
    }
    (n > 0.0).then(|| within / n)
}
