//! Scores of each series by itself: an average over all points is that of the largest.

use super::Naive;
use crate::recipe::Windows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores of one series at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfSeries {
    /// The video.
    pub video: String,
    /// Steps ahead.
    pub horizon: usize,
    /// Points judged.
    pub n: usize,
    /// Mean absolute error. Unit: the series' range.
    pub mae: f64,
    /// Mean absolute error of the best naive forecast, chosen afterwards.
    pub naive_mae: f64,
    /// Which one that is.
    pub naive: Naive,
    /// 1 − MAE / MAE of that forecast; none where it makes no error at all.
    pub skill: Option<f64>,
    /// MAE / MAE of the last value over this series' training windows; none where it has none, or never grew there.
    pub mase: Option<f64>,
}

/// What is said of many series at once.
pub(super) struct Summary {
    pub(super) skill: Option<f64>,
    pub(super) share_beaten: Option<f64>,
    pub(super) mase: Option<f64>,
}

impl Summary {
    /// Of one horizon, or of all.
    pub(super) fn of(series: &[OfSeries], horizon: Option<usize>) -> Self {
        let chosen = || series.iter().filter(|one| horizon.is_none_or(|h| one.horizon == h));
        let beaten: Vec<bool> = chosen().filter_map(|one| one.skill).map(|skill| skill > 0.0).collect();
        let share = beaten.iter().filter(|&&beaten| beaten).count() as f64 / beaten.len() as f64;
        Self {
            skill: median(chosen().filter_map(|one| one.skill)),
            share_beaten: (!beaten.is_empty()).then_some(share),
            mase: median(chosen().filter_map(|one| one.mase)),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(values[n / 2]),
        _ => Some(f64::midpoint(values[n / 2 - 1], values[n / 2])),
    }
}

/// Sums of absolute errors over the points of one series and horizon.
struct Sums {
    n: usize,
    own: f64,
    /// None: there was a point without such a forecast.
    naive: [Option<f64>; Naive::ALL.len()],
}

/// Each series at each horizon; `forecasts` as in [`super::Forecasts`].
pub(super) fn series(train: &Windows<'_>, windows: &Windows<'_>, forecasts: &[f64]) -> Vec<OfSeries> {
    let outputs = windows.outputs();
    let mut sums: BTreeMap<(&str, usize), Sums> = BTreeMap::new();
    for k in 0..windows.len() {
        for o in (0..outputs).filter(|&o| windows.is_observed(k, o)) {
            let truth = windows.truth(k, o);
            let of = sums.entry((windows.video(k), windows.horizon(o))).or_insert(Sums {
                n: 0,
                own: 0.0,
                naive: [Some(0.0); Naive::ALL.len()],
            });
            of.n += 1;
            of.own += (forecasts[k * outputs + o] - truth).abs();
            for (sum, naive) in of.naive.iter_mut().zip(Naive::ALL) {
                let forecast = naive.forecast(windows, k, o);
                *sum = sum.zip(forecast).map(|(sum, forecast)| sum + (forecast - truth).abs());
            }
        }
    }
    let units = last_value_errors(train);
    let mut out = Vec::with_capacity(sums.len());
    for ((video, horizon), sums) in sums {
        let n = sums.n as f64;
        let known = Naive::ALL.into_iter().zip(sums.naive).filter_map(|(naive, sum)| Some((naive, sum? / n)));
        let Some((naive, naive_mae)) = known.min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        let mae = sums.own / n;
        let unit = units.get(&(video, horizon)).copied().filter(|&unit| unit > 0.0);
        out.push(OfSeries {
            video: video.to_owned(),
            horizon,
            n: sums.n,
            mae,
            naive_mae,
            naive,
            skill: skill(mae, naive_mae),
            mase: unit.map(|unit| mae / unit),
        });
    }
    out
}

/// Mean absolute error of repeating the last value, for each series and horizon.
fn last_value_errors<'a>(windows: &Windows<'a>) -> BTreeMap<(&'a str, usize), f64> {
    let mut sums: BTreeMap<(&str, usize), (f64, f64)> = BTreeMap::new();
    for k in 0..windows.len() {
        for o in (0..windows.outputs()).filter(|&o| windows.is_observed(k, o)) {
            let Some(last) = windows.before(k, 0) else { continue };
            let (sum, n) = sums.entry((windows.video(k), windows.horizon(o))).or_default();
            *sum += (windows.truth(k, o) - last).abs();
            *n += 1.0;
        }
    }
    sums.into_iter().map(|(key, (sum, n))| (key, sum / n)).collect()
}

/// 1 − `mae` / `naive_mae`; none where the naive forecast is exact, since nothing can be better than that.
pub(super) fn skill(mae: f64, naive_mae: f64) -> Option<f64> {
    (naive_mae > 0.0).then(|| {
        let skill = 1.0 - mae / naive_mae;
        // what is left of sums in another order is no skill
        if skill.abs() < 1e-9 { 0.0 } else { skill }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skill_is_one_minus_the_ratio() {
        assert_eq!(skill(0.5, 1.0), Some(0.5));
        assert_eq!(skill(1.0, 1.0), Some(0.0));
        assert_eq!(skill(3.0, 1.0), Some(-2.0));
        assert_eq!(skill(0.0, 0.0), None);
        assert_eq!(skill(0.3, 0.1 + 0.2), Some(0.0));
    }

    #[test]
    fn series_count_alike_whatever_their_size() {
        let one = |video: &str, horizon, skill: Option<f64>, mase| OfSeries {
            video: video.to_owned(),
            horizon,
            n: 1,
            mae: 0.0,
            naive_mae: 0.0,
            naive: Naive::Drift,
            skill,
            mase,
        };
        let series = [
            one("a", 1, Some(0.2), Some(0.5)),
            one("b", 1, Some(-3.0), None),
            one("c", 1, Some(0.4), Some(0.7)),
            one("d", 1, None, None),
            one("a", 24, Some(0.9), Some(1.0)),
        ];
        let nearest = Summary::of(&series, Some(1));
        assert_eq!((nearest.skill, nearest.mase), (Some(0.2), Some(0.6)));
        assert_eq!(nearest.share_beaten, Some(2.0 / 3.0));
        assert_eq!(Summary::of(&series, None).skill, Some(f64::midpoint(0.2, 0.4)));
        assert_eq!(Summary::of(&series, Some(2)).share_beaten, None);
    }
}
