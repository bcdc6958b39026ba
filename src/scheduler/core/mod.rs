//! What to do next: a pure function of what is known, the clock, and nothing else.
//!
//! In: jobs in force, open runs, workers that are watched, as [`Event`]s tell of them. Out: [`Action`]s, each of which whoever
//! owns this carries out and reports back. The core never waits, reads or writes; forgetting all of it is harmless, since the
//! state database holds what must not be forgotten. Level by level: the same state gives the same actions, until an event says
//! that they are done.

mod act;
mod decide;
mod fire;
mod settle;

pub use act::{Action, Event, Exit, Notice, PlannedRun, Seen};
pub use settle::{Settlement, settle};

use crate::job::{Job, Overlap};
use crate::store::{Claim, JobRow, Run, RunState};
use crate::trigger::Schedule;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Two clocks: people's, which may jump, and one that only runs forward, for durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// Time since boot, suspended time included.
    pub up: Duration,
}

/// Limits that hold for all jobs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Runs at once.
    pub max_running: usize,
    /// From SIGTERM to SIGKILL for a worker that is to end while the daemon goes on.
    pub grace: Duration,
    /// The same when the daemon stops.
    pub stop_grace: Duration,
}

/// Queued runs of one job at most: a storm of triggers fills no table.
const QUEUE: usize = 100;

/// Everything that decisions follow from.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    jobs: BTreeMap<String, JobState>,
    /// When the clock makes jobs due next: the loop asks at every wake, and must not go through all of them.
    due: BTreeSet<(DateTime<Utc>, String)>,
    /// Jobs with triggers other than the clock.
    asking: BTreeSet<String>,
    runs: BTreeMap<i64, OpenRun>,
    /// Those of each job.
    open: BTreeMap<String, BTreeSet<i64>>,
    workers: BTreeMap<i64, Worker>,
    /// Workers that are gone and whose runs nobody has judged yet.
    gone: BTreeMap<i64, (Claim, Seen)>,
    /// Jobs that a run has ended of, and nobody has looked what follows.
    ended: BTreeSet<String>,
    notices: Vec<Notice>,
    stop: Option<Stop>,
    /// Runs that could not be started because another process has their job; looked at again then.
    blocked: BTreeMap<i64, Duration>,
}

/// A job in force.
#[derive(Debug)]
struct JobState {
    job: Job,
    toml: String,
    row: JobRow,
    schedule: Option<Schedule>,
    /// When the clock makes it due next, jitter included.
    next: Option<DateTime<Utc>>,
    /// The trigger `data_volume`: when rows are counted next, by the clock that only runs forward.
    count_at: Duration,
    counting: bool,
    /// Enough rows were counted then.
    volume_due: Option<DateTime<Utc>>,
    /// Something ended that the triggers `after` or `degradation` may wait for.
    look_after: bool,
    look_degradation: bool,
}

/// A run that has not ended.
#[derive(Debug)]
struct OpenRun {
    run: Run,
    /// As it was when the run was asked for. None: this version cannot read it.
    job: Option<Job>,
}

/// An attempt's process that is watched.
#[derive(Debug)]
struct Worker {
    claim: Claim,
    job: String,
    /// When it began.
    since: Duration,
    asked: Option<Duration>,
    killed: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    since: Duration,
    fast: bool,
}

impl Core {
    /// Nothing known yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            jobs: BTreeMap::new(),
            due: BTreeSet::new(),
            asking: BTreeSet::new(),
            runs: BTreeMap::new(),
            open: BTreeMap::new(),
            workers: BTreeMap::new(),
            gone: BTreeMap::new(),
            ended: BTreeSet::new(),
            notices: Vec::new(),
            stop: None,
            blocked: BTreeMap::new(),
        }
    }

    /// Jobs in force.
    pub fn n_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// The next time that the clock makes a job due, and which: paused ones aside.
    pub fn next_fire(&self) -> Option<(DateTime<Utc>, &str)> {
        let paused = |name: &String| self.jobs.get(name).is_some_and(|state| state.row.paused_at.is_some());
        self.due.iter().find(|(_, name)| !paused(name)).map(|(at, name)| (*at, name.as_str()))
    }

    /// The job of that name in force, with its zone.
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.get(name).map(|state| &state.job)
    }

    /// The names of the jobs in force.
    pub fn job_names(&self) -> impl Iterator<Item = &String> {
        self.jobs.keys()
    }

    /// The job that the trigger `after` of `job` waits for, and since when its ends count.
    pub fn after_since(&self, job: &str) -> Option<(String, DateTime<Utc>)> {
        let state = self.jobs.get(job)?;
        Some((state.job.triggers.after.as_ref()?.job.clone(), state.row.after_up_to?))
    }

    /// Runs that are being worked on.
    pub fn running(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|open| &open.run).filter(|run| run.state == RunState::Running)
    }

    /// Processes that are watched.
    pub fn workers(&self) -> impl Iterator<Item = Claim> {
        self.workers.values().map(|worker| worker.claim)
    }

    /// Whether a stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether nothing is left to wait for.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some() && self.workers.is_empty() && self.gone.is_empty()
    }

    /// Something that people should know.
    pub fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: Event, now: Now) {
        match event {
            Event::Job(job, row) => self.put_job(*job, *row, now),
            Event::JobRemoved(name) => drop(self.take_out(&name)),
            Event::Open(runs) => self.replace_runs(runs),
            Event::Ended(jobs) => jobs.iter().for_each(|(job, kind)| self.noticed_end(job, kind)),
            Event::Paused(paused) => {
                for (name, state) in &mut self.jobs {
                    let found = paused.get(name);
                    if state.row.paused_at.is_some() && found.is_none() {
                        self.notices.push(Notice::Resumed { job: name.clone() });
                    }
                    state.row.paused_at = found.map(|(at, _)| *at);
                    state.row.paused_because = found.map(|(_, because)| because.clone());
                }
            }
            Event::Fired { job, decision, runs, notices } => {
                // what was done before was told before; what was missed has no run, nor has what a pause or another run forbids
                let new = !runs.is_empty() || decision.skipped_because.is_some();
                self.notices.extend(notices.into_iter().filter(|n| new || matches!(n, Notice::Missed { .. })));
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.row.fired_up_to = decision.fired_up_to.or(state.row.fired_up_to);
                    state.row.after_up_to = decision.after_up_to.or(state.row.after_up_to);
                    if decision.fired_up_to.is_some() {
                        self.set_next(&job, now);
                    }
                }
                runs.into_iter().for_each(|run| self.put_run(run));
            }
            Event::Started { run, since } | Event::Adopted { run, since } => {
                if let Some(claim) = run.claim() {
                    let job = run.job.clone();
                    let worker = Worker { claim, job, since, asked: None, killed: None };
                    self.workers.insert(run.id, worker);
                }
                self.put_run(run);
            }
            Event::Blocked { run_id } => drop(self.blocked.insert(run_id, now.up + Duration::from_secs(5))),
            Event::Signalled { run_id, kill } => {
                if let Some(worker) = self.workers.get_mut(&run_id) {
                    worker.asked.get_or_insert(now.up);
                    if kill {
                        worker.killed = Some(now.up);
                    }
                }
            }
            Event::Gone { claim, seen } => {
                // a second notice of the same end, or of an attempt that was given up long ago
                let watched = self.workers.get(&claim.run_id);
                if watched.is_some_and(|worker| worker.claim != claim) {
                    return;
                }
                let seen = match watched {
                    Some(worker) if worker.asked.is_some() && matches!(seen, Seen::Exited(_)) => Seen::Ended,
                    _ => seen,
                };
                self.workers.remove(&claim.run_id);
                self.gone.insert(claim.run_id, (claim, seen));
            }
            Event::Settled { run } => {
                self.gone.remove(&run.id);
                self.put_run(run);
            }
            Event::Forgotten { run_id } => {
                self.gone.remove(&run_id);
                self.remove_run(run_id);
            }
            Event::Counted { job, new_rows, last_ended } => self.counted(&job, new_rows, last_ended, now),
            Event::LookedAfter { job } => {
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.look_after = false;
                }
            }
            Event::LookedAtDegradation { job } => {
                if let Some(state) = self.jobs.get_mut(&job) {
                    state.look_degradation = false;
                }
            }
            Event::Reviewed { job } => drop(self.ended.remove(&job)),
            Event::Told => drop(self.notices.pop()),
            Event::Stop => {
                let fast = self.stop.is_some();
                let since = self.stop.filter(|_| !fast).map_or(now.up, |stop| stop.since);
                self.stop = Some(Stop { since, fast });
            }
        }
    }

    fn put_job(&mut self, job: Job, mut row: JobRow, now: Now) {
        let name = job.name.clone();
        let before = self.take_out(&name);
        // the row in memory is newer than the one that a reload has read
        if let Some(before) = &before {
            row.fired_up_to =
                row.fired_up_to.max(before.row.fired_up_to.filter(|_| row.schedule == before.row.schedule));
            row.after_up_to = row.after_up_to.max(before.row.after_up_to);
        }
        let count_at = before.as_ref().map_or(now.up, |before| before.count_at);
        let triggers = &job.triggers;
        if triggers.data_volume.is_some() || triggers.after.is_some() || triggers.degradation.is_some() {
            self.asking.insert(name.clone());
        }
        let schedule = job.triggers.cron.as_ref().and_then(|cron| cron.read().ok());
        let state = JobState {
            toml: job.to_toml(),
            schedule,
            job,
            row,
            next: None,
            count_at,
            counting: before.is_some_and(|before| before.counting),
            volume_due: None,
            look_after: true,
            look_degradation: true,
        };
        self.jobs.insert(name.clone(), state);
        self.set_next(&name, now);
    }

    fn take_out(&mut self, name: &str) -> Option<JobState> {
        self.asking.remove(name);
        let state = self.jobs.remove(name)?;
        state.next.map(|next| self.due.remove(&(next, name.to_owned())));
        Some(state)
    }

    fn set_next(&mut self, name: &str, now: Now) {
        let Some(state) = self.jobs.get_mut(name) else { return };
        let next = state.next_after(now);
        if state.next != next {
            state.next.map(|before| self.due.remove(&(before, name.to_owned())));
            self.due.extend(next.map(|next| (next, name.to_owned())));
            state.next = next;
        }
    }

    fn replace_runs(&mut self, runs: Vec<Run>) {
        let still: BTreeSet<i64> = runs.iter().map(|run| run.id).collect();
        let ended: Vec<i64> = self.runs.keys().copied().filter(|id| !still.contains(id)).collect();
        for id in ended {
            self.forget(id);
        }
        runs.into_iter().for_each(|run| self.put_run(run));
    }

    fn put_run(&mut self, run: Run) {
        if run.state.is_final() {
            // known or not: a run that this core never saw open may be what a trigger waits for
            self.remove_run(run.id);
            self.blocked.remove(&run.id);
            self.noticed_end(&run.job, &run.kind);
            return;
        }
        let id = run.id;
        let job = match self.remove_run(id) {
            Some(open) if open.run.job_toml == run.job_toml => open.job,
            _ if self.jobs.get(&run.job).is_some_and(|state| state.toml == run.job_toml) => {
                self.jobs.get(&run.job).map(|state| state.job.clone())
            }
            _ => Job::parse(format!("{}.toml", run.job).as_ref(), &run.job_toml, &[]).ok(),
        };
        self.open.entry(run.job.clone()).or_default().insert(id);
        self.runs.insert(id, OpenRun { run, job });
    }

    fn remove_run(&mut self, id: i64) -> Option<OpenRun> {
        let open = self.runs.remove(&id)?;
        if let Some(ids) = self.open.get_mut(&open.run.job) {
            ids.remove(&id);
            if ids.is_empty() {
                self.open.remove(&open.run.job);
            }
        }
        Some(open)
    }

    /// An open run is gone: it has ended.
    fn forget(&mut self, id: i64) {
        self.blocked.remove(&id);
        if let Some(open) = self.remove_run(id) {
            self.noticed_end(&open.run.job, &open.run.kind);
        }
    }

    fn noticed_end(&mut self, job: &str, kind: &str) {
        self.ended.insert(job.to_owned());
        for name in &self.asking {
            let Some(state) = self.jobs.get_mut(name) else { continue };
            state.look_after |= state.job.triggers.after.as_ref().is_some_and(|after| after.job == job);
            state.look_degradation |= kind == "evaluate" && state.job.triggers.degradation.is_some();
        }
    }

    /// Open runs of a job, oldest first.
    fn open_of(&self, job: &str) -> impl Iterator<Item = &Run> {
        self.open.get(job).into_iter().flatten().filter_map(|id| self.runs.get(id)).map(|open| &open.run)
    }
}

impl JobState {
    fn next_after(&self, now: Now) -> Option<DateTime<Utc>> {
        let (schedule, cron) = self.schedule.as_ref().zip(self.job.triggers.cron.as_ref())?;
        let delay = cron.delay(&self.job.name);
        let decided = self.row.fired_up_to.unwrap_or(now.wall);
        // in the future after the clock was set back: what is due then has a key, and keys see to it that nothing runs twice
        // Also where it lies before the window in which it would be caught up: that it was missed is to be told.
        schedule.next(decided.min(now.wall - delay)).map(|next| next.to_utc() + delay)
    }
}

fn overlap(job: &Job) -> Overlap {
    job.policy.overlap
}
