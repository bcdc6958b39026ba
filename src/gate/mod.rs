//! The gate: scores and rules go in, a verdict with reasons comes out.
//!
//! Pure: a function of values. A failed gate is a verdict, not an error. Never heard of Burn, files or databases.

use crate::evaluate::{Paired, Scores, figure};
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
    /// Whether it must forecast the same points better than the version in service, and not by luck.
    #[serde(default)]
    pub better_than_champion: bool,
    /// By what share of the champion's MAE it must be better; 0 to below 1.
    #[serde(default)]
    pub champion_margin: f64,
}

/// Largest share of resamples in which the challenger may fall short of the champion.
pub const P_MAX: f64 = 0.05;

/// The version in service, as the rule `better_than_champion` sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Champion {
    /// There is none: whatever meets the other rules is the first.
    None,
    /// It cannot forecast these points; why, in words.
    Incomparable(String),
    /// Both forecast the same points.
    Compared {
        /// Its name.
        version: String,
        /// What came of it.
        paired: Paired,
    },
}

impl Rules {
    /// No rule at all.
    pub const NONE: Self =
        Self { mae_max: None, mse_max: None, skill_min: None, better_than_champion: false, champion_margin: 0.0 };
}

impl Default for Rules {
    /// The reference's thresholds, and a forecast that beats the naive ones: for jobs with no `[gate]` at all.
    fn default() -> Self {
        Self { mae_max: Some(0.005), mse_max: Some(0.0001), skill_min: Some(0.0), ..Self::NONE }
    }
}

impl fmt::Display for Rules {
    /// `MAE ≤ 0.005, MSE ≤ 0.0001; skill does not decide`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [("MAE ≤", self.mae_max), ("MSE ≤", self.mse_max), ("skill ≥", self.skill_min)];
        let mut set: Vec<String> =
            rules.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name} {limit}"))).collect();
        match (self.better_than_champion, self.champion_margin) {
            (false, _) => {}
            (true, 0.0) => set.push("better than the champion".to_owned()),
            (true, margin) => set.push(format!("better than the champion by {} %", margin * 100.0)),
        }
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
    /// `mae_max`, `mse_max`, `skill_min`, `better_than_champion`.
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

/// Judges scores by the rules; `champion` is looked at only where a rule asks for it.
pub fn judge(rules: &Rules, scores: &Scores, champion: &Champion) -> Verdict {
    let mut judged = Vec::new();
    let errors = [
        ("mae_max", "MAE", rules.mae_max, scores.own.scaled.mae),
        ("mse_max", "MSE", rules.mse_max, scores.own.scaled.mse),
    ];
    for (rule, name, limit, value) in errors {
        let Some(limit) = limit else { continue };
        // `<=` is false for NaN: what could not be measured does not pass
        let passed = value <= limit;
        let shown = figure(value);
        let reason = format!("{name} {shown} is {} the limit {limit}", if passed { "within" } else { "above" });
        judged.push(Judged { rule: rule.to_owned(), value: Some(value), limit, passed, reason });
    }
    if let Some(limit) = rules.skill_min {
        judged.push(judge_skill(scores.skill, limit));
    }
    if rules.better_than_champion {
        judged.push(judge_champion(champion, rules.champion_margin));
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

/// The value is the share by which the challenger's MAE is below the champion's.
fn judge_champion(champion: &Champion, margin: f64) -> Judged {
    let (value, passed, reason) = match champion {
        Champion::None => (None, true, "there is no champion to beat: this is the first version".to_owned()),
        Champion::Incomparable(why) => (None, true, format!("the champion was not compared: {why}")),
        Champion::Compared { version, paired } => {
            let Paired { champion_mae, challenger_mae, p_value, n, steps } = *paired;
            let lead = if champion_mae > 0.0 { 1.0 - challenger_mae / champion_mae } else { 0.0 };
            let passed = lead >= margin && p_value <= P_MAX;
            let ahead = steps.map_or_else(String::new, |steps| format!(" 1 to {steps} steps ahead"));
            let figures =
                format!("MAE {challenger_mae:.3e} against {champion_mae:.3e} on {n} points{ahead}, p = {p_value:.3}");
            let reason = match (passed, lead >= margin) {
                (false, true) if lead <= 0.0 => format!("no better than champion {version}: {figures}"),
                (true, _) => format!("better than champion {version}: {figures}"),
                (false, true) => format!("better than champion {version}, but that may be luck: {figures}"),
                (false, false) if lead > 0.0 => {
                    format!("better than champion {version} by less than {} %: {figures}", margin * 100.0)
                }
                (false, false) => format!("no better than champion {version}: {figures}"),
            };
            (Some(lead), passed, reason)
        }
    };
    Judged { rule: "better_than_champion".to_owned(), value, limit: margin, passed, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Errors, Measured};
    use std::collections::BTreeMap;

    fn scores(mae: f64, mse: f64, skill: Option<f64>) -> Scores {
        let errors = Errors { mae, mse, rmse: mse.sqrt(), max_error: mae };
        Scores {
            n: 1,
            own: Measured { scaled: errors, counts: errors },
            naive: BTreeMap::new(),
            skill,
            share_beaten: None,
            mase: None,
            coverage: None,
            horizons: Vec::new(),
            series: Vec::new(),
        }
    }

    fn check(rules: Rules, scores: &Scores, passed: bool, failures: &[&str]) {
        let verdict = judge(&rules, scores, &Champion::None);
        assert_eq!(verdict.passed, passed, "{verdict}");
        assert_eq!(verdict.failures().collect::<Vec<_>>(), failures);
    }

    #[test]
    fn rules_decide() {
        let none = Rules::NONE;
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
        let verdict = judge(&Rules::default(), &scores(0.01, 0.00001, Some(0.5)), &Champion::None);
        assert_eq!(verdict.to_string(), "rejected: MAE 0.010000 is above the limit 0.005");
        let fine = judge(&Rules::default(), &scores(0.001, 0.00001, Some(0.5)), &Champion::None);
        assert_eq!(fine.to_string(), "passed");
    }

    #[test]
    fn a_challenger_must_beat_the_champion_by_more_than_luck() {
        let rules = Rules { better_than_champion: true, champion_margin: 0.1, ..Rules::NONE };
        assert_eq!(
            rules.to_string(),
            "better than the champion by 10 %; MAE does not decide; MSE does not decide; skill does not decide"
        );
        let check = |champion: Champion, passed: bool, says: &str| {
            let verdict = judge(&rules, &scores(1.0, 1.0, None), &champion);
            assert_eq!(verdict.passed, passed, "{champion:?}");
            assert!(verdict.rules[0].reason.starts_with(says), "{}", verdict.rules[0].reason);
        };
        let compared = |challenger_mae, p_value| Champion::Compared {
            version: "v0001".to_owned(),
            paired: Paired { n: 9, steps: None, champion_mae: 1.0, challenger_mae, p_value },
        };
        check(Champion::None, true, "there is no champion to beat");
        check(Champion::Incomparable("its recipe is `level`".to_owned()), true, "the champion was not compared: its");
        check(
            compared(0.8, 0.01),
            true,
            "better than champion v0001: MAE 8.000e-1 against 1.000e0 on 9 points, p = 0.010",
        );
        check(compared(0.8, 0.2), false, "better than champion v0001, but that may be luck");
        check(compared(0.95, 0.0), false, "better than champion v0001 by less than 10 %");
        check(compared(1.1, 0.9), false, "no better than champion v0001");
        check(compared(f64::NAN, 0.0), false, "no better");
    }
}
