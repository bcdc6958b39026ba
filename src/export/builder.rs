//! Nodes and constants of a graph, written one after another.

use super::graph;
use super::proto::{ATTRIBUTE_INT, ATTRIBUTE_INTS, Attribute, DOUBLE, Node, Tensor};
use crate::model::MixtureWeights;

/// A graph in the making. Each node is named like its one output.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) nodes: Vec<Node>,
    pub(super) initializers: Vec<Tensor>,
}

/// Attribute `name = value`.
pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.to_owned(), i: value, r#type: ATTRIBUTE_INT, ..Default::default() }
}

/// Attribute `name = values`.
pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: values.to_vec(), r#type: ATTRIBUTE_INTS, ..Default::default() }
}

impl Builder {
    /// Adds a node; gives its output's name back.
    pub(super) fn node(&mut self, op: &str, name: &str, input: &[&str], attribute: Vec<Attribute>) -> String {
        self.nodes.push(Node {
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
        });
        name.to_owned()
    }

    /// Adds a constant of 64-bit integers.
    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.initializers.push(graph::ints(name, values));
        name.to_owned()
    }

    /// Adds one 64-bit integer without an axis.
    pub(super) fn int(&mut self, name: &str, value: i64) -> String {
        let one = self.ints(name, &[value]);
        self.initializers.last_mut().expect("just added").dims = Vec::new();
        one
    }

    /// Adds a constant of 64-bit floats.
    pub(super) fn doubles(&mut self, name: &str, dims: &[usize], values: &[f64]) -> String {
        assert_eq!(dims.iter().product::<usize>(), values.len(), "values of {name}");
        self.initializers.push(Tensor {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: DOUBLE,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
        name.to_owned()
    }

    /// Adds a constant of 32-bit floats.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.initializers.push(graph::floats(name, dims, values));
        name.to_owned()
    }

    /// Adds columns `at` of `[batch, columns, …]`.
    pub(super) fn columns(&mut self, name: &str, from: &str, at: &[i64]) -> String {
        let at = self.ints(&format!("{name}.at"), at);
        self.node("Gather", name, &[from, &at], vec![int("axis", 1)])
    }

    /// Adds a conversion to another type of numbers.
    pub(super) fn cast(&mut self, name: &str, from: &str, to: i32) -> String {
        self.node("Cast", name, &[from], vec![int("to", i64::from(to))])
    }

    /// Splits the last of three axes.
    pub(super) fn split(&mut self, name: &str, input: &[&str], outputs: &[&str]) {
        self.nodes.push(Node {
            input: input.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            name: name.to_owned(),
            op_type: "Split".to_owned(),
            attribute: vec![int("axis", 2)],
        });
    }

    /// Adds a mixture network: `[batch, steps, features]`, `[batch, statics]` → `[batch, outputs]`.
    pub(super) fn mixture(&mut self, name: &str, sequence: &str, statics: &str, weights: &MixtureWeights) -> String {
        let part = |part: &str| format!("{name}/{part}");
        graph::dense_initializers(&part("dense"), &weights.dense, &mut self.initializers);
        graph::dense_initializers(&part("output"), &weights.output, &mut self.initializers);
        let mut seen = statics.to_owned();
        if let Some(lstm) = &weights.lstm {
            graph::lstm_initializers(&part("lstm"), lstm, &mut self.initializers);
            let steps = self.node("Transpose", &part("steps"), &[sequence], vec![ints("perm", &[1, 0, 2])]);
            let last = part("last");
            // only the last hidden state, the second output, goes on
            self.nodes.push(Node {
                input: vec![steps, part("lstm.W"), part("lstm.R"), part("lstm.B")],
                output: vec![String::new(), last.clone()],
                name: part("lstm"),
                op_type: "LSTM".to_owned(),
                attribute: vec![int("hidden_size", weights.config.hidden as i64)],
            });
            let axis = self.ints(&part("direction_axis"), &[0]);
            let last = self.node("Squeeze", &part("last_state"), &[&last, &axis], vec![]);
            seen = self.node("Concat", &part("seen"), &[&last, statics], vec![int("axis", 1)]);
        }
        let (kernel, bias) = (part("dense.kernel"), part("dense.bias"));
        let dense = self.node("Gemm", &part("dense"), &[&seen, &kernel, &bias], vec![]);
        let dense = self.node("Tanh", &part("activated"), &[&dense], vec![]);
        let (kernel, bias) = (part("output.kernel"), part("output.bias"));
        self.node("Gemm", &part("output"), &[&dense, &kernel, &bias], vec![])
    }
}
