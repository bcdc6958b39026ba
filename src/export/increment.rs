//! The graph of recipe `increment`: raw counts and times go in, counts come out.
//!
//! Candidates, features, the networks and their mixture are nodes of the graph, in the order of operations of
//! `recipe/increment/features.rs`: whoever serves forecasts needs no scaler, and none can be lost or mistaken. Differences
//! of counts and of times are taken in 64 bits.

use super::builder::{Builder, int};
use super::graph::{IR_VERSION, OPSET, OUTPUT, value};
use super::looking::{Looked, look};
use super::proto::{DOUBLE, DimensionValue, Graph, INT64, Model, OperatorSet, Property};
use crate::export::Description;
use crate::recipe::{Blend, CANDIDATES, Intervals, PRIOR, Plan, STRETCH};
use crate::train::Mixed;
use prost::Message;

/// Name of the input of counts on the grid, `[batch, history]`, the newest last.
pub const HISTORY: &str = "history";
/// Name of the input of the times at which those counts were recorded, `[batch, history]`, seconds since 1970.
pub const SEEN: &str = "seen";
/// Name of the input of the newest grid times, `[batch]`, seconds since 1970.
pub const TIME: &str = "time";
/// Name of the output of growth before it is rounded, `[batch, horizon]`.
pub const GROWTH: &str = "growth";
/// Names of the outputs of intervals, `[batch, horizon]`.
pub const LOWER: &str = "lower";
/// See [`LOWER`].
pub const UPPER: &str = "upper";

/// What a forecast is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Where is looked, and what is forecast.
    pub plan: &'a Plan,
    /// What becomes of the candidates.
    pub mixing: Mixing<'a>,
    /// Ends of the intervals.
    pub intervals: Option<&'a Intervals>,
}

/// What becomes of the candidates.
#[derive(Clone, Copy, Debug)]
pub enum Mixing<'a> {
    /// The mean of what networks make of them.
    Networks(&'a [Mixed]),
    /// A fixed blend of them and of the window's features.
    Blend(&'a Blend),
}

/// The bytes of an ONNX file. Same parts and description, same bytes.
pub fn increment_to_onnx(parts: Parts<'_>, description: &Description) -> Vec<u8> {
    let plan = parts.plan;
    let mut b = Builder::default();
    let looked = look(&mut b, plan, matches!(parts.mixing, Mixing::Networks(_)));
    let horizons: Vec<f64> = (1..=plan.horizon).map(|h| h as f64).collect();
    let horizons = b.doubles("horizons", &[plan.horizon], &horizons);
    let unit = b.node("Mul", "unit", &[&looked.pace, &horizons], vec![]); // [batch, horizon]
    match parts.mixing {
        Mixing::Networks(members) => {
            let grown: Vec<String> = (1..)
                .zip(members)
                .map(|(k, mixed)| member(&mut b, plan, &looked, &format!("member_{k}"), mixed))
                .collect();
            let names: Vec<&str> = grown.iter().map(String::as_str).collect();
            let sum = b.node("Sum", "members_sum", &names, vec![]);
            let n = b.doubles("n_members", &[1], &[members.len() as f64]);
            b.node("Div", GROWTH, &[&sum, &n], vec![]);
        }
        Mixing::Blend(blend) => blended(&mut b, plan, &looked, blend, &unit),
    }
    let last = b.columns("last_count", HISTORY, &[plan.history as i64 - 1]);
    let zero = b.doubles("least_growth", &[1], &[0.0]);
    let mut ends = vec![(OUTPUT, GROWTH.to_owned())];
    if let Some(intervals) = parts.intervals {
        for (name, shift) in [(LOWER, &intervals.lower), (UPPER, &intervals.upper)] {
            let shift = b.doubles(&format!("{name}_shift"), &[plan.horizon], shift);
            let shift = b.node("Mul", &format!("{name}_counts"), &[&unit, &shift], vec![]);
            ends.push((name, b.node("Add", &format!("{name}_growth"), &[GROWTH, &shift], vec![])));
        }
    }
    for (name, growth) in &ends {
        let growth = b.node("Max", &format!("{name}_not_down"), &[growth, &zero], vec![]);
        let growth = b.node("Round", &format!("{name}_whole"), &[&growth], vec![]);
        b.node("Add", name, &[&last, &growth], vec![]);
    }
    let mut outputs: Vec<&str> = ends.iter().map(|(name, _)| *name).collect();
    outputs.insert(1, GROWTH);
    model(b, plan, description, &outputs).encode_to_vec()
}

/// What one network makes of the candidates: growth in counts, `[batch, horizon]`.
fn member(b: &mut Builder, plan: &Plan, looked: &Looked, name: &str, mixed: &Mixed) -> String {
    let part = |part: &str| format!("{name}/{part}");
    let sequence = looked.sequence.as_ref().expect("steps for the networks");
    let standard = standardised(b, name, &looked.statics, &mixed.mean, &mixed.deviation);
    let outputs = b.mixture(name, sequence, &standard, &mixed.weights); // [batch, horizon * (candidates + 1)]
    let shape = b.ints(&part("shape"), &[0, plan.horizon as i64, CANDIDATES as i64 + 1]);
    let outputs = b.node("Reshape", &part("by_horizon"), &[&outputs, &shape], vec![]);
    let parts = b.ints(&part("parts"), &[CANDIDATES as i64, 1]);
    let (logits, stretch) = (part("logits"), part("stretch"));
    b.split(&part("split"), &[&outputs, &parts], &[&logits, &stretch]);
    let prior = b.floats(&part("prior"), &[CANDIDATES], &PRIOR);
    let logits = b.node("Add", &part("logits_and_prior"), &[&logits, &prior], vec![]);
    let weights = b.node("Softmax", &part("weights"), &[&logits], vec![int("axis", 2)]);
    let weights = b.cast(&part("weights_64"), &weights, DOUBLE);
    let mixed = b.node("Mul", &part("weighted"), &[&weights, &looked.candidates], vec![]);
    let last_axis = b.ints(&part("last_axis"), &[2]);
    let mixed = b.node("ReduceSum", &part("mixed"), &[&mixed, &last_axis], vec![int("keepdims", 0)]);
    let stretch = b.node("Tanh", &part("stretch_bounded"), &[&stretch], vec![]);
    let most = b.floats(&part("most_stretch"), &[1], &[STRETCH]);
    let stretch = b.node("Mul", &part("stretch_log"), &[&stretch, &most], vec![]);
    let stretch = b.node("Exp", &part("stretch_factor"), &[&stretch], vec![]);
    let stretch = b.cast(&part("stretch_64"), &stretch, DOUBLE);
    let stretch = b.node("Squeeze", &part("stretch_flat"), &[&stretch, &last_axis], vec![]);
    b.node("Mul", &part("growth"), &[&mixed, &stretch], vec![])
}

/// Features of windows as a model takes them, `[batch, statics]`.
fn standardised(b: &mut Builder, name: &str, statics: &str, mean: &[f32], deviation: &[f32]) -> String {
    let part = |part: &str| format!("{name}/{part}");
    let mean = b.floats(&part("mean"), &[mean.len()], mean);
    let deviation = b.floats(&part("deviation"), &[deviation.len()], deviation);
    let centred = b.node("Sub", &part("centred"), &[statics, &mean], vec![]);
    let standard = b.node("Div", &part("standardised"), &[&centred, &deviation], vec![]);
    let (least, most) = (b.floats(&part("least"), &[], &[-4.0]), b.floats(&part("most"), &[], &[4.0]));
    b.node("Clip", &part("clipped"), &[&standard, &least, &most], vec![])
}

fn blended(b: &mut Builder, plan: &Plan, looked: &Looked, blend: &Blend, unit: &str) {
    let of = |from: usize, to: usize| -> Vec<f64> {
        blend.coefficients.iter().flat_map(|coefficients| coefficients[from..to].iter().copied()).collect()
    };
    let coefficients = b.doubles("blend", &[plan.horizon, CANDIDATES], &of(0, CANDIDATES));
    let products = b.node("Mul", "blend_products", &[&looked.candidates, &coefficients], vec![]);
    let axis = b.ints("blend_axis", &[2]);
    let sum = b.node("ReduceSum", "blend_sum", &[&products, &axis], vec![int("keepdims", 0)]);
    let n = CANDIDATES + blend.mean.len();
    let statics = standardised(b, "blend", &looked.statics, &blend.mean, &blend.deviation);
    let statics = b.cast("blend_statics", &statics, DOUBLE);
    // [statics, horizon]
    let weights: Vec<f64> = (CANDIDATES..n).flat_map(|k| blend.coefficients.iter().map(move |of| of[k])).collect();
    let weights = b.doubles("blend_weights", &[blend.mean.len(), plan.horizon], &weights);
    let shift = b.node("MatMul", "blend_of_statics", &[&statics, &weights], vec![]);
    let constants = b.doubles("blend_constant", &[plan.horizon], &of(n, n + 1));
    let shift = b.node("Add", "blend_shift", &[&shift, &constants], vec![]);
    let shift = b.node("Mul", "blend_shift_counts", &[unit, &shift], vec![]);
    b.node("Add", GROWTH, &[&sum, &shift], vec![]);
}

fn model(b: Builder, plan: &Plan, description: &Description, outputs: &[&str]) -> Model {
    let batch = || DimensionValue::DimParam("batch".to_owned());
    let fixed = |n: usize| DimensionValue::DimValue(n as i64);
    let target = &description.target;
    let history_doc = format!(
        "{target} on a grid of {} s, the newest last: the last value known at each time; before the first known one, that \
         one",
        plan.step
    );
    let seen_doc = "when each of these was recorded, seconds since 1970, UTC".to_owned();
    let time_doc = "the newest grid time, seconds since 1970, UTC".to_owned();
    let what = |name: &str| match name {
        LOWER => "lower end of the interval of the count",
        UPPER => "upper end of the interval of the count",
        GROWTH => "growth before it is rounded",
        _ => "the count expected",
    };
    let output = |&name: &&str| {
        let doc = format!("{} of {target} 1 to {} steps later", what(name), plan.horizon);
        value(name, DOUBLE, &[batch(), fixed(plan.horizon)], doc)
    };
    let property = |key: &str, value: &str| Property { key: key.to_owned(), value: value.to_owned() };
    Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("forecasts the next {target} of a video from its recorded counts"),
        graph: Some(Graph {
            node: b.nodes,
            name: format!("{}_{target}", description.recipe),
            initializer: b.initializers,
            input: vec![
                value(HISTORY, DOUBLE, &[batch(), fixed(plan.history)], history_doc),
                value(SEEN, INT64, &[batch(), fixed(plan.history)], seen_doc),
                value(TIME, INT64, &[batch()], time_doc),
            ],
            output: outputs.iter().map(output).collect(),
        }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            property("target", target),
            property("recipe", &description.recipe),
            property("features", &description.features.join(",")),
            property("sequence_length", &plan.sequence.to_string()),
            property("grid_seconds", &plan.step.to_string()),
            property("training_data_version", &description.training_data_version),
        ],
    }
}
