//! Judging: forecasts and truth go in, scores come out, beside those of naive forecasts on the same points.
//!
//! Never knows where forecasts come from; a gate decides what scores are worth.

mod metric;
mod naive;

pub use metric::Errors;
pub use naive::Naive;

use crate::recipe::Windows;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scores of one version on the validation windows, and of the naive forecasts on the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Windows judged.
    pub n: usize,
    /// The version's own.
    #[serde(flatten)]
    pub own: Measured,
    /// Naive forecasts on the same windows.
    pub naive: BTreeMap<Naive, Measured>,
    /// 1 − MAE / MAE of the best naive forecast (scaled); none where that forecast makes no error at all.
    pub skill: Option<f64>,
}

/// Errors of one forecast in both units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// In the recipe's scaled units.
    #[serde(flatten)]
    pub scaled: Errors,
    /// In counts.
    pub counts: Errors,
}

/// Scores `forecasts` (scaled, one a window, in order).
///
/// Panics when there are more or fewer forecasts than windows: that would compare different points.
pub fn score(windows: &Windows<'_>, forecasts: &[f32]) -> Scores {
    assert_eq!(windows.len(), forecasts.len(), "one forecast a window");
    let own = measure(windows, |k| f64::from(forecasts[k]));
    let naive: BTreeMap<_, _> =
        Naive::ALL.into_iter().map(|n| (n, measure(windows, |k| n.forecast(windows, k)))).collect();
    let best = naive.values().map(|n| n.scaled.mae).fold(f64::INFINITY, f64::min);
    Scores { n: windows.len(), own, naive, skill: skill(own.scaled.mae, best) }
}

/// 1 − `mae` / `naive_mae`; none where the naive forecast is exact, since nothing can be better than that.
fn skill(mae: f64, naive_mae: f64) -> Option<f64> {
    (naive_mae > 0.0).then(|| 1.0 - mae / naive_mae)
}

fn measure(windows: &Windows<'_>, forecast: impl Fn(usize) -> f64) -> Measured {
    let difference = |k: usize| forecast(k) - f64::from(windows.truth(k));
    Measured {
        scaled: Errors::of((0..windows.len()).map(difference)),
        counts: Errors::of((0..windows.len()).map(|k| difference(k) * windows.counts_per_unit(k))),
    }
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
    }
}
