//! retraind keeps forecasting models fresh on a training host.
//!
//! The rooms, in the order in which data flows; a room imports only from rooms above it, and those marked » compose.

/// » The command line.
pub mod cli;
/// Recorded counts → series.
pub mod data;
/// TOML that people edit → values, or every problem with its place.
pub mod document;
/// Forecasts and truth → scores, beside naive forecasts.
pub mod evaluate;
/// What happened, as plain data.
pub mod event;
/// Weights → ONNX.
pub mod export;
/// Scores and rules → verdict.
pub mod gate;
/// Memory and disks of this host.
pub mod host;
/// » Job files → checked jobs.
pub mod job;
/// The network.
pub mod model;
/// Series → training pairs, and back.
pub mod recipe;
/// Versions on disk, and which is in service.
pub mod registry;
/// » A job's steps, from rows to a champion.
pub mod run;
/// ONNX files → forecasts.
pub mod runtime;
/// Defaults, file, environment → settings.
pub mod settings;
/// The state database: runs, epochs, versions, promotions, forecasts.
pub mod store;
/// Windows → the best network and its history.
pub mod train;
/// What starts a job.
pub mod trigger;
/// Epochs, clocks, memory → conditions worth telling.
pub mod watch;
