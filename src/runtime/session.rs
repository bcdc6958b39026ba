//! A model opened in ONNX Runtime.

use super::{Error, Library};
use ndarray::{ArrayView1, ArrayView2, ArrayView3, Ix2};
use ort::session::SessionOutputs;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{TensorElementType, TensorRef, ValueType};
use std::ops::Range;

/// Windows a call takes at once: bounds memory, costs no speed.
const BATCH: usize = 1024;
/// Numbers of a call's input at most, where windows are long.
const BATCH_VALUES: usize = 1 << 21;

/// An open model that maps windows to forecasts.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    input: Input,
    has_intervals: bool,
}

/// What a model takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Scaled features, `[batch, steps, features]`; one scaled forecast a window comes out.
    Windows {
        /// Steps of a window.
        steps: usize,
        /// Features a step.
        features: usize,
    },
    /// Counts on a grid `[batch, history]`, when each was recorded, and the newest grid times `[batch]`; counts come out,
    /// one a horizon.
    Counts {
        /// Points of a history.
        history: usize,
    },
}

/// Counts that a model expects, each list `[windows, horizons]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountForecasts {
    /// The forecasts.
    pub values: Vec<f64>,
    /// Growth since the last count, before it is rounded.
    pub growth: Vec<f64>,
    /// Lower and upper ends of the intervals, where the model gives them.
    pub intervals: Option<(Vec<f64>, Vec<f64>)>,
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
        let kinds: Vec<_> = session
            .inputs()
            .iter()
            .map(|input| match input.dtype() {
                ValueType::Tensor { shape, ty, .. } => (Some(*ty), shape.to_vec()),
                _ => (None, Vec::new()),
            })
            .collect();
        let input = match kinds.as_slice() {
            [(Some(TensorElementType::Float32), shape)] if shape.len() == 3 && shape[1] > 0 && shape[2] > 0 => {
                Input::Windows { steps: shape[1] as usize, features: shape[2] as usize }
            }
            [(Some(TensorElementType::Float64), shape), _, _] if shape.len() == 2 && shape[1] > 0 => {
                Input::Counts { history: shape[1] as usize }
            }
            _ => {
                let found: Vec<String> = session.inputs().iter().map(|input| input.dtype().to_string()).collect();
                return Err(Error::Shape(format!(
                    "its input is {}, neither [batch, steps, features] nor [batch, history] with times",
                    found.join(" and ")
                )));
            }
        };
        let has_intervals = session.outputs().len() == 4;
        Ok(Self { inner: session, input, has_intervals })
    }

    /// What the model takes.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Forecasts of `n` windows, scaled; `batch` gives the windows of a range, `[range, steps, features]`.
    pub fn forecast(&mut self, n: usize, batch: impl Fn(Range<usize>) -> Vec<f32>) -> Result<Vec<f32>, Error> {
        let Input::Windows { steps, features } = self.input else {
            return Err(Error::Shape("it takes counts, not windows of features".to_owned()));
        };
        let mut out = Vec::with_capacity(n);
        for begin in (0..n).step_by(BATCH) {
            let range = begin..(begin + BATCH).min(n);
            let windows = batch(range.clone());
            let shape = (range.len(), steps, features);
            let view = ArrayView3::from_shape(shape, &windows)
                .map_err(|e| Error::Shape(format!("windows {shape:?} hold {} values: {e}", windows.len())))?;
            let input = TensorRef::from_array_view(view).map_err(Error::Run)?;
            let outputs = self.inner.run(ort::inputs![input]).map_err(Error::Run)?;
            out.extend(rows::<f32>(&outputs, 0, range.len())?);
        }
        Ok(out)
    }

    /// Forecasts of `n` windows in counts; `batch` gives those of a range: counts and when they were recorded, each
    /// `[range, history]`, and the newest grid times.
    pub fn forecast_counts(
        &mut self,
        n: usize,
        batch: impl Fn(Range<usize>) -> (Vec<f64>, Vec<i64>, Vec<i64>),
    ) -> Result<CountForecasts, Error> {
        let Input::Counts { history } = self.input else {
            return Err(Error::Shape("it takes windows of features, not counts".to_owned()));
        };
        let at_once = (BATCH_VALUES / history).clamp(1, BATCH);
        let mut out = CountForecasts { intervals: self.has_intervals.then(Default::default), ..Default::default() };
        for begin in (0..n).step_by(at_once) {
            let range = begin..(begin + at_once).min(n);
            let (counts, seen, times) = batch(range.clone());
            let shape = (range.len(), history);
            let misshapen = |e| Error::Shape(format!("histories {shape:?} hold {} values: {e}", counts.len()));
            let counts = ArrayView2::from_shape(shape, &counts).map_err(misshapen)?;
            let seen = ArrayView2::from_shape(shape, &seen).map_err(misshapen)?;
            let counts = TensorRef::from_array_view(counts).map_err(Error::Run)?;
            let seen = TensorRef::from_array_view(seen).map_err(Error::Run)?;
            let times = TensorRef::from_array_view(ArrayView1::from(&times)).map_err(Error::Run)?;
            let outputs = self.inner.run(ort::inputs![counts, seen, times]).map_err(Error::Run)?;
            out.values.extend(rows::<f64>(&outputs, 0, range.len())?);
            out.growth.extend(rows::<f64>(&outputs, 1, range.len())?);
            if let Some((lower, upper)) = &mut out.intervals {
                lower.extend(rows::<f64>(&outputs, 2, range.len())?);
                upper.extend(rows::<f64>(&outputs, 3, range.len())?);
            }
        }
        Ok(out)
    }
}

/// Output `k`, `[batch, outputs]`, row by row.
fn rows<T: ort::value::PrimitiveTensorElementType + Copy>(
    outputs: &SessionOutputs<'_>,
    k: usize,
    batch: usize,
) -> Result<Vec<T>, Error> {
    let found = outputs[k].try_extract_array::<T>().map_err(Error::Run)?;
    let found =
        found.into_dimensionality::<Ix2>().map_err(|e| Error::Shape(format!("its output is not [batch, n]: {e}")))?;
    if found.nrows() != batch {
        return Err(Error::Shape(format!("its output is {:?}, not [{batch}, n]", found.dim())));
    }
    Ok(found.iter().copied().collect())
}
