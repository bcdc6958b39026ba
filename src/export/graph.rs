//! The graph: Transpose → LSTM → Squeeze → LSTM → Squeeze → Gemm → Relu → Gemm.

use super::proto::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, Dimension, DimensionValue, FLOAT, Graph, INT64, Model, Node, OperatorSet,
    Property, Shape, Tensor, TensorType, Type, ValueInfo,
};
use crate::model::{DenseWeights, LstmWeights, Weights};
use prost::Message;

/// Name of the graph's input, `[batch, steps, features]`.
pub const INPUT: &str = "window";
/// Name of the graph's output, `[batch, 1]`.
pub const OUTPUT: &str = "forecast";

/// ONNX's opset 17 goes with IR version 8.
pub(super) const OPSET: i64 = 17;
pub(super) const IR_VERSION: i64 = 8;

/// What the file says about itself; Netron and `onnx.load` show it.
#[derive(Clone, Debug)]
pub struct Description {
    /// What is forecast.
    pub target: String,
    /// How windows are made.
    pub recipe: String,
    /// Names of the features, in order.
    pub features: Vec<String>,
    /// Steps a window holds.
    pub steps: usize,
    /// Hash of the rows used.
    pub training_data_version: String,
}

/// The bytes of an ONNX file. Same weights and description, same bytes.
pub fn to_onnx(weights: &Weights, description: &Description) -> Vec<u8> {
    let config = weights.config;
    let mut initializer = Vec::new();
    lstm_initializers("lstm_1", &weights.first, &mut initializer);
    lstm_initializers("lstm_2", &weights.second, &mut initializer);
    dense_initializers("dense", &weights.dense, &mut initializer);
    dense_initializers("output", &weights.output, &mut initializer);
    initializer.push(ints("direction_axis", &[1]));
    initializer.push(ints("last_direction_axis", &[0]));

    let hidden_size = || Attribute {
        name: "hidden_size".to_owned(),
        i: config.hidden as i64,
        r#type: ATTRIBUTE_INT,
        ..Default::default()
    };
    let time_major =
        Attribute { name: "perm".to_owned(), ints: vec![1, 0, 2], r#type: ATTRIBUTE_INTS, ..Default::default() };
    let node = |op: &str, name: &str, input: &[&str], output: &[&str], attribute: Vec<Attribute>| Node {
        input: input.iter().map(ToString::to_string).collect(),
        output: output.iter().map(ToString::to_string).collect(),
        name: name.to_owned(),
        op_type: op.to_owned(),
        attribute,
    };
    let nodes = vec![
        // [batch, steps, features] → [steps, batch, features]
        node("Transpose", "to_time_major", &[INPUT], &["steps"], vec![time_major]),
        // → [steps, 1 direction, batch, hidden]
        node("LSTM", "lstm_1", &["steps", "lstm_1.W", "lstm_1.R", "lstm_1.B"], &["sequence"], vec![hidden_size()]),
        node("Squeeze", "one_direction", &["sequence", "direction_axis"], &["sequence_1"], vec![]),
        // only the last hidden state, [1 direction, batch, hidden], goes on
        node("LSTM", "lstm_2", &["sequence_1", "lstm_2.W", "lstm_2.R", "lstm_2.B"], &["", "last"], vec![hidden_size()]),
        node("Squeeze", "one_last_direction", &["last", "last_direction_axis"], &["last_1"], vec![]),
        node("Gemm", "dense", &["last_1", "dense.kernel", "dense.bias"], &["dense_out"], vec![]),
        node("Relu", "relu", &["dense_out"], &["activated"], vec![]),
        node("Gemm", "output", &["activated", "output.kernel", "output.bias"], &[OUTPUT], vec![]),
    ];

    let batch = || DimensionValue::DimParam("batch".to_owned());
    let fixed = |n: usize| DimensionValue::DimValue(n as i64);
    let input_doc = format!("scaled features of {} steps: {}", description.steps, description.features.join(", "));
    let output_doc = format!("the scaled count of {} at the next step", description.target);
    let property = |key: &str, value: &str| Property { key: key.to_owned(), value: value.to_owned() };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("forecasts the next {} of a video", description.target),
        graph: Some(Graph {
            node: nodes,
            name: format!("{}_{}", description.recipe, description.target),
            initializer,
            input: vec![value(INPUT, FLOAT, &[batch(), fixed(description.steps), fixed(config.features)], input_doc)],
            output: vec![value(OUTPUT, FLOAT, &[batch(), fixed(1)], output_doc)],
        }),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            property("target", &description.target),
            property("recipe", &description.recipe),
            property("features", &description.features.join(",")),
            property("sequence_length", &description.steps.to_string()),
            property("training_data_version", &description.training_data_version),
        ],
    };
    model.encode_to_vec()
}

/// Packs one LSTM layer's weights for ONNX.
///
/// Shapes: `[input, 4 * hidden]` → W `[1, 4 * hidden, input]`; `[hidden, 4 * hidden]` → R `[1, 4 * hidden, hidden]`;
/// `[4 * hidden]` → B `[1, 8 * hidden]`, its recurrent half zero. The gates stand in ONNX's order already: `iofc`.
/// Source: ONNX `LSTM` operator.
pub(super) fn lstm_initializers(name: &str, layer: &LstmWeights, into: &mut Vec<Tensor>) {
    let gates = layer.bias.len();
    let transposed = |values: &[f32]| {
        let rows = values.len() / gates;
        (0..gates).flat_map(|c| (0..rows).map(move |r| values[r * gates + c])).collect::<Vec<_>>()
    };
    into.push(floats(&format!("{name}.W"), &[1, gates, layer.input.len() / gates], &transposed(&layer.input)));
    into.push(floats(&format!("{name}.R"), &[1, gates, gates / 4], &transposed(&layer.recurrent)));
    let mut bias = layer.bias.clone();
    bias.resize(2 * gates, 0.0);
    into.push(floats(&format!("{name}.B"), &[1, 2 * gates], &bias));
}

pub(super) fn dense_initializers(name: &str, layer: &DenseWeights, into: &mut Vec<Tensor>) {
    let output = layer.bias.len();
    into.push(floats(&format!("{name}.kernel"), &[layer.kernel.len() / output, output], &layer.kernel));
    into.push(floats(&format!("{name}.bias"), &[output], &layer.bias));
}

pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    assert_eq!(dims.iter().product::<usize>(), values.len(), "values of {name}");
    Tensor {
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: FLOAT,
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> Tensor {
    Tensor {
        dims: vec![values.len() as i64],
        data_type: INT64,
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

pub(super) fn value(name: &str, elem_type: i32, dims: &[DimensionValue], doc_string: String) -> ValueInfo {
    let dim = dims.iter().map(|d| Dimension { value: Some(d.clone()) }).collect();
    let tensor_type = TensorType { elem_type, shape: Some(Shape { dim }) };
    ValueInfo { name: name.to_owned(), r#type: Some(Type { tensor_type: Some(tensor_type) }), doc_string }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recurrent_weights_are_transposed_and_biases_padded() {
        // hidden 1, input 2: four gates a row
        let layer = LstmWeights {
            input: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
            recurrent: vec![9.0, 10.0, 11.0, 12.0],
            bias: vec![0.1, 0.2, 0.3, 0.4],
        };
        let mut out = Vec::new();
        lstm_initializers("l", &layer, &mut out);
        let read =
            |t: &Tensor| t.raw_data.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<_>>();
        assert_eq!(out[0].dims, [1, 4, 2]);
        assert_eq!(read(&out[0]), [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]);
        assert_eq!(read(&out[1]), [9.0, 10.0, 11.0, 12.0]);
        assert_eq!(read(&out[2]), [0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0]);
    }
}
