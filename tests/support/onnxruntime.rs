//! ONNX Runtime for tests that load it into their own process.

use retraind::runtime::{Library, Probed, candidates};

/// The library that `make onnxruntime` fetched; a machine without it fails the test, skipping would pass for tested.
pub(crate) fn onnxruntime() -> Library {
    let places = candidates(None);
    let (path, _) = places
        .iter()
        .find(|(path, _)| path.exists())
        .unwrap_or_else(|| panic!("no ONNX Runtime in {places:?}: `make test` brings it"));
    Library::load(&Probed { path: path.clone(), version: String::new() }).expect("ONNX Runtime")
}
