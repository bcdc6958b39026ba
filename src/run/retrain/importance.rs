//! How much worse forecasts become when one feature's values are dealt out anew among the windows.

use super::contender::{InMemory, mae, mean_growth};
use super::rolling::mean_and_deviation;
use crate::data::Target;
use crate::recipe::{Batch, Prepared, SEQUENCE_WIDTH};
use crate::registry::Importance;
use crate::train::Mixed;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;

/// Shuffles of each feature.
const SHUFFLES: usize = 3;
/// Windows that are looked at; more change nothing but the time.
const WINDOWS: usize = 2000;

/// Every feature the networks see, the most important first. The candidates stay: they are no features.
pub(super) fn measure(members: &[Mixed], prepared: &Prepared, target: Target, seed: u64) -> Vec<Importance> {
    let validation = &prepared.split.validation;
    let stride = validation.len().div_ceil(WINDOWS).max(1);
    let at: Vec<u32> = validation.iter().copied().step_by(stride).collect();
    let windows = prepared.at(target, &at);
    let (counts, _) = windows.on_grid().expect("a mixture forecasts windows on a grid");
    let batch = counts.batch(target, &at);
    let mae_of = |batch: &Batch| {
        let growth = mean_growth(members, batch);
        mae(prepared, target, &windows, &InMemory::Growth { growth, units: Vec::new(), sizes: Vec::new() })
    };
    let whole = mae_of(&batch);
    let statics = batch.statics.len() / at.len().max(1);
    let steps = batch.sequence.len() / SEQUENCE_WIDTH / at.len().max(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..at.len()).collect();
    let mut found: Vec<Importance> = windows
        .features()
        .into_iter()
        .enumerate()
        .map(|(k, feature)| {
            let increases: Vec<f64> = (0..SHUFFLES)
                .map(|_| {
                    order.shuffle(&mut random);
                    let mut shuffled = batch.clone();
                    for (to, &from) in order.iter().enumerate() {
                        if k < statics {
                            shuffled.statics[to * statics + k] = batch.statics[from * statics + k];
                            continue;
                        }
                        for step in 0..steps {
                            let place = |window: usize| (window * steps + step) * SEQUENCE_WIDTH + k - statics;
                            shuffled.sequence[place(to)] = batch.sequence[place(from)];
                        }
                    }
                    mae_of(&shuffled) - whole
                })
                .collect();
            let (mae_increase, deviation) = mean_and_deviation(&increases);
            Importance { feature, mae_increase, deviation }
        })
        .collect();
    found.sort_by(|a, b| b.mae_increase.total_cmp(&a.mae_increase));
    found
}

/// A bar for each feature, its deviation as a line: an SVG picture.
pub(super) fn plot(target: Target, importance: &[Importance]) -> String {
    const ROW: usize = 22;
    const TOP: usize = 48;
    const LEFT: f64 = 260.0;
    const WIDTH: f64 = 560.0;
    let most = importance.iter().map(|one| one.mae_increase + one.deviation).fold(f64::MIN_POSITIVE, f64::max);
    let least = importance.iter().map(|one| one.mae_increase - one.deviation).fold(0.0, f64::min);
    let x = |value: f64| LEFT + (value - least) / (most - least) * WIDTH;
    let height = TOP + ROW * importance.len() + 16;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"940\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"12\" y=\"24\" \
         font-size=\"15\">{target}: MAE added by shuffling a feature (scaled units, mean and deviation)</text>\n"
    );
    for (k, Importance { feature, mae_increase, deviation }) in importance.iter().enumerate() {
        let y = TOP + ROW * k;
        let (from, to) = (x(mae_increase.min(0.0)), x(mae_increase.max(0.0)));
        let (low, high) = (x(mae_increase - deviation), x(mae_increase + deviation));
        let (middle, baseline) = (y + 7, y + 11);
        let _ = writeln!(
            svg,
            "<text x=\"250\" y=\"{baseline}\" text-anchor=\"end\">{feature}</text>\
             <rect x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"14\" fill=\"#4878a8\"/>\
             <path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"black\"/>\
             <text x=\"{:.1}\" y=\"{baseline}\">{mae_increase:.2e}</text>",
            to - from,
            to.max(high) + 6.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_a_bar_for_each_feature() {
        let one =
            |feature: &str, mae_increase| Importance { feature: feature.to_owned(), mae_increase, deviation: 0.1 };
        let svg = plot(Target::Views, &[one("views_30m", 2.0), one("weekend", -0.05)]);
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("views_30m") && svg.contains("weekend") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("width=\"-"), "{svg}");
    }
}
