//! `[alerts]`: when a person should know, and who.

use super::spec::whole_from;
use lettre::message::Mailbox;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Limits to watch while a job runs, and what of its ends to tell. The first four are the reference pipeline's; `false`
/// turns a rule off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "a switch a rule: that is what people write")]
pub struct Alerts {
    /// Longest training of one model, such as `"5m"` or `"1h 30m"`.
    #[serde(serialize_with = "time_or_false", deserialize_with = "a_time")]
    pub training_longer_than: Option<Duration>,
    /// Longest run, all attempts together, from its first start. Default: off.
    #[serde(serialize_with = "time_or_false", deserialize_with = "a_time")]
    pub run_longer_than: Option<Duration>,
    /// Epochs without a better validation loss; 1 to 100000.
    #[serde(serialize_with = "or_false", deserialize_with = "a_count")]
    pub no_improvement_epochs: Option<u32>,
    /// How much smaller the loss must get to count as better; at least 0.
    #[serde(deserialize_with = "at_least_zero")]
    pub min_delta: f64,
    /// Stopping early with an MAE no better than a naive forecast's on the same points.
    pub no_better_than_naive: bool,
    /// Validation loss as a multiple of the training loss on a fixed sample, dropout off in both; above 0.
    #[serde(serialize_with = "or_false", deserialize_with = "a_ratio")]
    pub validation_to_training_loss: Option<f64>,
    /// Epochs in a row above the ratio before it is told; 1 to 100000.
    #[serde(deserialize_with = "whole_from::<_, 1, 100_000>")]
    pub validation_to_training_loss_epochs: u32,
    /// First epochs, in which the ratio says nothing; 0 to 100000.
    #[serde(deserialize_with = "whole_from::<_, 0, 100_000>")]
    pub validation_to_training_loss_warm_up: u32,
    /// Used memory in percent, of the host's or of the cgroup's limit, whichever is nearer; above 0, at most 100.
    #[serde(serialize_with = "or_false", deserialize_with = "a_percentage")]
    pub memory_above_percent: Option<f64>,
    /// Age of the newest recorded row. Default: off.
    #[serde(serialize_with = "time_or_false", deserialize_with = "a_time")]
    pub no_new_data_for: Option<Duration>,
    /// A run that failed or timed out, after its last attempt.
    pub run_failed: bool,
    /// A version that the gate refused.
    pub gate_failed: bool,
    /// A version that came into service, by a run or by hand.
    pub promotion: bool,
    /// A version in service that has become worse.
    pub degradation: bool,
    /// Drift of what the version in service sees, as its population stability index against the training, which an evaluation
    /// measures; above 0. From 0.25 on one speaks of another population.
    #[serde(serialize_with = "or_false", deserialize_with = "a_ratio")]
    pub input_drift_above: Option<f64>,
    /// A fire time at which the job was not started.
    pub missed_fire: bool,
    /// A worker that the kernel killed for memory.
    pub out_of_memory: bool,
    /// Who gets this job's alerts, such as `"Ann <ann@example.org>"`; empty: those of `[smtp] to`.
    #[serde(deserialize_with = "addresses")]
    pub to: Vec<String>,
    /// Who gets the critical ones; empty: those who get the others.
    #[serde(deserialize_with = "addresses")]
    pub to_critical: Vec<String>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            training_longer_than: Some(Duration::from_mins(5)),
            run_longer_than: None,
            no_improvement_epochs: Some(20),
            min_delta: 0.0,
            no_better_than_naive: true,
            validation_to_training_loss: Some(2.0),
            // one epoch above is noise, and in the first ones neither loss says much
            validation_to_training_loss_epochs: 3,
            validation_to_training_loss_warm_up: 3,
            memory_above_percent: Some(80.0),
            no_new_data_for: None,
            run_failed: true,
            gate_failed: true,
            promotion: true,
            degradation: true,
            input_drift_above: Some(0.25),
            missed_fire: true,
            out_of_memory: true,
            to: Vec::new(),
            to_critical: Vec::new(),
        }
    }
}

/// What stands where a limit may: the limit, or `false`.
enum Limit {
    Off,
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;
        impl Visitor<'_> for LimitVisitor {
            type Value = Limit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a limit, or false for none")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Limit, E> {
                if on { Err(E::custom("must be a limit, or false for none")) } else { Ok(Limit::Off) }
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Limit, E> {
                Ok(Limit::Number(number as f64))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Limit, E> {
                Ok(Limit::Number(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Limit, E> {
                Ok(Limit::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(LimitVisitor)
    }
}

fn a_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Limit::deserialize(deserializer)? {
        Limit::Off => Ok(None),
        Limit::Text(text) => crate::duration::parse(&text).map(Some).map_err(D::Error::custom),
        Limit::Number(number) => {
            Err(D::Error::custom(format!("must be a time such as \"5m\", or false, not {number}")))
        }
    }
}

fn a_number<'de, D: Deserializer<'de>>(
    deserializer: D,
    fine: impl Fn(f64) -> bool,
    range: &str,
) -> Result<Option<f64>, D::Error> {
    match Limit::deserialize(deserializer)? {
        Limit::Off => Ok(None),
        Limit::Number(number) if fine(number) => Ok(Some(number)),
        Limit::Number(number) => Err(D::Error::custom(format!("must be {range}, or false, not {number}"))),
        Limit::Text(text) => Err(D::Error::custom(format!("must be {range}, or false, not `{text}`"))),
    }
}

fn a_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let fine = |n: f64| n.fract() == 0.0 && (1.0..=100_000.0).contains(&n);
    Ok(a_number(deserializer, fine, "a whole number from 1 to 100000")?.map(|n| n as u32))
}

fn a_ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    a_number(deserializer, |n| n > 0.0 && n.is_finite(), "a number above 0")
}

fn a_percentage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    a_number(deserializer, |n| n > 0.0 && n <= 100.0, "a number above 0 and at most 100")
}

fn at_least_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if number >= 0.0 && number.is_finite() {
        return Ok(number);
    }
    Err(D::Error::custom(format!("must be a number of at least 0, not {number}")))
}

/// Mail addresses, each with or without a name before it.
pub(crate) fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    for text in &texts {
        let Ok(mailbox) = text.parse::<Mailbox>() else {
            return Err(D::Error::custom(format!(
                "`{text}` is no mail address, such as \"ann@example.org\" or \"Ann Example <ann@example.org>\""
            )));
        };
        if !mailbox.email.user().is_ascii() {
            return Err(D::Error::custom(format!(
                "`{text}`: only ASCII may stand before the @, since few mail servers take more (SMTPUTF8)"
            )));
        }
    }
    Ok(texts)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn time_or_false<S: Serializer>(limit: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => crate::duration::serialize(limit, serializer),
        None => serializer.serialize_bool(false),
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn or_false<T: Serialize, S: Serializer>(limit: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => limit.serialize(serializer),
        None => serializer.serialize_bool(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Alerts, &str>) {
        match (toml_edit::de::from_str::<Alerts>(text), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found, expected, "{text}");
                let again = toml_edit::ser::to_string(&found).expect("TOML");
                assert_eq!(toml_edit::de::from_str::<Alerts>(&again).expect("what we write we read"), found, "{again}");
            }
            (Err(error), Err(expected)) => assert!(error.message().contains(expected), "{error}"),
            (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn each_rule_can_be_turned_off_and_set() {
        let default = Alerts::default;
        check("", Ok(default()));
        check("training_longer_than = false", Ok(Alerts { training_longer_than: None, ..default() }));
        check("run_longer_than = \"1h\"", Ok(Alerts { run_longer_than: Some(Duration::from_hours(1)), ..default() }));
        check("no_improvement_epochs = false", Ok(Alerts { no_improvement_epochs: None, ..default() }));
        check("validation_to_training_loss = 3", Ok(Alerts { validation_to_training_loss: Some(3.0), ..default() }));
        check("memory_above_percent = false", Ok(Alerts { memory_above_percent: None, ..default() }));
        check("promotion = false", Ok(Alerts { promotion: false, ..default() }));
        let to = vec!["Jürgen Groß <j@example.org>".to_owned()];
        check("to = [\"Jürgen Groß <j@example.org>\"]", Ok(Alerts { to, ..default() }));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        check("training_longer_than = true", Err("must be a limit, or false for none"));
        check("training_longer_than = 5", Err("must be a time such as \"5m\", or false, not 5"));
        check("training_longer_than = \"5M\"", Err("must be a time above zero"));
        check("no_improvement_epochs = 0", Err("must be a whole number from 1 to 100000, or false, not 0"));
        check("no_improvement_epochs = 2.5", Err("must be a whole number from 1 to 100000, or false, not 2.5"));
        check("validation_to_training_loss = -1", Err("must be a number above 0, or false, not -1"));
        check("memory_above_percent = 101", Err("must be a number above 0 and at most 100, or false, not 101"));
        check("min_delta = -1.0", Err("must be a number of at least 0, not -1"));
        check("to = [\"nobody\"]", Err("`nobody` is no mail address"));
        check("training_longer = \"5m\"", Err("unknown field `training_longer`"));
    }
}
