//! One training: its epochs and its clock.

use super::{Change, Finding, Rule, time};
use crate::job::Alerts;
use crate::store::Epoch;
use std::time::Duration;

/// What has been seen of the training of one model.
#[derive(Clone, Debug)]
pub struct TrainingWatch {
    limits: Alerts,
    /// Epochs of each network, where several are trained one after another.
    network: Option<i64>,
    seen: Seen,
    slow: bool,
}

/// What follows from the epochs alone.
#[derive(Clone, Debug, Default)]
struct Seen {
    last: i64,
    best: Option<(i64, f64)>,
    /// The epoch at which it was told that nothing gets better.
    stuck: Option<i64>,
    /// Epochs in a row above the ratio, and below it.
    above: u32,
    below: u32,
    /// The epoch at which it was told that the losses part.
    parting: Option<i64>,
}

impl TrainingWatch {
    /// Nothing seen yet. `network` is how many epochs each of several networks has: none is to be better than the one before.
    pub fn new(limits: Alerts, network: Option<i64>) -> Self {
        Self { limits, network, seen: Seen::default(), slow: false }
    }

    /// The last epoch seen, from 1; 0 before the first.
    pub fn last_epoch(&self) -> i64 {
        self.seen.last
    }

    /// After an epoch; one that was seen already changes nothing.
    pub fn epoch(&mut self, row: &Epoch) -> Vec<Change> {
        // an attempt that begins anew has nothing to do with what an earlier one reached
        let mut changes = if row.epoch == 1 && self.seen.last > 0 { self.forget() } else { Vec::new() };
        if row.epoch <= self.seen.last {
            return changes;
        }
        if self.of_network(row.epoch) == 1 && self.seen.last > 0 {
            changes.extend(self.forget());
        }
        self.seen.last = row.epoch;
        changes.extend(self.improvement(row));
        changes.extend(self.ratio(row));
        changes
    }

    /// The epoch, counted from 1 in its network.
    fn of_network(&self, epoch: i64) -> i64 {
        self.network.map_or(epoch, |epochs| (epoch - 1) % epochs + 1)
    }

    fn improvement(&mut self, row: &Epoch) -> Option<Change> {
        let seen = &mut self.seen;
        if seen.best.is_none_or(|(_, best)| row.val_loss < best - self.limits.min_delta) {
            let before = seen.best.replace((row.epoch, row.val_loss));
            let how = || {
                let before = before.map_or(f64::NAN, |(_, best)| best);
                format!(
                    "the validation loss is better again at epoch {}: {:.3e}, {before:.3e} before",
                    row.epoch, row.val_loss
                )
            };
            return seen.stuck.take().map(|epoch| over(Rule::NoImprovement, epoch, how()));
        }
        let (best_epoch, best) = seen.best?;
        let (since, limit) = (row.epoch - best_epoch, i64::from(self.limits.no_improvement_epochs?));
        if since < limit || seen.stuck.is_some() {
            return None;
        }
        seen.stuck = Some(row.epoch);
        Some(Change::Holds(Finding {
            rule: Rule::NoImprovement,
            onset: format!("epoch {}", row.epoch),
            epoch: Some(row.epoch),
            summary: format!("poor convergence: no better validation loss for {since} epochs"),
            value: format!("{since} epochs since the best, {best:.3e} at epoch {best_epoch}"),
            limit: format!("{limit} epochs"),
        }))
    }

    fn ratio(&mut self, row: &Epoch) -> Option<Change> {
        let limit = self.limits.validation_to_training_loss?;
        if self.of_network(row.epoch) <= i64::from(self.limits.validation_to_training_loss_warm_up) {
            return None;
        }
        let (seen, needed) = (&mut self.seen, self.limits.validation_to_training_loss_epochs);
        // taken like the validation loss, with dropout off; epochs written down before there was such a column have only the other
        let loss = if row.fixed_loss.is_finite() { row.fixed_loss } else { row.loss };
        let ratio = row.val_loss / loss;
        if ratio > limit {
            (seen.above, seen.below) = (seen.above + 1, 0);
            if seen.above < needed || seen.parting.is_some() {
                return None;
            }
            seen.parting = Some(row.epoch);
            let in_a_row = if needed > 1 { format!(", {needed} epochs in a row") } else { String::new() };
            return Some(Change::Holds(Finding {
                rule: Rule::ValidationToTrainingLoss,
                onset: format!("epoch {}", row.epoch),
                epoch: Some(row.epoch),
                summary: format!("validation loss {ratio:.1} × training loss"),
                value: format!("{ratio:.2} × ({:.3e} against {loss:.3e})", row.val_loss),
                limit: format!("{limit} ×{in_a_row}"),
            }));
        }
        (seen.above, seen.below) = (0, seen.below + 1);
        // as many below as it took above: a ratio that hovers about the limit is told once
        if seen.below < needed {
            return None;
        }
        let how = format!("the validation loss is {ratio:.1} × the training loss at epoch {}", row.epoch);
        seen.parting.take().map(|epoch| over(Rule::ValidationToTrainingLoss, epoch, how))
    }

    /// While it trains, whether or not epochs end.
    pub fn clock(&mut self, elapsed: Duration) -> Option<Change> {
        let limit = self.limits.training_longer_than.filter(|limit| elapsed > *limit)?;
        if std::mem::replace(&mut self.slow, true) {
            return None;
        }
        let last = self.seen.last;
        Some(Change::Holds(Finding {
            rule: Rule::TrainingLongerThan,
            onset: "started".to_owned(),
            epoch: (last > 0).then_some(last),
            summary: format!("training for longer than {}", time(limit)),
            value: time(elapsed),
            limit: time(limit),
        }))
    }

    /// When it has ended, one way or another: nothing holds any longer.
    pub fn ended(&mut self, elapsed: Option<Duration>) -> Vec<Change> {
        let after = elapsed.map_or_else(String::new, |elapsed| format!(" after {}", time(elapsed)));
        let how = match self.seen.best {
            Some((best, loss)) => format!(
                "the training ended{after} at epoch {}, its best was epoch {best} with a validation loss of {loss:.3e}",
                self.seen.last
            ),
            None => format!("the training ended{after}"),
        };
        let mut changes = Vec::new();
        if std::mem::take(&mut self.slow) {
            let onset = Some("started".to_owned());
            changes.push(Change::Over { rule: Rule::TrainingLongerThan, onset, how: how.clone() });
        }
        let epochs =
            [(Rule::NoImprovement, self.seen.stuck.take()), (Rule::ValidationToTrainingLoss, self.seen.parting.take())];
        changes.extend(epochs.into_iter().filter_map(|(rule, epoch)| Some(over(rule, epoch?, how.clone()))));
        changes
    }

    /// A new attempt begins from the first epoch, or another network.
    fn forget(&mut self) -> Vec<Change> {
        let changes = self.ended(None);
        self.seen = Seen::default();
        changes
    }
}

fn over(rule: Rule, epoch: i64, how: String) -> Change {
    Change::Over { rule, onset: Some(format!("epoch {epoch}")), how }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: i64, loss: f64, val_loss: f64) -> Epoch {
        Epoch { attempt: 1, epoch, loss, val_loss, mae: 0.0, val_mae: 0.0, fixed_loss: loss, seconds: 1.0 }
    }

    /// `+rule@epoch` for what begins to hold, `-rule@epoch` for what is over.
    fn say(changes: &[Change]) -> Vec<String> {
        let say = |change: &Change| match change {
            Change::Holds(finding) => format!("+{}@{}", finding.rule, finding.onset),
            Change::Over { rule, onset, .. } => format!("-{rule}@{}", onset.as_deref().unwrap_or("any")),
        };
        changes.iter().map(say).collect()
    }

    /// Feeds pairs of training and validation loss; expects all changes in order, each with the epoch at which it came.
    fn check(limits: Alerts, losses: &[(f64, f64)], expected: &[(i64, &str)]) {
        let mut watch = TrainingWatch::new(limits, None);
        let mut found = Vec::new();
        for (k, &(loss, val_loss)) in losses.iter().enumerate() {
            let row = row(k as i64 + 1, loss, val_loss);
            found.extend(say(&watch.epoch(&row)).into_iter().map(|text| (row.epoch, text)));
            assert!(watch.epoch(&row).is_empty() || row.epoch == 1, "an epoch read twice changes nothing");
        }
        let expected: Vec<(i64, String)> = expected.iter().map(|(epoch, text)| (*epoch, (*text).to_owned())).collect();
        assert_eq!(found, expected);
    }

    fn stuck(epochs: u32, min_delta: f64) -> Alerts {
        Alerts {
            no_improvement_epochs: Some(epochs),
            min_delta,
            validation_to_training_loss: None,
            ..Alerts::default()
        }
    }

    fn parting(epochs: u32, warm_up: u32) -> Alerts {
        Alerts {
            no_improvement_epochs: None,
            validation_to_training_loss_epochs: epochs,
            validation_to_training_loss_warm_up: warm_up,
            ..Alerts::default()
        }
    }

    #[test]
    fn no_improvement_is_told_once_and_again_after_it_got_better() {
        let losses = |val: &[f64]| val.iter().map(|&v| (1.0, v)).collect::<Vec<_>>();
        check(stuck(2, 0.0), &losses(&[1.0, 1.0, 1.0, 1.0]), &[(3, "+no_improvement_epochs@epoch 3")]);
        check(
            stuck(2, 0.0),
            &losses(&[3.0, 3.0, 4.0, 2.0, 2.0, 2.0, 2.0]),
            &[
                (3, "+no_improvement_epochs@epoch 3"),
                (4, "-no_improvement_epochs@epoch 3"),
                (6, "+no_improvement_epochs@epoch 6"),
            ],
        );
        check(stuck(2, 0.0), &losses(&[3.0, 2.9, 2.8, 2.7]), &[]);
        check(stuck(2, 0.5), &losses(&[3.0, 2.9, 2.8, 2.7]), &[(3, "+no_improvement_epochs@epoch 3")]);
        let off = Alerts { no_improvement_epochs: None, ..stuck(1, 0.0) };
        check(off, &losses(&[1.0; 30]), &[]);
    }

    #[test]
    fn losses_that_part_are_told_after_epochs_in_a_row() {
        let losses = |ratios: &[f64]| ratios.iter().map(|&r| (1.0, r)).collect::<Vec<_>>();
        let name = "validation_to_training_loss";
        check(parting(1, 0), &losses(&[2.0, 2.1, 9.0]), &[(2, "+validation_to_training_loss@epoch 2")]);
        check(parting(3, 0), &losses(&[3.0, 3.0, 1.0, 3.0, 3.0, 3.0, 3.0]), &[(6, &format!("+{name}@epoch 6"))]);
        check(parting(1, 3), &losses(&[9.0, 9.0, 9.0, 9.0]), &[(4, "+validation_to_training_loss@epoch 4")]);
        check(
            parting(2, 0),
            &losses(&[3.0, 3.0, 1.0, 3.0, 1.0, 1.0, 3.0, 3.0]),
            &[(2, &format!("+{name}@epoch 2")), (6, &format!("-{name}@epoch 2")), (8, &format!("+{name}@epoch 8"))],
        );
    }

    #[test]
    fn the_clock_needs_no_epochs_and_the_end_ends_everything() {
        let mut watch = TrainingWatch::new(stuck(1, 0.0), None);
        assert_eq!(watch.clock(Duration::from_mins(5)), None);
        let slow: Vec<Change> = watch.clock(Duration::from_secs(301)).into_iter().collect();
        assert_eq!(say(&slow), ["+training_longer_than@started"]);
        assert_eq!(watch.clock(Duration::from_secs(302)), None, "told once");
        watch.epoch(&row(1, 1.0, 1.0));
        watch.epoch(&row(2, 1.0, 1.0));
        let ended = watch.ended(Some(Duration::from_secs(400)));
        assert_eq!(say(&ended), ["-training_longer_than@started", "-no_improvement_epochs@epoch 2"]);
        assert!(watch.ended(None).is_empty());
    }

    #[test]
    fn an_attempt_from_the_start_forgets_the_one_before() {
        let mut watch = TrainingWatch::new(stuck(2, 0.0), None);
        for epoch in 1..=3 {
            watch.epoch(&row(epoch, 1.0, 1.0));
        }
        assert_eq!(say(&watch.epoch(&row(1, 1.0, 1.0))), ["-no_improvement_epochs@epoch 3"]);
        assert!(watch.epoch(&row(2, 1.0, 1.0)).is_empty());
        // and one that goes on from a checkpoint does not
        assert_eq!(say(&watch.epoch(&row(3, 1.0, 1.0))), ["+no_improvement_epochs@epoch 3"]);
    }

    #[test]
    fn networks_are_watched_one_by_one() {
        let mut watch = TrainingWatch::new(stuck(3, 0.0), Some(4));
        // each network's best comes first: three more epochs without a better one are told of each, and no fourth
        let changes: Vec<String> = (1..=8).flat_map(|epoch| say(&watch.epoch(&row(epoch, 1.0, 1.0)))).collect();
        assert_eq!(
            changes,
            ["+no_improvement_epochs@epoch 4", "-no_improvement_epochs@epoch 4", "+no_improvement_epochs@epoch 8"]
        );
        let mut watch = TrainingWatch::new(stuck(5, 0.0), Some(4));
        assert!((1..=12).all(|epoch| watch.epoch(&row(epoch, 1.0, 1.0)).is_empty()));
    }
}
