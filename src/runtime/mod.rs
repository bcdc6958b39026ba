//! ONNX Runtime: files go in, forecasts come out. Knows files and numbers only, never Burn.

mod library;
mod session;

pub use library::{Library, PINNED_VERSION, Probed, Tried, answer, candidates, find, open, probe_here};
pub use session::{CountForecasts, Input, Session};

use std::path::PathBuf;

/// Why ONNX Runtime could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place has a library that works.
    #[error("load ONNX Runtime: {}; `make onnxruntime` fetches version {PINNED_VERSION}, or name a library in \
             retraind.toml under [onnxruntime] library", .tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotFound {
        /// Each place looked at, and what was wrong there.
        tried: Vec<Tried>,
    },
    /// The library that the probe accepted did not load here.
    #[error("load ONNX Runtime from {}: {reason}", .path.display())]
    Load {
        /// Which library.
        path: PathBuf,
        /// What ONNX Runtime or the loader said.
        reason: String,
    },
    /// The model is not one that ONNX Runtime understands.
    #[error("open the model in ONNX Runtime: {0}")]
    Open(#[source] ort::Error),
    /// The model's input is not a window.
    #[error("open the model in ONNX Runtime: {0}")]
    Shape(String),
    /// Running it failed.
    #[error("run the model in ONNX Runtime: {0}")]
    Run(#[source] ort::Error),
}

impl Error {
    /// Whether trying again may help: the library itself was not at fault.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::NotFound { tried } if tried.iter().any(|tried| tried.undecided))
    }
}
