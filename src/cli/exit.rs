//! Errors → messages and exit codes.
#![expect(clippy::match_same_arms, reason = "the codes stand in the order of the errors' rooms")]

use super::output::Output;
use crate::document::Problem;
use crate::run::chain;
use crate::{data, recipe, registry, run, runtime, scheduler, store, train};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the manual and `--help` say of exit codes.
pub(super) const CODES: [(&str, &str); 12] = [
    ("0", "done"),
    ("1", "a run failed"),
    ("2", "wrong usage"),
    ("3", "the gate refused a version"),
    ("65", "bad data"),
    ("66", "no such input"),
    ("69", "a service is down: database, ONNX Runtime, mail server"),
    ("73", "a file or directory cannot be created"),
    ("74", "reading or writing failed, for example on a full disk"),
    ("75", "try again later: another process is at it"),
    ("78", "settings or job files have problems"),
    ("130, 143", "stopped by SIGINT, SIGTERM"),
];

/// [`CODES`], for the end of `--help`.
pub(super) fn codes_text() -> String {
    CODES.iter().fold("Exit codes:".to_owned(), |text, (code, meaning)| format!("{text}\n  {code:8}  {meaning}"))
}

/// Exit codes with a meaning of their own; the others are those of sysexits.h.
pub(super) const RUN_FAILED: u8 = 1;
pub(super) const GATE_REFUSED: u8 = 3;
pub(super) const BAD_DATA: u8 = 65;
pub(super) const NO_INPUT: u8 = 66;
pub(super) const UNAVAILABLE: u8 = 69;
const CANNOT_CREATE: u8 = 73;
const IO_ERROR: u8 = 74;
pub(super) const TRY_AGAIN: u8 = 75;
pub(super) const CONFIG: u8 = 78;
const SIGINT: u8 = 128 + 2;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Settings or job files.
    #[error("read settings and job files: {} problem(s)", .0.len())]
    Problems(Vec<Problem>),
    /// Whatever a run or the registry met.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The daemon.
    #[error(transparent)]
    Scheduler(#[from] scheduler::Error),
    /// A daemon is needed and none is there.
    #[error(
        "reach a daemon: none schedules on {location}; start one with `retraind daemon`, or run the job here with \
         `retraind run {job}`"
    )]
    NoDaemon { location: String, job: String },
    /// The machine under us.
    #[error("{doing}: {source}")]
    Os { doing: &'static str, source: io::Error },
    /// A file we write ourselves.
    #[error("write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A directory that holds somebody's work.
    #[error(
        "use {} for the demo: it is not empty and no demo made it; name another one with --dir DIR", .path.display()
    )]
    NotOurs { path: PathBuf },
    /// Output that nobody reads.
    #[error("write the output: {0}")]
    Output(#[from] io::Error),
    /// A run that was stopped by a signal.
    #[error("finish run {run_id}: stopped by a signal; it is recorded as cancelled")]
    Signalled { run_id: i64, code: u8 },
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

impl From<data::Error> for Failure {
    fn from(error: data::Error) -> Self {
        Self::Run(error.into())
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Run(error.into())
    }
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        Self::Run(error.into())
    }
}

/// Prints a failure and gives its code.
pub(super) fn report(output: Output, failure: &Failure) -> ExitCode {
    match failure {
        Failure::Problems(problems) => problems.iter().for_each(|problem| output.error(&problem.to_string())),
        other => output.error(&format!("failed to {}", chain(other))),
    }
    ExitCode::from(code(failure))
}

fn code(failure: &Failure) -> u8 {
    match failure {
        Failure::Problems(_) => CONFIG,
        Failure::Run(error) | Failure::Scheduler(scheduler::Error::Run(error)) => run_code(error),
        Failure::Scheduler(scheduler::Error::Store(error)) => store_code(error),
        Failure::Scheduler(scheduler::Error::Locked { .. }) => TRY_AGAIN,
        Failure::Scheduler(scheduler::Error::Lock { source, .. }) => write_code(source),
        Failure::Scheduler(_) => IO_ERROR,
        Failure::NoDaemon { .. } => UNAVAILABLE,
        Failure::Write { source, .. } => write_code(source),
        Failure::NotOurs { .. } => CANNOT_CREATE,
        Failure::Os { .. } | Failure::Output(_) => IO_ERROR,
        Failure::Signalled { code, .. } => *code,
    }
}

fn run_code(error: &run::Error) -> u8 {
    match error {
        run::Error::Store(error) => store_code(error),
        run::Error::Data(error) => data_code(error),
        run::Error::Recipe(recipe::Error::NoRows) => NO_INPUT,
        run::Error::Recipe(_) => BAD_DATA,
        run::Error::Registry(error) => registry_code(error),
        run::Error::Runtime(runtime::Error::NotFound { .. } | runtime::Error::Load { .. }) => UNAVAILABLE,
        run::Error::Runtime(_) | run::Error::Parity { .. } | run::Error::Panicked { .. } => RUN_FAILED,
        run::Error::Train { source: train::Error::NotFinite { .. }, .. } => RUN_FAILED,
        run::Error::Stopped { .. } | run::Error::Train { source: train::Error::Stopped { .. }, .. } => SIGINT,
        run::Error::TooLarge { whose, .. } => {
            if *whose == run::OF_JOB {
                CONFIG
            } else {
                UNAVAILABLE
            }
        }
        run::Error::Exec { ended: run::ExecEnd::Transient, .. } => TRY_AGAIN,
        run::Error::Exec { ended: run::ExecEnd::Stopped, .. } => SIGINT,
        run::Error::Exec { .. } => RUN_FAILED,
        run::Error::Refused { .. } => GATE_REFUSED,
        run::Error::NoEarlierChampion { .. } | run::Error::NoChampion { .. } => NO_INPUT,
        run::Error::Unusable { .. } => BAD_DATA,
        run::Error::Backtest { source } => write_code(source),
    }
}

fn registry_code(error: &registry::Error) -> u8 {
    match error {
        registry::Error::Write { source, .. } => write_code(source),
        registry::Error::Read { source, .. } if source.kind() == io::ErrorKind::NotADirectory => CANNOT_CREATE,
        registry::Error::Read { .. } => IO_ERROR,
        registry::Error::Damaged { .. } => BAD_DATA,
        registry::Error::NoSuchVersion { .. } => NO_INPUT,
        registry::Error::Locked { .. } => TRY_AGAIN,
    }
}

fn write_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => IO_ERROR,
        _ => CANNOT_CREATE,
    }
}

fn store_code(error: &store::Error) -> u8 {
    match error {
        store::Error::BadUrl { .. } | store::Error::NoDirectory { .. } | store::Error::Refused { .. } => CONFIG,
        store::Error::NewerSchema { .. } | store::Error::AlteredSchema { .. } => CONFIG,
        store::Error::NotADatabase { .. } => BAD_DATA,
        store::Error::Unwritable { .. } => CANNOT_CREATE,
        store::Error::Unreachable { .. } => UNAVAILABLE,
        store::Error::NoSuchRun(_) | store::Error::NoSuchVersion { .. } | store::Error::NoSuchPromotion(_) => NO_INPUT,
        store::Error::NoSuchJob(_) => NO_INPUT,
        store::Error::Led { .. } | store::Error::NotLeading { .. } => TRY_AGAIN,
        store::Error::RunKeyTaken { .. } | store::Error::JobRunning { .. } | store::Error::PromotionPending { .. } => {
            TRY_AGAIN
        }
        store::Error::Fenced { .. } | store::Error::NotInState { .. } | store::Error::PromotionSettled { .. } => {
            RUN_FAILED
        }
        other if other.is_transient() => TRY_AGAIN,
        _ => IO_ERROR,
    }
}

fn data_code(error: &data::Error) -> u8 {
    match error {
        data::Error::Url { .. } | data::Error::TableName { .. } => CONFIG,
        data::Error::FileMissing { .. } | data::Error::TableMissing { .. } => NO_INPUT,
        data::Error::Unreachable { .. } | data::Error::Timeout { .. } => UNAVAILABLE,
        data::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => NO_INPUT,
        other if other.is_transient() => TRY_AGAIN,
        other if other.is_refused() => CONFIG,
        data::Error::Io { .. } | data::Error::Database { .. } | data::Error::Embedded { .. } => IO_ERROR,
        _ => BAD_DATA,
    }
}
