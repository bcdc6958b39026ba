//! Rolling validation: the same training on ever longer pasts, each judged on what came next.

use super::Shared;
use super::contender::{counts, grown, in_range, mean_growth};
use crate::data::Target;
use crate::evaluate::{Forecasts, score};
use crate::registry::Rolling;
use crate::run::Error;
use crate::train;

/// Trains one network a split and scores it in memory. None: validation is not rolling.
pub(super) fn roll(shared: &Shared, target: Target) -> Result<Option<Rolling>, Error> {
    let prepared = &shared.prepared;
    if prepared.folds.is_empty() {
        return Ok(None);
    }
    let (mut mae, mut skill) = (Vec::new(), Vec::new());
    for (fold, pool) in prepared.folds.iter().zip(prepared.pools.iter().skip(1)) {
        let counts_on_grid = prepared.counts().expect("folds are of a recipe with a grid");
        let watched = pool.watched(counts_on_grid, &fold.validation);
        let settings = shared.settings.training();
        let mixed = train::train_mixture(pool, &watched, &settings, &shared.stop, None, |_| ())
            .map_err(|source| Error::Train { target, source })?;
        let (train, validation) = (prepared.at(target, &fold.train), prepared.at(target, &fold.validation));
        let members = [mixed];
        let said = grown(&validation, |batch| mean_growth(&members, batch));
        let values = in_range(&validation, &counts(&validation, &said));
        let scores = score(&train, &validation, Forecasts { values: &values, intervals: None });
        mae.push(scores.own.scaled.mae);
        skill.push(scores.skill);
    }
    let (mae_mean, mae_std) = mean_and_deviation(&mae);
    let known: Vec<f64> = skill.iter().flatten().copied().collect();
    let summary = (!known.is_empty()).then(|| mean_and_deviation(&known));
    let (skill_mean, skill_std) = (summary.map(|s| s.0), summary.map(|s| s.1));
    Ok(Some(Rolling { mae, mae_mean, mae_std, skill, skill_mean, skill_std }))
}

/// Mean and standard deviation (that of the values themselves, as the reference takes it).
pub(super) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_splits() {
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, 1.0));
        assert_eq!(mean_and_deviation(&[5.0]), (5.0, 0.0));
    }
}
