//! A linear model on the candidates and the features of the window: the challenger of the network.

use super::plan::CANDIDATES;
use super::{Pool, standardise};
use serde::{Deserialize, Serialize};

/// Examples that a blend is fitted to at most; more change its few coefficients by nothing.
const FITTED: usize = 10_000;
/// Rounds of reweighting; the coefficients settle before.
const ROUNDS: usize = 20;
/// Errors below this count as this: where the weights of the reweighting end. Unit: scaled growth.
const SMALLEST_ERROR: f64 = 1e-3;
/// Penalty on squared coefficients, as a share of a typical diagonal element.
const RIDGE: f64 = 1e-3;

/// Coefficients for each horizon: of the candidates, of the standardised features of a window, and a constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// As fitted, `[horizon][candidates + statics + 1]`.
    pub coefficients: Vec<Vec<f64>>,
    /// What is taken from the features of a window.
    pub mean: Vec<f32>,
    /// What they are divided by then.
    pub deviation: Vec<f32>,
}

impl Blend {
    /// Fits a blend to each horizon by itself.
    pub fn fit(pool: &Pool) -> Self {
        let statics = pool.mean.len();
        let stride = pool.n.div_ceil(FITTED).max(1);
        let of_horizon = |h: usize| {
            let (mut x, mut y, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            let places = (0..pool.n).step_by(stride).map(|window| (window, window * pool.horizon + h));
            for (window, k) in places.filter(|&(_, k)| pool.weight[k] > 0.0) {
                x.extend(pool.candidates[k * CANDIDATES..(k + 1) * CANDIDATES].iter().map(|&x| f64::from(x)));
                x.extend(pool.statics[window * statics..(window + 1) * statics].iter().map(|&x| f64::from(x)));
                y.push(f64::from(pool.truth[k]));
                weights.push(f64::from(pool.weight[k]));
            }
            fit(&x, CANDIDATES + statics, &y, &weights)
        };
        let coefficients = (0..pool.horizon).map(of_horizon).collect();
        Self { coefficients, mean: pool.mean.clone(), deviation: pool.deviation.clone() }
    }

    /// Growth over each horizon, `[horizon]`. Unit: counts. `candidates` `[horizon, candidates]`; `statics` are the
    /// window's, not standardised; `pace` is that of its last day.
    pub fn growth(&self, candidates: &[f64], statics: &[f32], pace: f64) -> Vec<f64> {
        let mut standard = statics.to_vec();
        standardise(&mut standard, &self.mean, &self.deviation);
        let one = |(h, (coefficients, candidates)): (usize, (&Vec<f64>, &[f64]))| {
            let sum: f64 = candidates.iter().zip(coefficients).map(|(x, c)| x * c).sum();
            let (of_statics, constant) = coefficients[CANDIDATES..].split_at(standard.len());
            let shift: f64 = standard.iter().zip(of_statics).map(|(&x, c)| f64::from(x) * c).sum();
            sum + (shift + constant[0]) * (pace * (h + 1) as f64)
        };
        self.coefficients.iter().zip(candidates.chunks(CANDIDATES)).enumerate().map(one).collect()
    }
}

/// Least absolute errors with a small ridge penalty, by iteratively reweighted least squares.
///
/// Shapes: `x` `[n, width]`, `y` and `weights` `[n]` → `[width + 1]`. All zeros where there is nothing to learn from.
pub(super) fn fit(x: &[f64], width: usize, y: &[f64], weights: &[f64]) -> Vec<f64> {
    let n = y.len();
    let mut coefficients = vec![0.0; width + 1];
    if n == 0 {
        return coefficients;
    }
    let row = |i: usize| &x[i * width..(i + 1) * width];
    let size = width + 1;
    let mut reweighted = weights.to_vec();
    let (mut penalty, mut values) = (None, vec![1.0; size]);
    for _ in 0..ROUNDS {
        let mut gram = vec![0.0; size * size];
        let mut right = vec![0.0; size];
        for (i, &w) in reweighted.iter().enumerate() {
            // the last one stays 1: the constant
            values[..width].copy_from_slice(row(i));
            for a in 0..size {
                let wa = w * values[a];
                right[a] += wa * y[i];
                gram[a * size..=a * size + a].iter_mut().zip(&values).for_each(|(sum, value)| *sum += wa * value);
            }
        }
        let trace: f64 = (0..size).map(|a| gram[a * size + a]).sum();
        // that of the first round: later weights grow without bound where errors are small
        let penalty = *penalty.get_or_insert(RIDGE * trace / size as f64 + f64::MIN_POSITIVE);
        for a in 0..size {
            gram[a * size + a] += penalty;
        }
        let Some(solved) = solve(gram, right) else { break };
        coefficients = solved;
        for (i, w) in reweighted.iter_mut().enumerate() {
            let forecast: f64 = row(i).iter().zip(&coefficients).map(|(x, c)| x * c).sum::<f64>() + coefficients[width];
            *w = weights[i] / (y[i] - forecast).abs().max(SMALLEST_ERROR);
        }
    }
    coefficients
}

/// Solves a symmetric positive definite system by Cholesky's method; `a` holds the lower triangle `[size, size]`.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for j in 0..n {
        for i in j..n {
            let sum: f64 = (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
            let value = a[i * n + j] - sum;
            if i > j {
                a[i * n + j] = value / a[j * n + j];
            } else if value > 0.0 && value.is_finite() {
                a[j * n + j] = value.sqrt();
            } else {
                return None;
            }
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_among_outliers() {
        let n = 200;
        let x: Vec<f64> = (0..n).flat_map(|i| [f64::from(i % 7), f64::from(i % 5)]).collect();
        let mut y: Vec<f64> = x.chunks(2).map(|x| 0.5 * x[0] - 2.0 * x[1] + 3.0).collect();
        for outlier in y.iter_mut().step_by(9) {
            *outlier += 1000.0;
        }
        let found = fit(&x, 2, &y, &vec![1.0; n as usize]);
        for (found, expected) in found.iter().zip([0.5, -2.0, 3.0]) {
            assert!((found - expected).abs() < 0.1, "{found} for {expected}");
        }
    }

    #[test]
    fn a_blend_is_in_counts() {
        let coefficients = vec![vec![0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 1.0]; 2];
        let blend = Blend { coefficients, mean: vec![1.0], deviation: vec![0.5] };
        let candidates =
            [[10.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0], [20.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]].concat();
        assert_eq!(blend.growth(&candidates, &[2.0], 3.0), [5.0 + 1.5 * 3.0, 10.0 + 1.5 * 6.0]);
    }

    #[test]
    fn nothing_to_learn_from_gives_nothing() {
        assert_eq!(fit(&[], 2, &[], &[]), [0.0; 3]);
        let constant = fit(&[0.0; 20], 2, &[0.0; 10], &[1.0; 10]);
        assert!(constant.iter().all(|c| c.abs() < 1e-9), "{constant:?}");
    }
}
