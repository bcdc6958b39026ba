//! Export: plain weights go in, the bytes of an ONNX file come out.
//!
//! Burn has no ONNX exporter for LSTMs, so the graph is written here, in the form that ONNX Runtime, `onnx.checker`
//! and Burn's importer all take: opset 17, symbolic batch. Knows neither Burn nor ONNX Runtime.

mod builder;
mod graph;
mod increment;
mod looking;
mod proto;

pub use graph::{Description, INPUT, OUTPUT, to_onnx};
pub use increment::{GROWTH, HISTORY, LOWER, Mixing, Parts, SEEN, TIME, UPPER, increment_to_onnx};

/// Largest difference allowed between the network in memory and the exported file, in scaled units.
pub const PARITY_LIMIT: f64 = 1e-5;

/// The network in memory and its export disagree.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "the network in memory and the exported file differ by {largest:e} on validation window \
     {window} (limit {PARITY_LIMIT:e}); the version was not registered"
)]
pub struct ParityError {
    /// The difference in scaled units; NaN where one side is not a number.
    pub largest: f64,
    /// Where.
    pub window: usize,
}

/// The largest difference between two lists of forecasts for the same windows, if within [`PARITY_LIMIT`].
pub fn check_parity(in_memory: &[f32], exported: &[f32]) -> Result<f64, ParityError> {
    assert_eq!(in_memory.len(), exported.len(), "forecasts for the same windows");
    largest(in_memory.iter().zip(exported).map(|(a, b)| f64::from((a - b).abs())))
}

/// The same of differences that are known already, one a window or a fixed number of them. Unit: scaled units.
pub fn largest(differences: impl Iterator<Item = f64>) -> Result<f64, ParityError> {
    let mut worst = ParityError { largest: 0.0, window: 0 };
    for (window, difference) in differences.enumerate() {
        if difference.is_nan() {
            return Err(ParityError { largest: difference, window });
        }
        if difference > worst.largest {
            worst = ParityError { largest: difference, window };
        }
    }
    if worst.largest <= PARITY_LIMIT { Ok(worst.largest) } else { Err(worst) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity() {
        assert_eq!(check_parity(&[], &[]), Ok(0.0));
        assert!(check_parity(&[1.0, 2.0], &[1.0, 2.000_005]).is_ok());
        let error = check_parity(&[1.0, 2.0, 3.0], &[1.0, 2.1, 3.0]).expect_err("too far apart");
        assert_eq!(error.window, 1);
        assert!(check_parity(&[f32::NAN], &[f32::NAN]).is_err(), "two NaNs do not agree on anything");
    }
}
