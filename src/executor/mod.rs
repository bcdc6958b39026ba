//! Executors: they run one attempt of a run somewhere and say when it is over. One file each, chosen by `[run] executor`.
//!
//! In: a claim on a run. Out: a process with a group of its own that works on it, and word of its end. This room never knows
//! what a run does, nor what becomes of it.

pub mod local;

use crate::job::Executor;
use crate::settings::Settings;
use crate::store::Claim;
use std::io;
use std::path::Path;
use tokio::process::Child;

/// Starts the worker of an attempt where its job wants it.
pub async fn start(
    executor: Executor,
    program: &Path,
    settings: &Settings,
    claim: Claim,
    nonce: &str,
) -> io::Result<Child> {
    match executor {
        Executor::Local => local::start(program, settings, claim, nonce).await,
    }
}
