//! What the core asks for, and what it is told.

use crate::job::Job;
use crate::store::{Claim, Decision, JobRow, Outcome, Run};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

/// One thing to do. Each is one transaction, one signal or one question.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Queue these runs and write down what was decided.
    Fire {
        /// Whose trigger.
        job: String,
        /// What is written with them.
        decision: Decision,
        /// None where a due trigger starts nothing.
        runs: Vec<PlannedRun>,
        /// What people should know of it, once it is done.
        notices: Vec<Notice>,
    },
    /// Begin an attempt of a queued run.
    Start {
        /// Which.
        run_id: i64,
    },
    /// End a run, whoever works on it.
    End {
        /// The attempt that has it; none for a queued run.
        claim: Option<Claim>,
        /// Which.
        run_id: i64,
        /// How.
        outcome: Outcome,
    },
    /// Signal the process group of a worker.
    Signal {
        /// Whose.
        claim: Claim,
        /// SIGKILL instead of SIGTERM.
        kill: bool,
    },
    /// See whether the owner of a running run is there: watch it, or say that it is gone.
    Examine {
        /// Which.
        run_id: i64,
    },
    /// Judge a run whose worker is gone, by [`super::settle`].
    Settle {
        /// The attempt that is over.
        claim: Claim,
        /// What was seen of its end.
        seen: Seen,
    },
    /// Count the rows that the newest models of a job were not trained on.
    Count {
        /// Whose trigger.
        job: String,
    },
    /// See which runs of the other job have ended.
    LookAfter {
        /// Whose trigger.
        job: String,
    },
    /// See what evaluations say.
    LookAtDegradation {
        /// Whose trigger.
        job: String,
    },
    /// See whether a job fails again and again, and pause it then.
    Review {
        /// Which.
        job: String,
    },
    /// Tell people.
    Tell(Notice),
}

/// A run that is to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// What makes it the same when asked for twice.
    pub run_key: String,
    /// The job's name.
    pub job: String,
    /// Its kind.
    pub kind: String,
    /// Which trigger.
    pub cause: String,
    /// The job as it will run.
    pub job_toml: String,
    /// When the trigger was due.
    pub scheduled_for: Option<DateTime<Utc>>,
}

/// What was seen of a worker's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It ended by itself.
    Exited(Exit),
    /// It was asked to end, and did.
    Ended,
    /// Nobody was there: the daemon was dead, or the host restarted.
    Nothing,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By that code.
    Code(i32),
    /// By that signal; `out_of_memory` when the kernel killed it for that.
    Signal {
        /// Its number.
        number: i32,
        /// Whether the control group's count of such kills has grown.
        out_of_memory: bool,
    },
    /// It was no child of ours, so nobody knows.
    Unknown,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A job is in force from now on.
    Job(Box<Job>, Box<JobRow>),
    /// A job's file is gone.
    JobRemoved(String),
    /// All runs that have not ended.
    Open(Vec<Run>),
    /// Jobs of which runs have ended, with their kinds: also of runs that were never seen open.
    Ended(Vec<(String, String)>),
    /// All jobs that are paused: since when, and why.
    Paused(BTreeMap<String, (DateTime<Utc>, String)>),
    /// [`Action::Fire`] is done: these were queued.
    Fired {
        /// Whose trigger.
        job: String,
        /// What was written down.
        decision: Decision,
        /// Those whose keys were not used yet.
        runs: Vec<Run>,
        /// What people should know of it.
        notices: Vec<Notice>,
    },
    /// [`Action::Start`] is done.
    Started {
        /// As it is now.
        run: Run,
        /// When its process began.
        since: Duration,
    },
    /// [`Action::Examine`] found its owner at work; it is watched from now on.
    Adopted {
        /// As it is now.
        run: Run,
        /// When its process began.
        since: Duration,
    },
    /// Another process runs the same job: the run waits.
    Blocked {
        /// Which.
        run_id: i64,
    },
    /// [`Action::Signal`] is done.
    Signalled {
        /// Whose worker.
        run_id: i64,
        /// By SIGKILL.
        kill: bool,
    },
    /// A worker is gone.
    Gone {
        /// Its attempt.
        claim: Claim,
        /// What was seen.
        seen: Seen,
    },
    /// A run as it is after a judgement, or after it was ended.
    Settled {
        /// Which.
        run: Run,
    },
    /// A run that the database has not.
    Forgotten {
        /// Which.
        run_id: i64,
    },
    /// [`Action::Count`] is done. None: it could not be counted.
    Counted {
        /// Whose trigger.
        job: String,
        /// Rows newer than the training data.
        new_rows: Option<u64>,
        /// When the job's last run ended.
        last_ended: Option<DateTime<Utc>>,
    },
    /// [`Action::LookAfter`] is done.
    LookedAfter {
        /// Whose trigger.
        job: String,
    },
    /// [`Action::LookAtDegradation`] is done.
    LookedAtDegradation {
        /// Whose trigger.
        job: String,
    },
    /// [`Action::Review`] is done.
    Reviewed {
        /// Which job.
        job: String,
    },
    /// [`Action::Tell`] is done.
    Told,
    /// Stop; the second time, faster.
    Stop,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A schedule's instants passed and no run was started for them.
    Missed {
        /// Whose.
        job: String,
        /// How many.
        n: usize,
        /// The last of them.
        last: DateTime<Utc>,
    },
    /// A run ended badly and will not be tried again.
    Failed {
        /// Whose.
        job: String,
        /// Which.
        run_id: i64,
        /// Why.
        error: String,
    },
    /// A job's triggers start nothing any more.
    Paused {
        /// Which.
        job: String,
        /// Why.
        because: String,
    },
    /// They start runs again.
    Resumed {
        /// Which.
        job: String,
    },
    /// A version in service has become worse.
    Degraded {
        /// The job that is started for it.
        job: String,
        /// Whose.
        target: String,
        /// Which.
        version: String,
        /// By which factor.
        ratio: f64,
        /// From which factor on that is told.
        limit: f64,
    },
    /// A job file is broken; the last whole one stays in force.
    Broken {
        /// Which.
        job: String,
        /// What is wrong.
        problem: String,
    },
    /// It is whole again.
    Mended {
        /// Which.
        job: String,
    },
    /// The kernel killed a worker for memory.
    OutOfMemory {
        /// Whose.
        job: String,
        /// Which.
        run_id: i64,
    },
}

impl Notice {
    /// Whose it is.
    pub fn job(&self) -> &str {
        match self {
            Self::Missed { job, .. }
            | Self::Failed { job, .. }
            | Self::Paused { job, .. }
            | Self::Resumed { job }
            | Self::Degraded { job, .. }
            | Self::Broken { job, .. }
            | Self::Mended { job }
            | Self::OutOfMemory { job, .. } => job,
        }
    }
}
