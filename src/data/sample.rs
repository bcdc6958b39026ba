//! Sample data: three made-up series with the habits of real counters.
//!
//! The platform's API hands out a cached value for minutes and then jumps; growth has a day's rhythm, decays from the
//! launch on and is revived now and then; counts are revised downwards by a little; a collector pauses at night, stops
//! for a day, and once records a field that the API left out as 0.

use super::arrange::Arrivals;
use super::series::Series;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows that [`sample`] gives.
pub const SAMPLE_ROWS: usize = 7_708;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;
const DAY: f64 = 86_400.0;

/// One video and its collector. Times in seconds.
struct Habits {
    id: &'static str,
    rows: usize,
    /// Unix time of the first row.
    start: f64,
    /// Age of the video at the first row.
    age: f64,
    /// Between two polls, on average.
    interval: f64,
    /// How long the API hands out the same value.
    refresh: f64,
    counts: [f64; 3],
    /// At launch. Unit: counts per second.
    pace: [f64; 3],
    /// After this age growth has halved.
    decay: f64,
    /// Row at which the collector stops for a day and a bit.
    gap: usize,
    /// Row at which the comments read 0.
    dropout: Option<usize>,
    /// Age at which growth revives for two days.
    revival: f64,
}

const VIDEOS: [Habits; 3] = [
    Habits {
        id: "smpl-launch",
        rows: 2_980,
        start: 1_709_571_600.0,
        age: 0.0,
        interval: 10.0 * MINUTE,
        refresh: 5.0 * MINUTE,
        counts: [7.0, 412.0, 58.0],
        pace: [2.6, 0.082, 0.0061],
        decay: 2.0 * DAY,
        gap: 1_902,
        dropout: None,
        revival: 13.0 * DAY,
    },
    Habits {
        id: "smpl-minute",
        rows: 2_617,
        start: 1_710_000_000.0,
        age: 3.0 * DAY,
        interval: MINUTE,
        refresh: 5.0 * MINUTE,
        counts: [182_783.0, 4_426.0, 511.0],
        pace: [4.1, 0.11, 0.012],
        decay: 4.0 * DAY,
        gap: 1_406,
        dropout: Some(1_133),
        revival: 30.0 * DAY,
    },
    Habits {
        id: "smpl-steady",
        rows: 2_111,
        start: 1_710_250_000.0,
        age: 0.2 * DAY,
        interval: 27.0 * MINUTE,
        refresh: 8.0 * MINUTE,
        counts: [17_392.0, 1_221.0, 172.0],
        pace: [1.35, 0.031, 0.0024],
        decay: 9.0 * DAY,
        gap: 640,
        dropout: None,
        revival: 24.0 * DAY,
    },
];

/// Three series of [`SAMPLE_ROWS`] rows in all; the same seed gives the same bytes on every machine.
///
/// That rules out sine, exponential and logarithm, whose last bits differ between systems; arithmetic and square root do
/// not.
pub fn sample(seed: u64) -> Series {
    let mut arrivals = Arrivals::new();
    for (stream, habits) in VIDEOS.iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream as u64);
        record(habits, &mut random, |at, counts| {
            // Counts made here are never refused.
            let _ = arrivals.push(habits.id, at, counts, [f64::NAN; 3]);
        });
    }
    arrivals.finish().0
}

fn record(habits: &Habits, random: &mut ChaCha8Rng, mut row: impl FnMut(i64, [f64; 3])) {
    let (mut time, mut counts, mut shown) = (habits.start, habits.counts, habits.counts);
    // The crowd's mood wanders slowly around 1.
    let (mut mood, mut refreshed) = (0.0, time);
    for k in 0..habits.rows {
        let mut seen = shown;
        if habits.dropout == Some(k) {
            seen[2] = 0.0;
        }
        row((time * 1e6) as i64, seen);
        let step = pause(habits, k, time, random);
        mood +=
            (0.15 * normal(random) - mood) * (step / DAY * 6.0).min(1.0) + 0.02 * normal(random) * (step / HOUR).sqrt();
        let age = time - habits.start + habits.age + step / 2.0;
        let pace = liveliness(habits, age, time + step / 2.0) * (1.0 + mood).clamp(0.4, 1.8);
        for (target, count) in counts.iter_mut().enumerate() {
            *count += happened(habits.pace[target] * pace * step, random);
            *count = (*count - revised(target, *count, random)).max(0.0);
        }
        time += step;
        if time - refreshed >= habits.refresh {
            (shown, refreshed) = (counts, time);
        }
    }
}

/// Seconds until the next poll: irregular, longer once a night, and once a day and a bit.
fn pause(habits: &Habits, row: usize, time: f64, random: &mut ChaCha8Rng) -> f64 {
    let usual = habits.interval * (0.7 + 0.6 * random.random::<f64>());
    let late = if random.random::<f64>() < 0.08 { habits.interval * random.random::<f64>() } else { 0.0 };
    let night = 3.0 * HOUR;
    let crosses_night = time % DAY < night && (time + usual) % DAY >= night;
    let asleep = if crosses_night { HOUR * (1.05 + 0.4 * random.random::<f64>()) } else { 0.0 };
    let gap = if row == habits.gap { DAY * (1.1 + 0.2 * random.random::<f64>()) } else { 0.0 };
    usual + late + asleep + gap
}

/// How fast counts grow, 1 at launch on average over a day.
fn liveliness(habits: &Habits, age: f64, time: f64) -> f64 {
    let decay = 1.0 / (1.0 + age / habits.decay);
    let since = (age - habits.revival) / (2.0 * DAY);
    let revival = if (0.0..1.0).contains(&since) { 1.0 + 6.0 * since * (1.0 - since) } else { 1.0 };
    // Two parabolas make a wave that is close to a sine; the evening is lively, the night is not.
    let hour = (time / DAY + 0.6).fract();
    let wave = if hour < 0.5 { hour * (0.5 - hour) } else { -(hour - 0.5) * (1.0 - hour) } * 16.0;
    decay * revival * (1.0 + 0.55 * wave)
}

/// How many of the events expected happened: a whole number with about that mean and variance.
fn happened(expected: f64, random: &mut ChaCha8Rng) -> f64 {
    let spread = if expected > 4.0 { expected.sqrt() * normal(random) } else { 0.0 };
    (expected + spread + random.random::<f64>()).floor().max(0.0)
}

/// What an audit takes away: now and then a little, of the views about a thousandth.
fn revised(target: usize, count: f64, random: &mut ChaCha8Rng) -> f64 {
    let (chance, most) = [(0.01, count * 0.0015), (0.03, 6.0 + count * 0.0012), (0.03, 2.0 + count * 0.004)][target];
    if random.random::<f64>() < chance { (1.0 + most * random.random::<f64>()).floor() } else { 0.0 }
}

/// Close to a standard normal: the sum of twelve uniforms, which needs no logarithm.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_bytes_on_every_machine() {
        let version = sample(0).fingerprint();
        assert_eq!((version.rows, version.videos), (SAMPLE_ROWS as u64, 3));
        assert_eq!(version.sha256, "3227c92b7fadf975a62ef4e007b6e2be2ec5380d76b7e5e2193650387b13f996");
        assert_ne!(version.sha256, sample(1).fingerprint().sha256);
    }

    /// Shares of rows, by video and target.
    fn share(series: &Series, of: impl Fn(f64, f64) -> bool) -> Vec<[f64; 3]> {
        series
            .videos
            .iter()
            .map(|video| {
                [0, 1, 2].map(|k| {
                    let column = &series.counts[k][video.rows.clone()];
                    let n = column.windows(2).filter(|pair| of(pair[0], pair[1])).count();
                    n as f64 / (column.len() - 1) as f64
                })
            })
            .collect()
    }

    #[test]
    fn counters_have_their_habits() {
        for seed in 0..4 {
            let series = sample(seed);
            assert!(series.counts.iter().flatten().all(|count| count.fract() == 0.0));
            let flat = share(&series, |before, now| (before - now).abs() < 0.5);
            assert!(flat[1][0] > 0.6, "polled every minute, views stand still for minutes: {flat:?}");
            assert!(flat[0][0] < 0.2 && flat[2][0] < 0.2, "{flat:?}");
            assert!(flat.iter().all(|video| (0.05..0.95).contains(&video[2])), "comments pause: {flat:?}");
            let falls = share(&series, |before, now| now < before);
            assert!(falls.iter().all(|video| video.iter().all(|&f| f > 0.0 && f < 0.1)), "{falls:?}");
            let zeros = series.counts.iter().flatten().filter(|&&count| count == 0.0).count();
            assert_eq!(zeros, 1, "one dropout");
            for video in &series.videos {
                let times = &series.at[video.rows.clone()];
                let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
                steps.sort_unstable();
                let (median, longest) = (steps[steps.len() / 2], steps[steps.len() - 1]);
                assert!(longest > 26 * 3_600_000_000 && longest < 40 * 3_600_000_000, "a gap of a day: {longest}");
                assert!(median > 50_000_000 && median < 30 * 60_000_000);
                let views = &series.counts[0][video.rows.clone()];
                let (first, last) = (views[0], views[views.len() - 1]);
                assert!(last > 1.5 * first && last > 300_000.0 && last < 3_000_000.0, "{first} to {last}");
            }
        }
    }
}
