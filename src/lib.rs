//! retraind keeps forecasting models fresh on a training host.
//!
//! The rooms, in the order in which data flows; a room imports only from rooms above it, and those marked » compose.

/// TOML that people edit → values, or every problem with its place.
pub mod document;
/// `"5m"`, as people write durations.
pub mod duration;
/// `"2 GiB"`, as people write amounts of memory.
pub mod bytes;
/// Errors as people read them.
pub mod error;
/// What the rooms say → the journal, lines, JSON.
pub mod logging;
/// Secrets kept apart from the settings.
pub mod credential;
/// The state database: runs, epochs, versions, promotions, forecasts.
pub mod store;
/// Memory and disks of this host.
pub mod host;
/// What starts a job.
pub mod trigger;
/// Recorded counts → series.
pub mod data;
/// Rows → counts on an even grid.
pub mod grid;
/// The network.
pub mod model;
/// Series → training pairs, and back.
pub mod recipe;
/// Windows → the best network and its history.
pub mod train;
/// Weights → ONNX.
pub mod export;
/// ONNX files → forecasts.
pub mod runtime;
/// Forecasts and truth → scores, beside naive forecasts.
pub mod evaluate;
/// Scores and rules → verdict.
pub mod gate;
/// Versions on disk, and which is in service.
pub mod registry;
/// » Job files → checked jobs.
pub mod job;
/// What happened, as plain data.
pub mod event;
/// Epochs, clocks, memory → conditions worth telling.
pub mod watch;
/// Defaults, file, environment → settings.
pub mod settings;
/// Conditions → alerts, messages, deliveries.
pub mod alert;
/// » A job's steps, from rows to a champion.
pub mod run;
/// » Where attempts of a run work: processes of this host.
pub mod executor;
/// » The one loop: what is due becomes runs, runs become workers.
pub mod scheduler;
/// » The command line.
pub mod cli;
