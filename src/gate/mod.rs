//! The gate: scores and rules go in, a verdict with reasons comes out.
//!
//! Pure: a function of values. A failed gate is a verdict, not an error. Never heard of Burn, files or databases.

use crate::evaluate::Scores;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `[gate]`: what a version must reach before promotion; a rule left out does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Largest mean absolute error on the validation windows, scaled units.
    #[serde(default)]
    pub mae_max: Option<f64>,
    /// Largest mean squared error on the validation windows, scaled units squared.
    #[serde(default)]
    pub mse_max: Option<f64>,
    /// Smallest skill (1 − MAE / MAE of the best naive forecast) on the validation windows.
    #[serde(default)]
    pub skill_min: Option<f64>,
}

impl Default for Rules {
    /// The reference's thresholds, and a forecast that beats the naive ones: for jobs with no `[gate]` at all.
    fn default() -> Self {
        Self { mae_max: Some(0.005), mse_max: Some(0.0001), skill_min: Some(0.0) }
    }
}

impl fmt::Display for Rules {
    /// `MAE ≤ 0.005, MSE ≤ 0.0001; skill does not decide`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [("MAE ≤", self.mae_max), ("MSE ≤", self.mse_max), ("skill ≥", self.skill_min)];
        let set: Vec<String> =
            rules.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name} {limit}"))).collect();
        f.write_str(&set.join(", "))?;
        for (name, _) in rules.iter().filter(|(_, limit)| limit.is_none()) {
            write!(f, "; {} does not decide", name.split(' ').next().unwrap_or(name))?;
        }
        Ok(())
    }
}

/// What the gate said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every rule was met.
    pub passed: bool,
    /// One entry a rule, in the order of [`Rules`].
    pub rules: Vec<Judged>,
}

/// One rule with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// `mae_max`, `mse_max`, `skill_min`.
    pub rule: String,
    /// What was measured; none where it is undefined.
    pub value: Option<f64>,
    /// What the rule asks.
    pub limit: f64,
    /// Whether the rule was met.
    pub passed: bool,
    /// The same as a sentence.
    pub reason: String,
}

impl Verdict {
    /// The sentences of the rules that were not met.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|r| !r.passed).map(|r| r.reason.as_str())
    }

    /// `passed` or `rejected`, as it is stored and shown.
    pub fn word(&self) -> &'static str {
        if self.passed { "passed" } else { "rejected" }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        for (k, failure) in self.failures().enumerate() {
            write!(f, "{} {failure}", if k == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Judges scores by the rules.
pub fn judge(rules: &Rules, scores: &Scores) -> Verdict {
    let mut judged = Vec::new();
    let errors = [
        ("mae_max", "MAE", rules.mae_max, scores.own.scaled.mae),
        ("mse_max", "MSE", rules.mse_max, scores.own.scaled.mse),
    ];
    for (rule, name, limit, value) in errors {
        let Some(limit) = limit else { continue };
        // `<=` is false for NaN: what could not be measured does not pass
        let passed = value <= limit;
        let reason = format!("{name} {value:.6} is {} the limit {limit}", if passed { "within" } else { "above" });
        judged.push(Judged { rule: rule.to_owned(), value: Some(value), limit, passed, reason });
    }
    if let Some(limit) = rules.skill_min {
        judged.push(judge_skill(scores.skill, limit));
    }
    Verdict { passed: judged.iter().all(|rule| rule.passed), rules: judged }
}

fn judge_skill(skill: Option<f64>, limit: f64) -> Judged {
    let (passed, reason) = match skill {
        Some(skill) if skill >= limit => (true, format!("skill {skill:.3} reaches {limit}")),
        Some(skill) if skill <= 0.0 => {
            (false, format!("skill {skill:.3} is below {limit}: a naive forecast is at least as good"))
        }
        Some(skill) => (false, format!("skill {skill:.3} is below {limit}")),
        None => (false, "skill is undefined: a naive forecast makes no error on these points".to_owned()),
    };
    Judged { rule: "skill_min".to_owned(), value: skill, limit, passed, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Errors, Measured};
    use std::collections::BTreeMap;

    fn scores(mae: f64, mse: f64, skill: Option<f64>) -> Scores {
        let errors = Errors { mae, mse, rmse: mse.sqrt(), max_error: mae };
        Scores { n: 1, own: Measured { scaled: errors, counts: errors }, naive: BTreeMap::new(), skill }
    }

    fn check(rules: Rules, scores: &Scores, passed: bool, failures: &[&str]) {
        let verdict = judge(&rules, scores);
        assert_eq!(verdict.passed, passed, "{verdict}");
        assert_eq!(verdict.failures().collect::<Vec<_>>(), failures);
    }

    #[test]
    fn rules_decide() {
        let none = Rules { mae_max: None, mse_max: None, skill_min: None };
        let mae = Rules { mae_max: Some(0.005), ..none };
        let skill = Rules { skill_min: Some(0.1), ..none };
        check(none, &scores(9.0, 9.0, Some(-9.0)), true, &[]);
        check(mae, &scores(0.005, 1.0, None), true, &[]);
        check(mae, &scores(0.0051, 0.0, None), false, &["MAE 0.005100 is above the limit 0.005"]);
        check(mae, &scores(f64::NAN, 0.0, None), false, &["MAE NaN is above the limit 0.005"]);
        check(skill, &scores(0.0, 0.0, Some(0.1)), true, &[]);
        check(skill, &scores(0.0, 0.0, Some(0.05)), false, &["skill 0.050 is below 0.1"]);
        check(
            Rules::default(),
            &scores(0.001, 0.001, Some(-2.0)),
            false,
            &[
                "MSE 0.001000 is above the limit 0.0001",
                "skill -2.000 is below 0: a naive forecast is at least as good",
            ],
        );
        check(
            skill,
            &scores(0.0, 0.0, None),
            false,
            &["skill is undefined: a naive forecast makes no error on these points"],
        );
    }

    #[test]
    fn a_verdict_reads_as_a_sentence() {
        let verdict = judge(&Rules::default(), &scores(0.01, 0.00001, Some(0.5)));
        assert_eq!(verdict.to_string(), "rejected: MAE 0.010000 is above the limit 0.005");
        assert_eq!(judge(&Rules::default(), &scores(0.001, 0.00001, Some(0.5))).to_string(), "passed");
    }
}
