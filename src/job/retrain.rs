//! Kind `retrain`: train, judge, register, promote.

use super::spec::{fraction, interval, positive, rate, whole};
use crate::bytes::Bytes;
use crate::data::Target;
use crate::document::Flaw;
use crate::model::Loss;
use crate::recipe::{Options, Recipe};
use crate::train::Settings;
use serde::{Deserialize, Deserializer, Serialize};

/// `[retrain]`. The defaults are the reference pipeline's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrain {
    /// What to train a model for; each at most once. Default: all three.
    #[serde(default = "all_targets")]
    pub targets: Vec<Target>,
    /// How series become training pairs.
    #[serde(default)]
    pub recipe: Recipe,
    /// Epochs at most; 1 to 100000.
    #[serde(default = "epochs", deserialize_with = "positive::<_, 100_000>")]
    pub epochs: u32,
    /// Windows a step; 1 to 1000000.
    #[serde(default = "batch_size", deserialize_with = "positive::<_, 1_000_000>")]
    pub batch_size: u32,
    /// Adam's step size; above 0, at most 1.
    #[serde(default = "learning_rate", deserialize_with = "rate")]
    pub learning_rate: f64,
    /// Epochs without a better validation loss before stopping early; 1 to 100000.
    #[serde(default = "patience", deserialize_with = "positive::<_, 100_000>")]
    pub patience: u32,
    /// Units of each LSTM layer; 1 to 1024.
    #[serde(default = "hidden", deserialize_with = "positive::<_, 1024>")]
    pub hidden: u32,
    /// Units of the dense layer; 1 to 1024.
    #[serde(default = "dense", deserialize_with = "positive::<_, 1024>")]
    pub dense: u32,
    /// Share of outputs dropped after each LSTM layer in training; 0 to below 1.
    #[serde(default = "dropout", deserialize_with = "fraction")]
    pub dropout: f64,
    /// What all random choices follow from: the same seed gives the same model. 0 to 2^63 − 1.
    #[serde(default = "seed", deserialize_with = "whole")]
    pub seed: u64,
    /// Processor threads for all models of the run together; they change nothing but the speed. 1 to 1024. Default: as
    /// many as the host has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "threads")]
    pub threads: Option<u32>,
    /// Most memory the run may take, such as `"2 GiB"`: what would not fit does not start. Default: what the host has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Bytes>,
    /// Grid steps forecast at once by `increment`, 1 to so many; 1 to 1000. `level` forecasts one row ahead.
    #[serde(default = "horizon", deserialize_with = "positive::<_, 1000>")]
    pub horizon: u32,
    /// Grid steps that the network of `increment` reads; 1 to 1000. `level` reads 20 rows.
    #[serde(default = "sequence", deserialize_with = "positive::<_, 1000>")]
    pub sequence: u32,
    /// Whether `increment` sees the day of the week and the weekend.
    #[serde(default)]
    pub day_of_week: bool,
    /// Networks trained from as many seeds, whose mean is the forecast of `increment`; 1 to 20.
    #[serde(default = "members", deserialize_with = "positive::<_, 20>")]
    pub members: u32,
    /// Other models on the same features that are judged like the networks; the best that passes is promoted.
    #[serde(default)]
    pub challengers: Vec<Challenger>,
    /// Share of truths that the intervals of `increment` are to hold; above 0, below 1.
    #[serde(default = "usual_interval", deserialize_with = "interval")]
    pub interval: f64,
    /// Whether to measure how much worse the forecasts are without each feature. Takes as long as judging, several
    /// times for each feature.
    #[serde(default)]
    pub importance: bool,
}

/// A model besides the LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Challenger {
    /// A fixed linear blend of the candidates: least absolute errors with a ridge penalty.
    Ridge,
    /// The network without its LSTM layer: it sees features of the window only.
    Dense,
}

impl Retrain {
    /// What the job leaves out and the recipe has numbers of its own for; `level` has the reference's.
    pub(super) fn default_to_recipe(&mut self, is_set: impl Fn(&str) -> bool) {
        if self.recipe != Recipe::Increment {
            return;
        }
        let whole = |key: &str, field: &mut u32, default: u32| {
            if !is_set(key) {
                *field = default;
            }
        };
        whole("epochs", &mut self.epochs, 12);
        whole("batch_size", &mut self.batch_size, 256);
        whole("hidden", &mut self.hidden, 16);
        whole("dense", &mut self.dense, 32);
        whole("sequence", &mut self.sequence, 24);
        if !is_set("learning_rate") {
            self.learning_rate = 0.002;
        }
        if !is_set("dropout") {
            self.dropout = 0.1;
        }
    }

    /// What the recipe leaves to the job.
    pub fn options(&self) -> Options {
        let (sequence, horizon) = (self.sequence as usize, self.horizon as usize);
        Options { sequence, horizon, day_of_week: self.day_of_week }
    }

    pub(super) fn check(&self) -> Vec<Flaw> {
        let mut flaws = check_targets(&self.targets);
        if self.recipe == Recipe::Level {
            let foreign = [
                ("horizon", self.horizon != 1, "forecasts one row ahead"),
                ("day_of_week", self.day_of_week, "sees no time"),
                ("members", self.members != 1, "is one network"),
                ("challengers", !self.challengers.is_empty(), "has no linear part"),
                ("importance", self.importance, "does not measure the importance of features"),
            ];
            for (key, _, does) in foreign.into_iter().filter(|&(_, wrong, _)| wrong) {
                let flaw = Flaw::at(key, format!("recipe `level` {does}"));
                flaws.push(flaw.help("leave it out, or choose recipe = \"increment\""));
            }
        }
        flaws
    }

    /// The settings of a training.
    pub fn training(&self) -> Settings {
        Settings {
            hidden: self.hidden as usize,
            dense: self.dense as usize,
            dropout: self.dropout,
            loss: Loss::Mse,
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            learning_rate: self.learning_rate,
            patience: self.patience as usize,
            seed: self.seed,
        }
    }
}

fn threads<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    positive::<_, 1024>(from).map(Some)
}

/// Targets that are named twice, or none at all.
pub(super) fn check_targets(targets: &[Target]) -> Vec<Flaw> {
    if targets.is_empty() {
        let all = "leave `targets` out for all three: views, likes, comments";
        return vec![Flaw::at("targets", "names no target").help(all)];
    }
    let twice = targets.iter().enumerate().filter(|(k, target)| targets[..*k].contains(target));
    twice.map(|(k, target)| Flaw::at(&format!("targets.{k}"), format!("target `{target}` is named twice"))).collect()
}

pub(super) fn all_targets() -> Vec<Target> {
    Target::ALL.to_vec()
}

fn epochs() -> u32 {
    50
}

fn batch_size() -> u32 {
    32
}

fn learning_rate() -> f64 {
    0.001
}

fn patience() -> u32 {
    10
}

fn hidden() -> u32 {
    50
}

fn dense() -> u32 {
    25
}

fn dropout() -> f64 {
    0.2
}

fn seed() -> u64 {
    1
}

fn horizon() -> u32 {
    1
}

fn sequence() -> u32 {
    48
}

fn members() -> u32 {
    1
}

fn usual_interval() -> f64 {
    0.8
}
