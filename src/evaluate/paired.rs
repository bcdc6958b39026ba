//! Two forecasts of the same points: is one really better, or was it luck?

use super::Forecasts;
use crate::recipe::Windows;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;
/// Steps of a block where the steps of a day are not known.
const BLOCK: usize = 48;

/// A challenger against a champion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Points that both forecast.
    pub n: usize,
    /// Steps ahead that both forecast, where one of them forecasts more.
    pub steps: Option<usize>,
    /// The champion's MAE there, in units of each series' range.
    pub champion_mae: f64,
    /// The challenger's.
    pub challenger_mae: f64,
    /// Share of resamples in which the challenger is not better by the margin: small when its lead is no luck.
    pub p_value: f64,
}

/// Compares the two by a block bootstrap: errors of one series that follow one another belong together, so whole days
/// are drawn, each series' share of the points kept.
///
/// `champion` `[windows, steps]` may forecast another number of steps: the nearest that both forecast are compared.
/// `margin` is the share of the champion's MAE by which the challenger must be better. The draws follow from a fixed
/// seed. Panics when the two do not forecast the same windows.
pub fn compare(windows: &Windows<'_>, champion: &[f64], challenger: Forecasts<'_>, margin: f64) -> Option<Paired> {
    let (outputs, challenger) = (windows.outputs(), challenger.values);
    let steps = champion.len() / windows.len().max(1);
    assert_eq!(champion.len(), windows.len() * steps, "as many forecasts for every window");
    assert_eq!(challenger.len(), windows.len() * outputs, "one forecast a window and horizon");
    let common = steps.min(outputs);
    // one entry a window: points, and the sums of both errors; blocks never span two series
    let mut windows_of: Vec<Vec<[f64; 3]>> = Vec::new();
    let mut video = None;
    for k in 0..windows.len() {
        let mut entry = [0.0; 3];
        for o in (0..common).filter(|&o| windows.is_observed(k, o)) {
            let truth = windows.truth(k, o);
            entry[0] += 1.0;
            entry[1] += (champion[k * steps + o] - truth).abs();
            entry[2] += (challenger[k * outputs + o] - truth).abs();
        }
        if video != Some(windows.video(k)) {
            video = Some(windows.video(k));
            windows_of.push(Vec::new());
        }
        if let Some(last) = windows_of.last_mut() {
            last.push(entry);
        }
    }
    let paired = bootstrap(&windows_of, windows.day().unwrap_or(BLOCK), margin)?;
    Some(Paired { steps: (steps != outputs).then_some(common), ..paired })
}

fn bootstrap(series: &[Vec<[f64; 3]>], block: usize, margin: f64) -> Option<Paired> {
    let blocks: Vec<Vec<[f64; 3]>> = series.iter().map(|entries| entries.chunks(block).map(sum).collect()).collect();
    let all = sum(&series.concat());
    if all[0] == 0.0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut worse = 0;
    for _ in 0..RESAMPLES {
        let mut total = [0.0; 3];
        for blocks in &blocks {
            for _ in 0..blocks.len() {
                let drawn = blocks[random.random_range(0..blocks.len())];
                (0..3).for_each(|k| total[k] += drawn[k]);
            }
        }
        if total[2] >= total[1] * (1.0 - margin) {
            worse += 1;
        }
    }
    Some(Paired {
        n: all[0] as usize,
        steps: None,
        champion_mae: all[1] / all[0],
        challenger_mae: all[2] / all[0],
        p_value: f64::from(worse) / RESAMPLES as f64,
    })
}

fn sum(entries: &[[f64; 3]]) -> [f64; 3] {
    entries.iter().fold([0.0; 3], |sum, entry| [0, 1, 2].map(|k| sum[k] + entry[k]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two series of `n` windows; champion's errors 1 with noise, the challenger's `factor` times other noise.
    fn check(factor: f64, margin: f64) -> Paired {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut noise = || random.random_range(0.0..2.0);
        let series: Vec<Vec<[f64; 3]>> =
            (0..2).map(|_| (0..480).map(|_| [1.0, noise(), factor * noise()]).collect()).collect();
        bootstrap(&series, 48, margin).expect("points")
    }

    #[test]
    fn a_clear_lead_is_told_from_luck() {
        assert!(check(0.8, 0.0).p_value < 0.01);
        assert!(check(1.25, 0.0).p_value > 0.99);
        assert!(check(0.8, 0.5).p_value > 0.99, "better, but not by half");
        let same = bootstrap(&[vec![[1.0, 0.5, 0.5]; 96]], 48, 0.0).expect("points");
        assert_eq!((same.p_value, same.n), (1.0, 96));
        assert_eq!(bootstrap(&[], 48, 0.0), None);
    }
}
