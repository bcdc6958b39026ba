//! Watching a training: epochs, clocks and memory go in, conditions worth telling go out. Pure rules; each condition
//! is told once a training.

use crate::job::Alerts;
use crate::train::Epoch;
use std::time::Duration;

/// What has been seen of one training.
#[derive(Debug)]
pub struct Watch {
    limits: Alerts,
    best: Option<(usize, f64)>,
    told: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Slow,
    NoImprovement,
    Diverging,
    Memory,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(limits: Alerts) -> Self {
        Self { limits, best: None, told: Vec::new() }
    }

    /// After an epoch.
    pub fn epoch(&mut self, row: &Epoch) -> Vec<String> {
        let mut told = Vec::new();
        if self.best.is_none_or(|(_, best)| row.val_loss < best) {
            self.best = Some((row.epoch, row.val_loss));
        }
        let since = row.epoch - self.best.map_or(0, |(epoch, _)| epoch);
        if since >= self.limits.no_improvement_epochs as usize {
            told.extend(self.once(Rule::NoImprovement, || {
                format!("poor convergence: the validation loss has not improved for {since} epochs")
            }));
        }
        let ratio = row.val_loss / row.loss;
        let limit = self.limits.validation_to_training_loss;
        if ratio > limit {
            told.extend(self.once(Rule::Diverging, || {
                format!(
                    "divergence: the validation loss is {ratio:.1} times the training loss at epoch {} (limit {limit})",
                    row.epoch
                )
            }));
        }
        told
    }

    /// While it runs, whether or not epochs end.
    pub fn clock(&mut self, elapsed: Duration) -> Option<String> {
        let limit = self.limits.training_longer_than;
        if elapsed <= limit {
            return None;
        }
        self.once(Rule::Slow, || format!("slow training: it has run longer than {} s", limit.as_secs()))
    }

    /// While it runs: used memory of the host.
    pub fn memory(&mut self, used_percent: f64) -> Option<String> {
        let limit = self.limits.memory_above_percent;
        if used_percent <= limit {
            return None;
        }
        self.once(Rule::Memory, || {
            format!("memory: {used_percent:.0} % of the host's memory is used (limit {limit} %)")
        })
    }

    fn once(&mut self, rule: Rule, say: impl FnOnce() -> String) -> Option<String> {
        if self.told.contains(&rule) {
            return None;
        }
        self.told.push(rule);
        Some(say())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize, loss: f64, val_loss: f64) -> Epoch {
        Epoch { epoch, loss, val_loss, mae: 0.0, val_mae: 0.0, fixed_loss: loss, seconds: 1.0 }
    }

    #[test]
    fn each_condition_is_told_once() {
        let limits = Alerts { no_improvement_epochs: 2, ..Alerts::default() };
        let mut watch = Watch::new(limits);
        assert!(watch.epoch(&row(1, 1.0, 1.0)).is_empty());
        assert!(watch.epoch(&row(2, 1.0, 2.0)).is_empty(), "2.0 is not more than 2.0");
        let told = watch.epoch(&row(3, 1.0, 2.5));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(watch.epoch(&row(4, 1.0, 9.0)).is_empty());
        assert!(watch.clock(Duration::from_mins(5)).is_none());
        assert!(watch.clock(Duration::from_secs(301)).is_some());
        assert!(watch.clock(Duration::from_secs(302)).is_none());
        assert!(watch.memory(80.0).is_none());
        assert!(watch.memory(81.0).is_some_and(|text| text.contains("81 %")));
        assert!(watch.memory(99.0).is_none());
    }
}
