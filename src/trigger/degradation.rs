//! `degradation` trigger. In: the evaluations of the version in service. Out: due, or why not.

use super::Waiting;
use crate::document::Flaw;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

/// `[trigger.degradation]`: when evaluations say that a version in service has become worse than it was at promotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degradation {
    /// Its MAE as a multiple of its MAE when it was judged; above 1. Default: 1.5.
    #[serde(default = "ratio")]
    pub mae_ratio: f64,
    /// Evaluations in a row that must say so; at least 1. Default: 2.
    #[serde(default = "two")]
    pub evaluations: NonZeroU32,
}

fn ratio() -> f64 {
    1.5
}

fn two() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(1)
}

/// What is known of one version in service, in the same recipe and units throughout.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `views`, `likes` or `comments`.
    pub target: String,
    /// Its name.
    pub version: String,
    /// MAE when it was judged.
    pub mae_at_promotion: f64,
    /// Later evaluations: when, and the MAE; newest first.
    pub evaluations: Vec<(DateTime<Utc>, f64)>,
}

/// A version that has become worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Worse {
    /// Whose.
    pub target: String,
    /// Which.
    pub version: String,
    /// MAE of the newest evaluation as a multiple of that at promotion.
    pub ratio: f64,
    /// The multiple above which it counts.
    pub limit: f64,
    /// The newest evaluation: together with the version it names this finding.
    pub measured_at: DateTime<Utc>,
}

impl Degradation {
    /// Whether a version has become worse. Err: why it does not count as that.
    pub fn due(&self, seen: &Seen) -> Result<Worse, Waiting> {
        let need = self.evaluations.get() as usize;
        let ratios: Vec<f64> = seen.evaluations.iter().map(|(_, mae)| mae / seen.mae_at_promotion).collect();
        let worse = ratios.iter().take_while(|ratio| **ratio > self.mae_ratio).count();
        let waiting = |text: String| Err(Waiting(format!("{} {}: {text}", seen.target, seen.version)));
        let (Some(&ratio), Some(&(measured_at, _))) = (ratios.first(), seen.evaluations.first()) else {
            return waiting("not evaluated yet".to_owned());
        };
        // a version that was exact has no multiple: any error at all would be infinitely worse
        if !ratio.is_finite() {
            return waiting(format!("its MAE at promotion was {}", seen.mae_at_promotion));
        }
        if worse < need {
            return waiting(format!(
                "MAE is {ratio:.2} times that at promotion; {worse} of {need} evaluations in a row"
            ));
        }
        let (target, version) = (seen.target.clone(), seen.version.clone());
        Ok(Worse { target, version, ratio, limit: self.mae_ratio, measured_at })
    }

    pub(super) fn check(&self) -> Vec<Flaw> {
        if self.mae_ratio > 1.0 && self.mae_ratio.is_finite() {
            return Vec::new();
        }
        vec![Flaw::at("mae_ratio", format!("must be a number above 1, not {}", self.mae_ratio))]
    }
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MAE above {} times that at promotion", self.mae_ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn check(at_promotion: f64, newest_first: &[f64], expected: Result<f64, &str>) {
        let trigger: Degradation = toml_edit::de::from_str("").expect("settings");
        let now = Utc::now();
        let evaluations =
            newest_first.iter().enumerate().map(|(k, mae)| (now - TimeDelta::days(k as i64), *mae)).collect();
        let seen = Seen {
            target: "views".to_owned(),
            version: "v0001".to_owned(),
            mae_at_promotion: at_promotion,
            evaluations,
        };
        let found = trigger.due(&seen).map(|worse| (worse.ratio * 100.0).round() / 100.0);
        assert_eq!(found, expected.map_err(|reason| Waiting(format!("views v0001: {reason}"))), "{newest_first:?}");
    }

    #[test]
    fn only_several_bad_evaluations_in_a_row_count() {
        check(0.01, &[], Err("not evaluated yet"));
        check(0.01, &[0.016], Err("MAE is 1.60 times that at promotion; 1 of 2 evaluations in a row"));
        check(0.01, &[0.016, 0.02], Ok(1.6));
        check(0.01, &[0.016, 0.01, 0.9], Err("MAE is 1.60 times that at promotion; 1 of 2 evaluations in a row"));
        check(0.01, &[0.015, 0.9, 0.9], Err("MAE is 1.50 times that at promotion; 0 of 2 evaluations in a row"));
        check(0.0, &[0.1, 0.1], Err("its MAE at promotion was 0"));
    }

    #[test]
    fn a_ratio_that_always_holds_is_refused() {
        let trigger: Degradation = toml_edit::de::from_str("mae_ratio = 1.0").expect("settings");
        assert_eq!(trigger.check().len(), 1);
    }
}
