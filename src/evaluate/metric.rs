//! Measures of error.

use serde::{Deserialize, Serialize};

/// Errors over a number of points, all in the same unit (`mse` in its square).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Mean absolute error.
    pub mae: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Its root.
    pub rmse: f64,
    /// The largest absolute error.
    pub max_error: f64,
}

impl Errors {
    /// Errors of `forecast − truth`; not a number when there are no points.
    pub(super) fn of(differences: impl Iterator<Item = f64>) -> Self {
        let (mut n, mut absolute, mut squared, mut max) = (0.0, 0.0, 0.0, 0.0f64);
        for d in differences {
            n += 1.0;
            absolute += d.abs();
            squared += d * d;
            // a NaN must not vanish in a maximum
            max = if max.is_nan() || d.is_nan() { f64::NAN } else { max.max(d.abs()) };
        }
        Self { mae: absolute / n, mse: squared / n, rmse: (squared / n).sqrt(), max_error: max }
    }
}

/// An error as people read it: six decimals, or powers of ten where those would show nothing.
pub fn figure(value: f64) -> String {
    if value == 0.0 || value.abs() >= 0.0001 { format!("{value:.6}") } else { format!("{value:.2e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_show_something() {
        assert_eq!(figure(0.001_239_4), "0.001239");
        assert_eq!(figure(0.000_001_53), "1.53e-6");
        assert_eq!(figure(0.0), "0.000000");
    }

    #[test]
    fn errors_of_known_differences() {
        let e = Errors::of([1.0, -3.0, 2.0, 0.0].into_iter());
        assert_eq!((e.mae, e.mse, e.max_error), (1.5, 3.5, 3.0));
        assert_eq!(e.rmse, 3.5f64.sqrt());
        let broken = Errors::of([1.0, f64::NAN, 2.0].into_iter());
        assert!(broken.mae.is_nan() && broken.max_error.is_nan());
        assert!(Errors::of(std::iter::empty()).mae.is_nan());
    }
}
