//! Intervals around forecasts, as wide as the errors that were made on windows that did not train.

use serde::{Deserialize, Serialize};

/// Fewest errors that an interval is made of.
const LEAST: usize = 50;

/// What is added to a forecast for the ends of its interval, for each horizon. Unit: scaled growth a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Share of truths that an interval is to hold.
    pub level: f64,
    /// `[horizon]`
    pub lower: Vec<f64>,
    /// `[horizon]`
    pub upper: Vec<f64>,
}

impl Intervals {
    /// Split conformal intervals: the quantiles of `truth − forecast`, a list a horizon. None: too few errors.
    pub fn of(level: f64, mut errors: Vec<Vec<f64>>) -> Option<Self> {
        if errors.iter().any(|errors| errors.len() < LEAST) {
            return None;
        }
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for errors in &mut errors {
            errors.sort_unstable_by(f64::total_cmp);
            let n = errors.len() as f64;
            // one more than there are: the next error ranks anywhere among them with equal chance
            let tail = (1.0 - level) / 2.0;
            // what rounding left of a whole rank is not to move it
            let below = ((n + 1.0) * tail + 1e-9).floor().max(1.0) as usize - 1;
            let above = (((n + 1.0) * (1.0 - tail) - 1e-9).ceil() as usize - 1).min(errors.len() - 1);
            lower.push(errors[below]);
            upper.push(errors[above]);
        }
        Some(Self { level, lower, upper })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_errors() {
        let errors: Vec<f64> = (1..=99).rev().map(f64::from).collect();
        let intervals = Intervals::of(0.8, vec![errors]).expect("enough");
        assert_eq!((intervals.lower[0], intervals.upper[0]), (10.0, 90.0));
        assert_eq!(Intervals::of(0.8, vec![vec![0.0; LEAST - 1]]), None);
    }
}
