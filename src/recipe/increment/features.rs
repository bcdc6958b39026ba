//! What one window shows. The exported graph does the same operations in the same order (`export/increment.rs`).

use super::plan::{CANDIDATES, DAYS, LARGE, PRIOR, Plan, SATURDAY, SEQUENCE_WIDTH, SINCE_MONDAY, STRETCH, WEEK};
use std::f32::consts::TAU;

/// One series looking back from a point: lags count steps, and before the first known point that one stands.
pub(super) trait Past {
    /// The count `lag` steps ago.
    fn count(&self, lag: usize) -> f64;
    /// When it was recorded. Unit: seconds since 1970.
    fn seen(&self, lag: usize) -> i64;
    /// Time of the point. Unit: seconds since 1970.
    fn time(&self) -> i64;
}

/// What a window shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Pace of the last day. Unit: counts a step.
    pub(super) pace: f64,
    /// Candidate growths, `[horizon, candidates]`. Unit: counts.
    pub(super) candidates: Vec<f64>,
    /// Features of the window, not standardised.
    pub(super) statics: Vec<f32>,
}

/// Growth a step between two lags, by the time between the two observations.
fn rate(past: &impl Past, plan: &Plan, older: usize, newer: usize) -> f64 {
    let span = (past.seen(newer) - past.seen(older)) as f64;
    plan.step as f64 * (past.count(newer) - past.count(older)) / span.max(plan.step as f64 / 2.0)
}

/// The pace of day `d` before the point, at least one count a day.
pub(super) fn pace(past: &impl Past, plan: &Plan, d: usize) -> f64 {
    rate(past, plan, plan.day * d, plan.day * (d - 1)).max(1.0 / plan.day as f64)
}

/// Steps between the observation behind the last count and the one expected behind the count `h` steps later, which is
/// to be as old as `age`.
fn ahead(plan: &Plan, h: usize, age_now: f64, age: f64) -> f64 {
    ((h as i64 * plan.step) as f64 + age_now - age).max(0.0) / plan.step as f64
}

fn age(past: &impl Past, plan: &Plan, lag: usize) -> f64 {
    (past.time() - lag as i64 * plan.step - past.seen(lag)) as f64
}

/// Growth ahead over each span of the plan.
struct Ahead {
    /// As in the same hours of each of the last days, `[days][spans]`. Unit: counts.
    same_hours: [Vec<f64>; DAYS],
    /// Steps that pass between observations, `[spans]`.
    steps: Vec<f64>,
}

fn look_ahead(past: &impl Past, plan: &Plan) -> Ahead {
    let age_now = age(past, plan, 0);
    let oldest = plan.step as f64 * 1.5;
    let mut same_hours: [Vec<f64>; DAYS] = Default::default();
    let mut steps = Vec::with_capacity(plan.spans.len());
    for &h in &plan.spans {
        let mut ages = [0.0; DAYS];
        for (d, age_then) in ages.iter_mut().enumerate() {
            let lag = plan.day * (d + 1);
            *age_then = age(past, plan, lag - h).clamp(0.0, oldest);
            same_hours[d].push((rate(past, plan, lag, lag - h) * ahead(plan, h, age_now, *age_then)).max(0.0));
        }
        let [a, b, c] = ages;
        steps.push(ahead(plan, h, age_now, a.min(b).max(a.max(b).min(c))));
    }
    Ahead { same_hours, steps }
}

/// Everything but the sequence.
pub(super) fn look(past: &impl Past, plan: &Plan) -> Seen {
    let scale = pace(past, plan, 1);
    let ahead = look_ahead(past, plan);
    let paces = [3 * plan.hour, plan.day, plan.hour].map(|steps| rate(past, plan, steps, 0));
    let half = 12 * plan.hour;
    let apart = rate(past, plan, half, 0) - rate(past, plan, plan.day + half, plan.day);
    let of_span = |place: usize| -> [f64; CANDIDATES] {
        let [a, b, c] = [0, 1, 2].map(|d| ahead.same_hours[d][place]);
        let [three_hours, day, hour] = paces.map(|pace| (pace * ahead.steps[place]).max(0.0));
        [a, b, c, three_hours, day, 0.0, hour, (a + apart * ahead.steps[place]).max(0.0)]
    };
    let mut candidates = Vec::with_capacity(plan.horizon * CANDIDATES);
    for h in 1..=plan.horizon {
        let (days, rest) = plan.days_and_rest(h);
        let rest = of_span(plan.span(rest));
        if days == 0 {
            candidates.extend(rest);
        } else {
            let day = of_span(plan.span(plan.day));
            candidates.extend((0..CANDIDATES).map(|j| days as f64 * day[j] + rest[j]));
        }
    }
    let statics = statics(past, plan, scale, &ahead);
    Seen { pace: scale, candidates, statics }
}

fn statics(past: &impl Past, plan: &Plan, scale: f64, ahead: &Ahead) -> Vec<f32> {
    let ln = |value: f64| (value as f32).ln();
    let asinh = |value: f64| (value as f32).asinh();
    let (second, third) = (pace(past, plan, 2), pace(past, plan, 3));
    let mut out = vec![ln(scale / (scale + LARGE)), ln(scale / second), ln(second / third)];
    out.push((age(past, plan, 0) / plan.step as f64) as f32);
    for m in plan.lately {
        let (now, then) = (rate(past, plan, m, 0), rate(past, plan, plan.day + m, plan.day));
        out.extend([asinh(now / scale), asinh((now - then) / scale)]);
    }
    let place = |h: usize| plan.span(h);
    out.extend(plan.anchors.map(|h| (ahead.steps[place(h)] / h as f64) as f32));
    let (mut apart, mut still) = (0.0, 0.0);
    let step = |lag: usize| past.count(lag) - past.count(lag + 1);
    for lag in 0..plan.day {
        apart += (step(lag) - step(lag + plan.day)).abs();
        still += f64::from(u8::from(step(lag) == 0.0));
    }
    let day = plan.day as f64;
    let unchanged = (0..plan.day).take_while(|&lag| step(lag) == 0.0).count();
    out.extend([ln(0.05 + apart / day / scale), (still / day) as f32, asinh(unchanged as f64)]);
    for h in plan.anchors {
        let [a, b, c] = [0, 1, 2].map(|d| ahead.same_hours[d][place(h)] / (h as f64 * scale));
        out.extend([asinh(a.max(b).max(c)) - asinh(a.min(b).min(c)), asinh(a)]);
    }
    let phase = |since: i64, period: i64| (past.time() + since).rem_euclid(period) as f32 * (TAU / period as f32);
    let (hour, minute, week) = (phase(0, 86_400), phase(0, 3_600), phase(SINCE_MONDAY, WEEK));
    out.extend([hour.sin(), hour.cos(), minute.sin(), minute.cos()]);
    if plan.day_of_week {
        let weekend = (past.time() + SINCE_MONDAY).rem_euclid(WEEK) >= SATURDAY;
        out.extend([week.sin(), week.cos(), f32::from(u8::from(weekend))]);
    }
    out.extend(plan.anchors.map(|h| {
        let [a, b, c] = [0, 1, 2].map(|d| ahead.same_hours[d][place(h)]);
        let mean = (a + b + c) / 3.0;
        ln((mean + 0.1) / (mean + LARGE))
    }));
    out
}

/// Appends what the LSTM reads, oldest step first: `[sequence, 3]`.
pub(super) fn sequence(past: &impl Past, plan: &Plan, scale: f64, into: &mut Vec<f32>) {
    let growth = |lag: usize| (rate(past, plan, lag + 1, lag) / scale) as f32;
    into.reserve(plan.sequence * SEQUENCE_WIDTH);
    for lag in (0..plan.sequence).rev() {
        let old = (age(past, plan, lag) / plan.step as f64) as f32;
        into.extend([growth(lag).asinh(), growth(lag + plan.day).asinh(), old.clamp(0.0, 3.0)]);
    }
}

/// The growth that the network's outputs `[candidates + 1]` make of candidates `[candidates]`. Unit: that of the latter.
pub(super) fn mix(outputs: &[f32], candidates: &[f64]) -> f64 {
    let logits: Vec<f32> = outputs.iter().zip(PRIOR).map(|(output, prior)| output + prior).collect();
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let mixed: f64 = weights.iter().zip(candidates).map(|(weight, growth)| f64::from(weight / sum) * growth).sum();
    mixed * f64::from((STRETCH * outputs[CANDIDATES].tanh()).exp())
}
