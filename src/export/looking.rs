//! What a window shows, as nodes: candidates, and features of the window and of its steps.

use super::builder::{Builder, int};
use super::increment::{HISTORY, SEEN, TIME};
use super::proto::{DOUBLE, FLOAT};
use crate::recipe::{CANDIDATES, DAYS, LARGE, Plan, SATURDAY, SINCE_MONDAY, WEEK};
use std::f32::consts::TAU;

/// Names of what was computed.
pub(super) struct Looked {
    /// Pace of the last day, `[batch, 1]`, 64 bits.
    pub(super) pace: String,
    /// `[batch, horizon, candidates]`, 64 bits.
    pub(super) candidates: String,
    /// `[batch, statics]`, 32 bits.
    pub(super) statics: String,
    /// `[batch, sequence, 3]`, 32 bits.
    pub(super) sequence: Option<String>,
}

/// Growth ahead over each span: same hours of each day and steps that pass, each `[batch, spans]`.
struct Ahead {
    same_hours: [String; DAYS],
    steps: String,
}

/// Adds the nodes; those of the steps only where they are wanted.
pub(super) fn look(b: &mut Builder, plan: &Plan, steps: bool) -> Looked {
    let day = plan.day;
    b.doubles("step", &[1], &[plan.step as f64]);
    b.doubles("half_step", &[1], &[plan.step as f64 / 2.0]);
    b.doubles("none", &[1], &[0.0]);
    let paces: Vec<(usize, usize)> = (1..=DAYS).map(|d| (day * d, day * (d - 1))).collect();
    let paces = rates(b, plan, "day_rates", &paces);
    let least = b.doubles("least_pace", &[1], &[1.0 / day as f64]);
    let paces = b.node("Max", "paces", &[&paces, &least], vec![]); // [batch, days]
    let pace = b.columns("pace", &paces, &[0]);
    let axis = b.ints("time_axis", &[1]);
    let time = b.node("Unsqueeze", "time_column", &[TIME, &axis], vec![]); // [batch, 1]
    let age_now = ages(b, plan, "age_now", &time, &[0]);
    let ahead = ahead(b, plan, &time, &age_now);
    let candidates = candidates(b, plan, &ahead);
    let statics = statics(b, plan, &paces, &pace, &time, &age_now, &ahead);
    let sequence = steps.then(|| sequence(b, plan, &pace, &time));
    Looked { pace, candidates, statics, sequence }
}

/// Place of a lag in a history.
fn at(plan: &Plan, lag: usize) -> i64 {
    (plan.history - 1 - lag) as i64
}

/// Growth a step between pairs of lags, older and newer, by the time between the observations: `[batch, pairs]`.
fn rates(b: &mut Builder, plan: &Plan, name: &str, pairs: &[(usize, usize)]) -> String {
    let part = |part: &str| format!("{name}.{part}");
    let newer: Vec<i64> = pairs.iter().map(|&(_, newer)| at(plan, newer)).collect();
    let older: Vec<i64> = pairs.iter().map(|&(older, _)| at(plan, older)).collect();
    let between = |b: &mut Builder, what: &str, from: &str| {
        let newer = b.columns(&part(&format!("newer_{what}")), from, &newer);
        let older = b.columns(&part(&format!("older_{what}")), from, &older);
        b.node("Sub", &part(&format!("{what}_between")), &[&newer, &older], vec![])
    };
    let growth = between(b, "count", HISTORY);
    let span = between(b, "time", SEEN);
    let span = b.cast(&part("span"), &span, DOUBLE);
    let span = b.node("Max", &part("span_least"), &[&span, "half_step"], vec![]);
    let growth = b.node("Mul", &part("by_step"), &[&growth, "step"], vec![]);
    b.node("Div", name, &[&growth, &span], vec![])
}

/// Seconds between grid times and the observations that stand there: `[batch, lags]`, 64-bit floats.
fn ages(b: &mut Builder, plan: &Plan, name: &str, time: &str, lags: &[usize]) -> String {
    let part = |part: &str| format!("{name}.{part}");
    let places: Vec<i64> = lags.iter().map(|&lag| at(plan, lag)).collect();
    let seen = b.columns(&part("seen"), SEEN, &places);
    let back: Vec<i64> = lags.iter().map(|&lag| lag as i64 * plan.step).collect();
    let back = b.ints(&part("back"), &back);
    let times = b.node("Sub", &part("times"), &[time, &back], vec![]);
    let age = b.node("Sub", &part("seconds"), &[&times, &seen], vec![]);
    b.cast(name, &age, DOUBLE)
}

fn ahead(b: &mut Builder, plan: &Plan, time: &str, age_now: &str) -> Ahead {
    let oldest = b.doubles("oldest", &[1], &[plan.step as f64 * 1.5]);
    let spans: Vec<f64> = plan.spans.iter().map(|&h| (h as i64 * plan.step) as f64).collect();
    let spans = b.doubles("span_seconds", &[spans.len()], &spans);
    let until = b.node("Add", "until_due", &[age_now, &spans], vec![]); // [batch, spans]
    let steps = |b: &mut Builder, name: &str, age: &str| {
        let seconds = b.node("Sub", &format!("{name}.seconds"), &[&until, age], vec![]);
        let seconds = b.node("Max", &format!("{name}.not_back"), &[&seconds, "none"], vec![]);
        b.node("Div", name, &[&seconds, "step"], vec![])
    };
    let mut then = Vec::new();
    let same_hours = [1, 2, 3].map(|d| {
        let lag = plan.day * d;
        let name = format!("same_hours_{d}");
        let lags: Vec<usize> = plan.spans.iter().map(|&h| lag - h).collect();
        let age = ages(b, plan, &format!("{name}.age"), time, &lags);
        let age = b.node("Max", &format!("{name}.age_up"), &[&age, "none"], vec![]);
        let age = b.node("Min", &format!("{name}.age_within"), &[&age, &oldest], vec![]);
        let pairs: Vec<(usize, usize)> = plan.spans.iter().map(|&h| (lag, lag - h)).collect();
        let rate = rates(b, plan, &format!("{name}.rate"), &pairs);
        let passed = steps(b, &format!("{name}.steps"), &age);
        let growth = b.node("Mul", &format!("{name}.growth"), &[&rate, &passed], vec![]);
        then.push(age);
        b.node("Max", &name, &[&growth, "none"], vec![])
    });
    // the median of three
    let low = b.node("Min", "age_low", &[&then[0], &then[1]], vec![]);
    let high = b.node("Max", "age_high", &[&then[0], &then[1]], vec![]);
    let high = b.node("Min", "age_upper", &[&high, &then[2]], vec![]);
    let median = b.node("Max", "age_median", &[&low, &high], vec![]);
    Ahead { same_hours, steps: steps(b, "steps_ahead", &median) }
}

/// `[batch, horizon, candidates]`
fn candidates(b: &mut Builder, plan: &Plan, ahead: &Ahead) -> String {
    let (hour, day, half) = (plan.hour, plan.day, 12 * plan.hour);
    let recent = [(3 * hour, 0), (day, 0), (hour, 0), (half, 0), (day + half, day)];
    let recent = rates(b, plan, "recent", &recent);
    let mut of_spans = ahead.same_hours.to_vec();
    let of_pace = |b: &mut Builder, k: i64, name: &str| {
        let pace = b.columns(&format!("{name}.pace"), &recent, &[k]);
        let growth = b.node("Mul", &format!("{name}.growth"), &[&pace, &ahead.steps], vec![]);
        b.node("Max", name, &[&growth, "none"], vec![])
    };
    of_spans.push(of_pace(b, 0, "three_hours"));
    of_spans.push(of_pace(b, 1, "one_day"));
    of_spans.push(b.node("Mul", "no_growth", &[&ahead.steps, "none"], vec![]));
    of_spans.push(of_pace(b, 2, "one_hour"));
    let (now, then) = (b.columns("half_day", &recent, &[3]), b.columns("half_day_yesterday", &recent, &[4]));
    let apart = b.node("Sub", "half_day_apart", &[&now, &then], vec![]);
    let more = b.node("Mul", "half_day_more", &[&apart, &ahead.steps], vec![]);
    let growth = b.node("Add", "half_day_growth", &[&of_spans[0], &more], vec![]);
    of_spans.push(b.node("Max", "as_half_day", &[&growth, "none"], vec![]));
    debug_assert_eq!(of_spans.len(), CANDIDATES);
    let last_axis = b.ints("candidate_axis", &[2]);
    let columns: Vec<String> = of_spans
        .iter()
        .map(|name| b.node("Unsqueeze", &format!("{name}.column"), &[name, &last_axis], vec![]))
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let all = b.node("Concat", "of_spans", &columns, vec![int("axis", 2)]); // [batch, spans, candidates]
    let split: Vec<(usize, usize)> = (1..=plan.horizon).map(|h| plan.days_and_rest(h)).collect();
    let rest: Vec<i64> = split.iter().map(|&(_, rest)| plan.span(rest) as i64).collect();
    let rest = b.columns("of_rest", &all, &rest);
    if split.iter().all(|&(days, _)| days == 0) {
        return rest;
    }
    let day = b.columns("of_day", &all, &[plan.span(plan.day) as i64]);
    let days: Vec<f64> = split.iter().map(|&(days, _)| days as f64).collect();
    let days = b.doubles("whole_days", &[days.len(), 1], &days);
    let days = b.node("Mul", "of_days", &[&day, &days], vec![]);
    b.node("Add", "candidates", &[&days, &rest], vec![])
}

/// `[batch, statics]`
fn statics(b: &mut Builder, plan: &Plan, paces: &str, pace: &str, time: &str, age_now: &str, ahead: &Ahead) -> String {
    let log = |b: &mut Builder, name: &str, of: &str| {
        let of = b.cast(&format!("{name}.32"), of, FLOAT);
        b.node("Log", name, &[&of], vec![])
    };
    let asinh = |b: &mut Builder, name: &str, of: &str| {
        let of = b.cast(&format!("{name}.32"), of, FLOAT);
        b.node("Asinh", name, &[&of], vec![])
    };
    let mut parts = Vec::new();
    let large = b.doubles("large", &[1], &[LARGE]);
    let up = b.node("Add", "pace_up", &[pace, &large], vec![]);
    let size = b.node("Div", "pace_share", &[pace, &up], vec![]);
    parts.push(log(b, "pace_size", &size));
    let newer = b.columns("newer_paces", paces, &[0, 1]);
    let older = b.columns("older_paces", paces, &[1, 2]);
    let ratio = b.node("Div", "pace_ratios", &[&newer, &older], vec![]);
    parts.push(log(b, "pace_ratios_log", &ratio));
    let age = b.node("Div", "age_steps", &[age_now, "step"], vec![]);
    parts.push(b.cast("age_steps_32", &age, FLOAT));

    let now: Vec<(usize, usize)> = plan.lately.iter().map(|&m| (m, 0)).collect();
    let yesterday: Vec<(usize, usize)> = plan.lately.iter().map(|&m| (plan.day + m, plan.day)).collect();
    let now = rates(b, plan, "lately", &now);
    let yesterday = rates(b, plan, "lately_yesterday", &yesterday);
    let difference = b.node("Sub", "lately_difference", &[&now, &yesterday], vec![]);
    let pairs = b.node("Concat", "lately_both", &[&now, &difference], vec![int("axis", 1)]);
    let pairs = b.node("Div", "lately_scaled", &[&pairs, pace], vec![]);
    // one after the other for each stretch
    let n = plan.lately.len() as i64;
    let order: Vec<i64> = (0..n).flat_map(|k| [k, n + k]).collect();
    let pairs = b.columns("lately_ordered", &pairs, &order);
    parts.push(asinh(b, "lately_compressed", &pairs));

    let anchors: Vec<i64> = plan.anchors.iter().map(|&h| plan.span(h) as i64).collect();
    let lengths: Vec<f64> = plan.anchors.iter().map(|&h| h as f64).collect();
    let lengths = b.doubles("anchors", &[lengths.len()], &lengths);
    let steps = b.columns("anchor_steps", &ahead.steps, &anchors);
    let steps = b.node("Div", "anchor_steps_scaled", &[&steps, &lengths], vec![]);
    parts.push(b.cast("anchor_steps_32", &steps, FLOAT));
    parts.extend(regularity(b, plan, pace));

    let unit = b.node("Mul", "anchor_units", &[pace, &lengths], vec![]);
    let days = [0, 1, 2].map(|d| b.columns(&format!("anchor_day_{d}"), &ahead.same_hours[d], &anchors));
    let scaled = [0, 1, 2].map(|d| b.node("Div", &format!("anchor_scaled_{d}"), &[&days[d], &unit], vec![]));
    let most = b.node("Max", "anchor_most", &[&scaled[0], &scaled[1], &scaled[2]], vec![]);
    let least = b.node("Min", "anchor_least", &[&scaled[0], &scaled[1], &scaled[2]], vec![]);
    let (most, least) = (asinh(b, "anchor_most_compressed", &most), asinh(b, "anchor_least_compressed", &least));
    let spread = b.node("Sub", "anchor_spread", &[&most, &least], vec![]);
    let first = asinh(b, "anchor_first_compressed", &scaled[0]);
    let both = b.node("Concat", "anchor_both", &[&spread, &first], vec![int("axis", 1)]);
    let n = plan.anchors.len() as i64;
    let order: Vec<i64> = (0..n).flat_map(|k| [k, n + k]).collect();
    parts.push(b.columns("anchor_ordered", &both, &order));
    parts.extend(cycles(b, plan, time));

    let sum = b.node("Add", "anchor_sum_of_two", &[&days[0], &days[1]], vec![]);
    let sum = b.node("Add", "anchor_sum", &[&sum, &days[2]], vec![]);
    let three = b.doubles("three", &[1], &[3.0]);
    let mean = b.node("Div", "anchor_mean", &[&sum, &three], vec![]);
    let tenth = b.doubles("tenth", &[1], &[0.1]);
    let some = b.node("Add", "anchor_mean_some", &[&mean, &tenth], vec![]);
    let up = b.node("Add", "anchor_mean_up", &[&mean, &large], vec![]);
    let share = b.node("Div", "anchor_mean_share", &[&some, &up], vec![]);
    parts.push(log(b, "anchor_size", &share));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    b.node("Concat", "statics", &parts, vec![int("axis", 1)])
}

/// How steps of the last day differ from those of the day before, how many of them stand still, and for how long the last
/// ones have.
fn regularity(b: &mut Builder, plan: &Plan, pace: &str) -> [String; 3] {
    let mut step = |name: &str, shift: usize| {
        let places = |more: usize| -> Vec<i64> { (0..plan.day).map(|lag| at(plan, lag + shift + more)).collect() };
        let now = b.columns(&format!("{name}.now"), HISTORY, &places(0));
        let before = b.columns(&format!("{name}.before"), HISTORY, &places(1));
        b.node("Sub", name, &[&now, &before], vec![])
    };
    let (today, yesterday) = (step("steps_today", 0), step("steps_yesterday", plan.day));
    let axis = b.ints("day_axis", &[1]);
    let day = b.doubles("day", &[1], &[plan.day as f64]);
    let apart = b.node("Sub", "steps_apart", &[&today, &yesterday], vec![]);
    let apart = b.node("Abs", "steps_apart_abs", &[&apart], vec![]);
    let apart = b.node("ReduceSum", "steps_apart_sum", &[&apart, &axis], vec![int("keepdims", 1)]);
    let apart = b.node("Div", "steps_apart_mean", &[&apart, &day], vec![]);
    let apart = b.node("Div", "steps_apart_scaled", &[&apart, pace], vec![]);
    let small = b.doubles("small", &[1], &[0.05]);
    let apart = b.node("Add", "steps_apart_up", &[&apart, &small], vec![]);
    let apart = b.cast("steps_apart_32", &apart, FLOAT);
    let apart = b.node("Log", "regularity", &[&apart], vec![]);
    let still = b.node("Equal", "steps_still", &[&today, "none"], vec![]);
    let moves = b.node("Not", "steps_move", &[&still], vec![]);
    let still = b.cast("steps_still_64", &still, DOUBLE);
    let still = b.node("ReduceSum", "steps_still_sum", &[&still, &axis], vec![int("keepdims", 1)]);
    let still = b.node("Div", "steps_still_share", &[&still, &day], vec![]);
    let share = b.cast("share_unchanged", &still, FLOAT);
    // the newest step comes first: those before the first that moves have none that moves behind them
    let moves = b.cast("steps_move_32", &moves, FLOAT);
    let axis_of_sum = b.int("day_axis_of_sum", 1);
    let moved = b.node("CumSum", "steps_moved", &[&moves, &axis_of_sum], vec![]);
    let half = b.floats("half", &[1], &[0.5]);
    let unchanged = b.node("Less", "steps_unchanged", &[&moved, &half], vec![]);
    let unchanged = b.cast("steps_unchanged_32", &unchanged, FLOAT);
    let unchanged = b.node("ReduceSum", "steps_unchanged_sum", &[&unchanged, &axis], vec![int("keepdims", 1)]);
    [apart, share, b.node("Asinh", "steps_since_change", &[&unchanged], vec![])]
}

/// Time of day, minute of the hour; day of the week and weekend where they are features.
fn cycles(b: &mut Builder, plan: &Plan, time: &str) -> Vec<String> {
    let into = |b: &mut Builder, name: &str, time: &str, period: i64| {
        let seconds = b.ints(&format!("{name}_seconds"), &[period]);
        b.node("Mod", &format!("into_{name}"), &[time, &seconds], vec![])
    };
    let waves = |b: &mut Builder, name: &str, into: &str, period: i64| {
        let into = b.cast(&format!("into_{name}_32"), into, FLOAT);
        let radians = b.floats(&format!("{name}_radians"), &[1], &[TAU / period as f32]);
        let phase = b.node("Mul", &format!("{name}_phase"), &[&into, &radians], vec![]);
        ["Sin", "Cos"].map(|wave| b.node(wave, &format!("{name}_{}", wave.to_lowercase()), &[&phase], vec![]))
    };
    let day = into(b, "hour", time, 86_400);
    let mut parts = waves(b, "hour", &day, 86_400).to_vec();
    let hour = into(b, "minute", time, 3_600);
    parts.extend(waves(b, "minute", &hour, 3_600));
    if plan.day_of_week {
        let since = b.ints("since_monday", &[SINCE_MONDAY]);
        let from_monday = b.node("Add", "time_from_monday", &[time, &since], vec![]);
        let week = into(b, "week", &from_monday, WEEK);
        parts.extend(waves(b, "week", &week, WEEK));
        let saturday = b.ints("before_saturday", &[SATURDAY - 1]);
        let weekend = b.node("Greater", "is_weekend", &[&week, &saturday], vec![]);
        parts.push(b.cast("weekend", &weekend, FLOAT));
    }
    parts
}

/// `[batch, sequence, 3]`
fn sequence(b: &mut Builder, plan: &Plan, pace: &str, time: &str) -> String {
    let lags: Vec<usize> = (0..plan.sequence).rev().collect();
    let growth = |b: &mut Builder, name: &str, shift: usize| {
        let pairs: Vec<(usize, usize)> = lags.iter().map(|&lag| (lag + shift + 1, lag + shift)).collect();
        let rate = rates(b, plan, &format!("{name}.rate"), &pairs);
        let scaled = b.node("Div", &format!("{name}.scaled"), &[&rate, pace], vec![]);
        let scaled = b.cast(&format!("{name}.32"), &scaled, FLOAT);
        b.node("Asinh", name, &[&scaled], vec![])
    };
    let now = growth(b, "step_growth", 0);
    let yesterday = growth(b, "step_growth_yesterday", plan.day);
    let age = ages(b, plan, "step_ages", time, &lags);
    let age = b.node("Div", "step_ages_scaled", &[&age, "step"], vec![]);
    let age = b.cast("step_ages_32", &age, FLOAT);
    let (least, most) = (b.floats("step_age_least", &[], &[0.0]), b.floats("step_age_most", &[], &[3.0]));
    let age = b.node("Clip", "step_age", &[&age, &least, &most], vec![]);
    let axis = b.ints("sequence_axis", &[2]);
    let columns = [now, yesterday, age].map(|name| {
        let column = format!("{name}.column");
        b.node("Unsqueeze", &column, &[&name, &axis], vec![])
    });
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    b.node("Concat", "sequence", &columns, vec![int("axis", 2)])
}
