//! When to stop: Keras's `EarlyStopping(monitor="val_loss", patience=n, restore_best_weights=True)`.

/// Remembers the best epoch. Losses must be finite: the training loop ends on others.
#[derive(Debug)]
pub(super) struct EarlyStop {
    patience: usize,
    best: Option<(usize, f64)>,
}

impl EarlyStop {
    /// `best` is the best epoch so far and its loss, where a training goes on.
    pub(super) fn new(patience: usize, best: Option<(usize, f64)>) -> Self {
        Self { patience, best }
    }

    /// Whether `loss` is the smallest so far (strictly), so that the weights are to be kept.
    pub(super) fn is_better(&mut self, epoch: usize, loss: f64) -> bool {
        let better = self.best.is_none_or(|(_, best)| loss < best);
        if better {
            self.best = Some((epoch, loss));
        }
        better
    }

    /// Whether `patience` epochs have passed since the best one.
    pub(super) fn is_over(&self, epoch: usize) -> bool {
        epoch > 1 && epoch - self.best_epoch() >= self.patience
    }

    /// The epoch whose weights are kept; 0 before the first.
    pub(super) fn best_epoch(&self) -> usize {
        self.best.map_or(0, |(epoch, _)| epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds losses until it stops; expects the number of epochs run and the best of them.
    fn check(patience: usize, losses: &[f64], expected: (usize, usize)) {
        let mut stop = EarlyStop::new(patience, None);
        let mut ran = 0;
        for (k, &loss) in losses.iter().enumerate() {
            ran = k + 1;
            stop.is_better(ran, loss);
            if stop.is_over(ran) {
                break;
            }
        }
        assert_eq!((ran, stop.best_epoch()), expected);
    }

    #[test]
    fn stops_like_keras() {
        check(2, &[3.0, 2.0, 1.0], (3, 3));
        check(2, &[1.0, 2.0, 3.0, 0.5], (3, 1));
        check(2, &[1.0, 1.0, 1.0, 1.0], (3, 1)); // equal is not better
        check(2, &[2.0, 3.0, 1.0, 3.0, 3.0, 0.0], (5, 3));
        check(1, &[1.0, 2.0, 0.0], (2, 1));
        check(10, &[1.0; 30], (11, 1));
    }
}
