//! How the growth that a model sees is spread, then and now.

use serde::{Deserialize, Serialize};

/// Bins of equal share at training.
const BINS: usize = 10;
/// A bin that is empty counts as this share, so that the index stays finite.
const LEAST: f64 = 1e-4;

/// How values are spread: edges between bins, and the share of values in each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Ascending; the outermost bins are open. Unit: scaled growth a step.
    pub edges: Vec<f64>,
    /// One more than edges; they sum to 1.
    pub shares: Vec<f64>,
}

/// How far two spreads are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Population stability index: Σ (now − then) · ln(now / then). Below 0.1 small, above 0.25 large, as is usual.
    pub psi: f64,
    /// Largest difference of the two cumulative shares at an edge (Kolmogorov–Smirnov, on the bins).
    pub ks: f64,
    /// Values now.
    pub n: usize,
}

impl Histogram {
    /// Bins that hold about equal shares of `values`. None: there are none, or one of them is no number.
    pub fn of(values: &mut [f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| value.is_nan()) {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..BINS).map(|k| values[k * values.len() / BINS]).collect();
        // counts that stand still for hours put several edges on 0
        edges.dedup();
        let shares = shares(&edges, values);
        Some(Self { edges, shares })
    }

    /// How far `values` are from this spread. None: there are none.
    pub fn drift(&self, values: &[f64]) -> Option<Drift> {
        if values.is_empty() {
            return None;
        }
        let now = shares(&self.edges, values);
        let (mut psi, mut ks, mut sum) = (0.0, 0.0f64, 0.0);
        for (now, then) in now.iter().zip(&self.shares) {
            let (a, b) = (now.max(LEAST), then.max(LEAST));
            psi += (a - b) * (a / b).ln();
            sum += now - then;
            ks = ks.max(sum.abs());
        }
        Some(Drift { psi, ks, n: values.len() })
    }
}

fn shares(edges: &[f64], values: &[f64]) -> Vec<f64> {
    let mut counts = vec![0u64; edges.len() + 1];
    for value in values {
        counts[edges.partition_point(|edge| edge <= value)] += 1;
    }
    counts.into_iter().map(|n| n as f64 / values.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_spread_has_not_drifted_and_another_has() {
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        let histogram = Histogram::of(&mut values).expect("values");
        assert_eq!((histogram.edges.len(), histogram.shares.len()), (9, 10));
        let same = histogram.drift(&values).expect("values");
        assert!(same.psi.abs() < 1e-12 && same.ks.abs() < 1e-12);
        let moved: Vec<f64> = values.iter().map(|v| v + 300.0).collect();
        let drift = histogram.drift(&moved).expect("values");
        assert!(drift.psi > 0.25 && (drift.ks - 0.3).abs() < 0.01, "{drift:?}");
        assert_eq!(Histogram::of(&mut []), None);
        assert_eq!(histogram.drift(&[]), None);
    }

    #[test]
    fn many_equal_values_make_fewer_bins() {
        let mut values = [vec![0.0; 90], (1..=10).map(f64::from).collect()].concat();
        let histogram = Histogram::of(&mut values).expect("values");
        assert_eq!(histogram.edges, [0.0, 1.0]);
        assert_eq!(histogram.shares, [0.0, 0.9, 0.1]);
    }
}
