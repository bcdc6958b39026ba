//! What happened in a run, as plain data: whoever shows, tracks or mails it listens, and a lost listener costs no run.

use crate::data::Target;
use crate::train::Epoch;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run has a number and begins.
    Started {
        /// Its number.
        run_id: i64,
        /// Whose run it is.
        job: String,
    },
    /// Rows read so far.
    Reading {
        /// Counted from the first.
        rows: u64,
    },
    /// All rows are read and cut into windows.
    Prepared {
        /// Rows read.
        rows: usize,
        /// Videos they belong to.
        videos: usize,
        /// Windows to train on.
        train: usize,
        /// Windows to judge on.
        validation: usize,
    },
    /// Something about the data that a person should know.
    Remark(String),
    /// One model is within an epoch; told now and then.
    Windows {
        /// Whose.
        target: Target,
        /// Counted from 1.
        epoch: usize,
        /// Epochs at most.
        epochs: usize,
        /// Windows of the epoch trained on.
        done: usize,
        /// Of how many.
        of: usize,
        /// Mean loss of them.
        loss: f64,
    },
    /// An epoch of one model ended.
    Epoch {
        /// Whose.
        target: Target,
        /// How it went.
        row: Epoch,
        /// Epochs at most.
        of: usize,
    },
    /// A model is trained, judged and registered.
    Judged {
        /// Whose.
        target: Target,
        /// `v0003`
        version: String,
        /// `passed` or `rejected`.
        verdict: String,
        /// Whether it is in service now.
        promoted: bool,
    },
    /// A limit of `[alerts]` was passed.
    Alert {
        /// The model concerned, if one is.
        target: Option<Target>,
        /// Which limit, and by how much.
        text: String,
    },
}

/// Where events go. Called from several threads; must not block for long.
pub type Listener = std::sync::Arc<dyn Fn(Event) + Send + Sync>;
