//! ONNX Runtime for tests that load it into their own process.
#![allow(dead_code, reason = "not every test that includes this file needs all of it")]

use retraind::runtime::{Library, Probed, candidates};
use std::path::PathBuf;

/// The library that `make onnxruntime` fetched; a machine without it fails the test, skipping would pass for tested.
pub(crate) fn place() -> PathBuf {
    let places = candidates(None);
    let found = places.iter().find(|(path, _)| path.exists());
    found.unwrap_or_else(|| panic!("no ONNX Runtime in {places:?}: `make test` brings it")).0.clone()
}

/// The library, loaded.
pub(crate) fn onnxruntime() -> Library {
    Library::load(&Probed { path: place(), version: String::new() }).expect("ONNX Runtime")
}
