//! The LSTM layer as one Burn operation with a backward of its own.
//!
//! Burn's `nn::Lstm` runs four products and a dozen element-wise operations a step through autodiff; here a layer is
//! one node of the graph. `nn::Lstm` stays the reference that gradients are compared with.

use super::kernel::{self, Dims, Parameters, Saved};
use super::{Dropout, LstmWeights};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::module::{Module, Param};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// How one call of a layer behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Return every step's output, not only the last.
    pub(super) sequence: bool,
    pub(super) dropout: Option<Dropout>,
}

/// One LSTM layer with packed weights; shapes as in [`LstmWeights`].
#[derive(Module, Debug)]
pub(super) struct LstmLayer {
    pub(super) input: Param<Tensor<2>>,
    pub(super) recurrent: Param<Tensor<2>>,
    pub(super) bias: Param<Tensor<1>>,
}

impl LstmLayer {
    pub(super) fn new(weights: &LstmWeights, device: &Device) -> Self {
        let gates = weights.bias.len();
        let matrix = |values: &[f32]| {
            let shape = [values.len() / gates, gates];
            Param::from_tensor(Tensor::from_data(TensorData::new(values.to_vec(), shape), device))
        };
        Self {
            input: matrix(&weights.input),
            recurrent: matrix(&weights.recurrent),
            bias: Param::from_tensor(Tensor::from_data(TensorData::new(weights.bias.clone(), [gates]), device)),
        }
    }

    /// `[batch, steps, input]` → `[batch, steps, hidden]`, or `[batch, 1, hidden]` unless `options.sequence`.
    pub(super) fn forward(&self, x: Tensor<3>, options: Options) -> Tensor<3> {
        let [input, recurrent] = [&self.input, &self.recurrent].map(|p| p.val().into_dispatch());
        let bias = self.bias.val().into_dispatch();
        Tensor::from_dispatch(<Dispatch as LstmOperation>::lstm(x.into_dispatch(), input, recurrent, bias, options))
    }

    pub(super) fn weights(&self) -> LstmWeights {
        LstmWeights {
            input: values(self.input.val()),
            recurrent: values(self.recurrent.val()),
            bias: values(self.bias.val()),
        }
    }
}

/// A parameter's values, row-major.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("every tensor of the network holds f32")
}

/// The operation as Burn's dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub(super) trait LstmOperation: Backend {
    fn lstm(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self>;
}

/// What a backend must bring for the autodiff implementation.
pub(super) trait LstmKernels: Backend {
    fn run(x: &FloatTensor<Self>, parameters: &Primitives<Self>, options: Options) -> (FloatTensor<Self>, Saved);
    fn run_back(
        saved: Saved,
        parameters: &Primitives<Self>,
        d_out: &FloatTensor<Self>,
        want_x: bool,
    ) -> [Option<FloatTensor<Self>>; 4];
}

/// Input kernel, recurrent kernel, bias.
type Primitives<B> = [FloatTensor<B>; 3];

impl LstmKernels for Flex {
    fn run(x: &FlexTensor, parameters: &Primitives<Self>, options: Options) -> (FlexTensor, Saved) {
        let shape = x.shape();
        let hidden = parameters[1].shape()[0];
        let dims = Dims { batch: shape[0], steps: shape[1], input: shape[2], hidden };
        let [input, recurrent, bias] = parameters.each_ref().map(slice);
        let parameters = Parameters { input: &input, recurrent: &recurrent, bias: &bias };
        let (out, saved) = kernel::forward(dims, &slice(x), parameters, options);
        (tensor(out, [dims.batch, if options.sequence { dims.steps } else { 1 }, hidden]), saved)
    }

    fn run_back(
        saved: Saved,
        parameters: &Primitives<Self>,
        d_out: &FlexTensor,
        want_x: bool,
    ) -> [Option<FlexTensor>; 4] {
        let Dims { batch, steps, input: width, hidden } = saved.dims();
        let [input, recurrent, bias] = parameters.each_ref().map(slice);
        let parameters = Parameters { input: &input, recurrent: &recurrent, bias: &bias };
        let g = kernel::backward(saved, parameters, &slice(d_out), want_x);
        [
            g.x.map(|x| tensor(x, [batch, steps, width])),
            Some(tensor(g.input, [width, 4 * hidden])),
            Some(tensor(g.recurrent, [hidden, 4 * hidden])),
            Some(tensor(g.bias, [4 * hidden])),
        ]
    }
}

fn slice(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    if let Some(slice) = tensor.as_slice::<f32>() {
        return Cow::Borrowed(slice);
    }
    let contiguous = tensor.to_contiguous();
    Cow::Owned(contiguous.as_slice::<f32>().expect("a contiguous f32 tensor").to_vec())
}

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

impl LstmOperation for Flex {
    fn lstm(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        Self::run(&x, &[input, recurrent, bias], options).0
    }
}

#[derive(Debug)]
struct LstmBackward;

impl<B: LstmKernels> Backward<B, 4> for LstmBackward {
    // The mutex lets the backward pass take the activations out instead of copying them: `State` must be `Clone`.
    type State = (Arc<Mutex<Option<Saved>>>, Primitives<B>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let d_out = grads.consume::<B>(&ops.node);
        let (saved, parameters) = ops.state;
        let saved = saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let saved = saved.expect("one backward pass a forward pass");
        let want_x = ops.parents[0].is_some();
        for (parent, gradient) in ops.parents.into_iter().zip(B::run_back(saved, &parameters, &d_out, want_x)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: LstmKernels + LstmOperation, C: CheckpointStrategy> LstmOperation for Autodiff<B, C> {
    fn lstm(
        x: FloatTensor<Self>,
        input: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: Options,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), input.node(), recurrent.node(), bias.node()];
        #[expect(clippy::redundant_closure_for_method_calls, reason = "the type whose method it is has no public name")]
        let parameters = [input, recurrent, bias].map(|tensor| tensor.into_primitive());
        let (out, saved) = B::run(&x.into_primitive(), &parameters, options);
        match LstmBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((Arc::new(Mutex::new(Some(saved))), parameters), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }
}
