//! Time is split first, then windows are cut: what trains ends before what judges begins, series by series.

/// Windows of one training, as positions in the table, in the order of series, then of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// To train on.
    pub train: Vec<u32>,
    /// To judge on: the newest.
    pub validation: Vec<u32>,
    /// The older half of those, series by series: intervals are as wide as the errors there, and what share of truths they
    /// hold is measured on the others.
    pub calibration: Vec<u32>,
}

/// Borders in one series' time, as offsets from its first point: `[0, validation)` trains, `[validation, end)`
/// validates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Borders {
    pub(super) validation: usize,
    pub(super) end: usize,
}

/// Which part an origin belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    /// The older half of what validates.
    Calibration,
    Validation,
}

impl Borders {
    /// The newest `share` of `n` points validates.
    pub(super) fn holdout(n: usize, share: f64) -> Self {
        // as the reference's measuring script cuts: its first validation point is `int(n * (1 - share))`
        let validation = (n as f64 * (1.0 - share)) as usize;
        Self { validation, end: n }
    }

    /// Split `k` of `n_splits` over the first `n` points, as a time series split does: blocks of equal length, the first
    /// `k + 1` of them train and the next one validates.
    pub(super) fn rolling(n: usize, k: usize, n_splits: usize) -> Self {
        let block = n / (n_splits + 1);
        let validation = n - (n_splits - k) * block;
        Self { validation, end: validation + block }
    }

    /// The part of an origin whose truth lies up to `horizon` points later.
    ///
    /// What trains ends `embargo` points before the border: neither a truth nor the last `embargo - horizon` points of
    /// a later window's sequence were seen in training. Origins too near to a border belong to no part.
    pub(super) fn part(self, origin: usize, horizon: usize, embargo: usize) -> Option<Part> {
        if origin + embargo < self.validation {
            Some(Part::Train)
        } else if origin >= self.validation && origin + horizon < self.end {
            let half = self.validation.midpoint(self.end);
            Some(if origin < half { Part::Calibration } else { Part::Validation })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_newest_part_validates() {
        let borders = Borders::holdout(1000, 0.2);
        assert_eq!(borders, Borders { validation: 800, end: 1000 });
        let part = |origin| borders.part(origin, 4, 24);
        assert_eq!(part(0), Some(Part::Train));
        assert_eq!(part(775), Some(Part::Train));
        assert_eq!(part(776), None, "within the embargo");
        assert_eq!(part(800), Some(Part::Calibration));
        assert_eq!(part(899), Some(Part::Calibration));
        assert_eq!(part(900), Some(Part::Validation));
        assert_eq!(part(995), Some(Part::Validation));
        assert_eq!(part(996), None, "its truth is not there yet");
    }

    #[test]
    fn splits_roll() {
        let ends: Vec<(usize, usize)> =
            (0..5).map(|k| Borders::rolling(602, k, 5)).map(|b| (b.validation, b.end)).collect();
        assert_eq!(ends, [(102, 202), (202, 302), (302, 402), (402, 502), (502, 602)]);
    }

    proptest! {
        #[test]
        fn no_truth_of_training_lies_in_what_judges(
            n in 10usize..2000, share in 0.05f64..0.9, horizon in 1usize..60, sequence in 1usize..60, origin in 0usize..2000,
        ) {
            let borders = Borders::holdout(n, share);
            let embargo = sequence + horizon;
            if borders.part(origin, horizon, embargo) == Some(Part::Train) {
                prop_assert!(origin + horizon + sequence < borders.validation);
            }
        }
    }
}
