//! A model opened in ONNX Runtime.

use super::{Error, Library};
use ndarray::{ArrayView3, Ix2};
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorRef, ValueType};

/// Windows a call takes at once: bounds memory, costs no speed.
const BATCH: usize = 1024;

/// An open model that maps windows to forecasts.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    input: String,
    steps: usize,
    features: usize,
}

impl Session {
    /// Opens the bytes of a model whose checksum was verified; `threads` computes one call.
    pub fn open(library: &Library, model: &[u8], threads: usize) -> Result<Self, Error> {
        let session = ort::session::Session::builder(library.environment())
            .and_then(|b| Ok(b.with_intra_threads(threads)?))
            .and_then(|b| Ok(b.with_inter_threads(1)?))
            .and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::Level3)?))
            .and_then(|mut b| b.commit_from_memory(model))
            .map_err(Error::Open)?;
        let (name, steps, features) = match session.inputs() {
            [input] => match input.dtype() {
                ValueType::Tensor { shape, .. } if shape.len() == 3 && shape[1] > 0 && shape[2] > 0 => {
                    (input.name().to_owned(), shape[1] as usize, shape[2] as usize)
                }
                other => return Err(Error::Shape(format!("its input is {other}, not [batch, steps, features]"))),
            },
            inputs => return Err(Error::Shape(format!("it has {} inputs, not one", inputs.len()))),
        };
        Ok(Self { inner: session, input: name, steps, features })
    }

    /// Steps and features of a window.
    pub fn window(&self) -> (usize, usize) {
        (self.steps, self.features)
    }

    /// Forecasts of `n` windows, scaled; `batch` gives the windows of a range, `[range, steps, features]`.
    pub fn forecast(
        &mut self,
        n: usize,
        batch: impl Fn(std::ops::Range<usize>) -> Vec<f32>,
    ) -> Result<Vec<f32>, Error> {
        let mut out = Vec::with_capacity(n);
        for begin in (0..n).step_by(BATCH) {
            let range = begin..(begin + BATCH).min(n);
            let windows = batch(range.clone());
            let shape = (range.len(), self.steps, self.features);
            let view = ArrayView3::from_shape(shape, &windows)
                .map_err(|e| Error::Shape(format!("windows {shape:?} hold {} values: {e}", windows.len())))?;
            let input = TensorRef::from_array_view(view).map_err(Error::Run)?;
            let outputs = self.inner.run(ort::inputs![self.input.as_str() => input]).map_err(Error::Run)?;
            let forecasts = outputs[0].try_extract_array::<f32>().map_err(Error::Run)?;
            let forecasts = forecasts
                .into_dimensionality::<Ix2>()
                .map_err(|e| Error::Shape(format!("its output is not [batch, 1]: {e}")))?;
            if forecasts.dim() != (range.len(), 1) {
                return Err(Error::Shape(format!("its output is {:?}, not [{}, 1]", forecasts.dim(), range.len())));
            }
            out.extend(forecasts.iter());
        }
        Ok(out)
    }
}
