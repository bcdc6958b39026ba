//! Jobs and rows so small that a run takes a second or two, and what must be the same of a version whoever made it.

use crate::place::Place;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A job of recipe `level` with a network of four units, which trains to its last epoch.
pub(crate) fn job(targets: &[&str], epochs: u32, seed: u64) -> String {
    format!(
        "[retrain]\nrecipe = \"level\"\ntargets = {targets:?}\nhidden = 4\ndense = 2\nepochs = {epochs}\n\
         patience = 100000\nseed = {seed}\n[gate]\nmae_max = 1000.0\n"
    )
}

/// Imports a few hours of two videos.
pub(crate) fn import(place: &Place) {
    let mut csv = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for (video, n, first) in [("video-a", 240, 1000), ("video-b", 90, 2000)] {
        for k in 0..n {
            let (hour, minute, views) = (k / 60, k % 60, first + 10 * k + 7 * k % 5);
            writeln!(csv, "2026-01-01T{hour:02}:{minute:02}:00Z,{video},{views},{},{}", 100 + k, k / 3).expect("text");
        }
    }
    fs::write(place.path("rows.csv"), csv).expect("written");
    place.stdout(&["import", "rows.csv"], 0);
}

/// What data, settings and seed determine of a version.
#[derive(PartialEq)]
pub(crate) struct Made {
    pub(crate) model: Vec<u8>,
    scaler: Vec<u8>,
    /// Its epochs, but for the time that they took.
    pub(crate) epochs: Vec<Value>,
}

impl Made {
    /// Reads a version's directory.
    pub(crate) fn read(dir: &Path) -> Self {
        let bytes = |name: &str| fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{}/{name}: {e}", dir.display()));
        let mut epochs: Vec<Value> = serde_json::from_slice(&bytes("history.json")).expect("a list of epochs");
        for epoch in &mut epochs {
            epoch.as_object_mut().expect("an epoch").remove("seconds");
        }
        Self { model: bytes("model.onnx"), scaler: bytes("scaler.json"), epochs }
    }

    /// What differs, in words. None: nothing does.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if let Some(k) =
            (0..self.epochs.len().max(other.epochs.len())).find(|&k| self.epochs.get(k) != other.epochs.get(k))
        {
            return Some(format!("epoch {}: {:?} against {:?}", k + 1, self.epochs.get(k), other.epochs.get(k)));
        }
        match (self.model == other.model, self.scaler == other.scaler) {
            (true, true) => None,
            (false, _) => Some("model.onnx".to_owned()),
            (true, false) => Some("scaler.json".to_owned()),
        }
    }
}
