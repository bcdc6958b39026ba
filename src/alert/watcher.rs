//! The watcher: looks at running runs from outside, so that a worker that hangs is told of, too.
//!
//! Everything it says is idempotent by its onset: after a restart it reads the same epochs again and raises the same
//! conditions, which are known already.

use super::condition::onset;
use super::{Condition, Rule, ended, raise};
use crate::event::{Event, Listener};
use crate::host::{Cgroup, Memory};
use crate::job::Alerts;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::store::{self, Owner, Run, RunState, Store, Training};
use crate::watch::{Change, MemoryWatch, TrainingWatch, run_longer_than};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Processes that a memory alert names.
const HOLDERS: usize = 4;

pub(super) struct Watcher {
    store: Store,
    registry: Registry,
    listener: Listener,
    /// This host's name: memory of others cannot be seen from here.
    host: Option<String>,
    runs: BTreeMap<i64, Watched>,
    /// The control group that this process shares with the workers it starts, with the kernel's kills in it at the last look.
    own: Option<(Cgroup, u64)>,
    /// A kill was told at this look.
    killed: bool,
    /// What was found and could not be written down yet, because the database was away.
    queue: VecDeque<Step>,
}

/// One thing to write down.
pub(super) enum Step {
    Raise(Box<Condition>),
    Resolve {
        rule: Rule,
        job: String,
        target: String,
        onset: Option<String>,
        how: String,
    },
    /// Everything that followed from the end of this run is written down.
    RunDone(i64),
}

impl Step {
    pub(super) fn raise(condition: Condition) -> Self {
        Self::Raise(Box::new(condition))
    }
}

/// A run that is watched.
struct Watched {
    limits: Alerts,
    /// Epochs of each of several networks.
    network: Option<i64>,
    clock: Option<Clock>,
    slow: bool,
    memory: MemoryWatch,
    /// The group of the attempt's process, with the kernel's kills in it when it was first seen.
    cgroup: Option<(i64, Cgroup, u64)>,
    targets: BTreeMap<String, Target>,
}

struct Target {
    attempt: i64,
    watch: TrainingWatch,
    clock: Option<Clock>,
    ended: bool,
}

/// Time since an instant that another process wrote down: from the wall clock once, then from this process's own, which
/// no one sets.
#[derive(Clone, Copy)]
struct Clock {
    began: DateTime<Utc>,
    before: Duration,
    seen: Instant,
}

impl Clock {
    fn since(began: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { began, before: (now - began).to_std().unwrap_or_default(), seen: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        self.before + self.seen.elapsed()
    }
}

impl Watcher {
    pub(super) fn new(store: Store, settings: &Settings, listener: Listener) -> Self {
        let registry = Registry::at(&settings.registry.dir);
        let host = Owner::this_process().ok().map(|owner| owner.host);
        let own = Cgroup::of(std::process::id()).and_then(counted);
        Self { store, registry, listener, host, runs: BTreeMap::new(), own, killed: false, queue: VecDeque::new() }
    }

    /// Whether there is something that was seen and not seen to its end.
    pub(super) fn is_watching(&self) -> bool {
        !self.runs.is_empty() || !self.queue.is_empty()
    }

    /// Looks once at everything that runs and at what has ended since.
    pub(super) async fn look(&mut self, now: DateTime<Utc>) -> Result<(), store::Error> {
        self.write().await?;
        let running = self.store.running_runs().await?;
        for run in &running {
            self.look_at(run, now).await?;
            self.write().await?;
        }
        for run in self.store.runs_without_alerts().await? {
            self.look_at(&run, now).await?;
            if let Some(mut watched) = self.runs.remove(&run.id) {
                let mut steps = watched.end(&run);
                steps.extend(ended::steps(&self.store, &self.registry, &run, &watched.limits).await?);
                self.take(steps, &watched.limits);
            }
            self.queue.push_back(Step::RunDone(run.id));
            self.write().await?;
        }
        // between two attempts a run has no worker: what held of the one that is gone holds no longer
        let gone: Vec<i64> = self.runs.keys().copied().filter(|id| running.iter().all(|run| run.id != *id)).collect();
        for id in gone {
            let run = self.store.run(id).await?;
            self.look_at(&run, now).await?;
            if let Some(mut watched) = self.runs.remove(&id) {
                let steps = watched.end(&run);
                self.take(steps, &watched.limits);
            }
            self.write().await?;
        }
        self.count();
        Ok(())
    }

    /// Says for whom the job's alerts are, and puts them into the queue.
    fn take(&mut self, steps: Vec<Step>, limits: &Alerts) {
        for step in steps {
            self.queue.push_back(match step {
                Step::Raise(condition) => {
                    self.killed |= condition.rule == Rule::OutOfMemory;
                    Step::raise(condition.addressed(limits))
                }
                step => step,
            });
        }
    }

    /// Counts the kernel's kills, as of now: those until now are no run's that begins later. One that was told is nobody else's.
    pub(super) fn count(&mut self) {
        self.own = Cgroup::of(std::process::id()).and_then(counted);
        if std::mem::take(&mut self.killed)
            && let Some((group, kills)) = &self.own
        {
            for (_, of_the_run, known) in self.runs.values_mut().filter_map(|watched| watched.cgroup.as_mut()) {
                if of_the_run.path() == group.path() {
                    *known = *kills;
                }
            }
        }
    }

    /// Writes down what was found, in order.
    async fn write(&mut self) -> Result<(), store::Error> {
        while let Some(step) = self.queue.front() {
            match step {
                Step::Raise(condition) => {
                    // what follows from the end of a run is shown with it anyway
                    if raise(&self.store, condition).await? && condition.rule.ends_with_its_run() {
                        let target = condition.target.as_ref().and_then(|target| target.parse().ok());
                        (self.listener)(Event::Alert { target, text: condition.summary.clone() });
                    }
                }
                Step::Resolve { rule, job, target, onset, how } => {
                    super::end(&self.store, *rule, job, target, onset.as_deref(), how).await?;
                }
                Step::RunDone(run_id) => self.store.mark_alerts_raised(*run_id).await?,
            }
            self.queue.pop_front();
        }
        Ok(())
    }

    async fn look_at(&mut self, run: &Run, now: DateTime<Utc>) -> Result<(), store::Error> {
        if !self.runs.contains_key(&run.id) {
            let firing = self.store.open_alerts().await?;
            let memory = firing.iter().any(|alert| {
                alert.run_id == Some(run.id)
                    && alert.rule == Rule::MemoryAbovePercent.as_str()
                    && alert.resolved_at.is_none()
            });
            // one that the scheduler started may have been killed before it was seen
            let group = self.own.clone().filter(|_| run.supervised);
            self.runs.insert(run.id, Watched::new(run, memory, group, now));
        }
        let trainings = self.store.trainings(run.id).await?;
        let host = self.host.clone();
        let Some(watched) = self.runs.get_mut(&run.id) else { return Ok(()) };
        let mut steps = Vec::new();
        for training in &trainings {
            let rows = match watched.targets.get(&training.target) {
                // an attempt that went on from a checkpoint has only the epochs after it
                None => self.store.epochs(run.id, &training.target).await?,
                Some(known) => {
                    let after = if known.attempt == training.attempt { known.watch.last_epoch() } else { 0 };
                    self.store.epochs_after(run.id, &training.target, training.attempt, after).await?
                }
            };
            steps.extend(watched.look_at_training(run, training, &rows, now));
        }
        if run.ended_at.is_none() {
            steps.extend(watched.look_at_run(run, now, host.as_deref()));
        }
        let limits = watched.limits.clone();
        self.take(steps, &limits);
        Ok(())
    }
}

impl Watched {
    fn new(run: &Run, memory_fires: bool, group: Option<(Cgroup, u64)>, now: DateTime<Utc>) -> Self {
        let job = ended::job_of(run);
        let network = job.as_ref().and_then(ended::network_epochs);
        let limits = job.map_or_else(Alerts::default, |job| job.alerts);
        Self {
            clock: run.started_at.map(|started| Clock::since(started, now)),
            slow: false,
            memory: MemoryWatch::new(limits.memory_above_percent, memory_fires),
            cgroup: group.map(|(group, kills)| (run.attempt, group, kills)),
            targets: BTreeMap::new(),
            network,
            limits,
        }
    }

    fn look_at_training(
        &mut self,
        run: &Run,
        training: &Training,
        rows: &[store::Epoch],
        now: DateTime<Utc>,
    ) -> Vec<Step> {
        let new = || Target {
            attempt: training.attempt,
            watch: TrainingWatch::new(self.limits.clone(), self.network),
            clock: None,
            ended: false,
        };
        let target = self.targets.entry(training.target.clone()).or_insert_with(new);
        if target.attempt != training.attempt {
            (target.attempt, target.ended, target.clock) = (training.attempt, false, None);
        }
        let mut changes: Vec<(Change, DateTime<Utc>)> = Vec::new();
        for row in rows {
            changes.extend(target.watch.epoch(row).into_iter().map(|change| (change, now)));
        }
        if let Some(began) = training.training_started_at
            && !target.ended
        {
            let clock = match target.clock {
                Some(clock) if clock.began == began => clock,
                _ => Clock::since(began, now),
            };
            target.clock = Some(clock);
            let elapsed = match training.training_ended_at {
                Some(ended) => (ended - began).to_std().unwrap_or_default(),
                None => clock.elapsed(),
            };
            changes.extend(target.watch.clock(elapsed).map(|change| (change, began)));
            if training.training_ended_at.is_some() {
                target.ended = true;
                changes.extend(target.watch.ended(Some(elapsed)).into_iter().map(|change| (change, now)));
            }
        }
        let steps = changes.into_iter();
        steps.map(|(change, since)| step(run, Some(&training.target), training.attempt, change, since)).collect()
    }

    fn look_at_run(&mut self, run: &Run, now: DateTime<Utc>, host: Option<&str>) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(clock) = &self.clock
            && !self.slow
            && let Some(finding) = run_longer_than(self.limits.run_longer_than, clock.elapsed())
        {
            self.slow = true;
            steps.push(Step::raise(Condition::found(run, None, 0, finding, run.started_at.unwrap_or(now))));
        }
        let Some(owner) = run.owner.as_ref().filter(|owner| Some(owner.host.as_str()) == host) else { return steps };
        let Ok(pid) = u32::try_from(owner.pid) else { return steps };
        steps.extend(self.killed(run));
        let group = Cgroup::of(pid);
        self.cgroup = match (group, self.cgroup.take()) {
            // what was killed since the attempt before is this one's
            (Some(group), Some((_, same, kills))) if group.path() == same.path() => Some((run.attempt, group, kills)),
            (Some(group), _) => counted(group).map(|(group, kills)| (run.attempt, group, kills)),
            (None, known) => known,
        };
        let Ok(memory) = Memory::nearest(pid) else { return steps };
        if let Some(change) = self.memory.sample(memory.used_percent(), now) {
            let mut found = step(run, None, run.attempt, change, now);
            if let Step::Raise(condition) = &mut found {
                condition.details = details(&memory, pid);
                condition.summary = format!("{} ({})", condition.summary, whose(&memory));
            }
            steps.push(found);
        }
        steps
    }

    /// Whether the kernel killed the attempt that was watched: its process is gone, and the count has risen meanwhile.
    fn killed(&mut self, run: &Run) -> Option<Step> {
        let (attempt, group, before) = self.cgroup.as_ref()?;
        let gone =
            run.attempt != *attempt || run.ended_at.is_some() || !run.owner.as_ref().is_some_and(Owner::is_alive);
        let done = matches!(run.state, RunState::Succeeded | RunState::Rejected);
        if !gone || done || !self.limits.out_of_memory {
            return None;
        }
        let kills = group.oom_kills().filter(|kills| kills > before)?;
        let limit = group.usage().map_or_else(|| "the host's memory".to_owned(), |(_, limit)| mib(limit));
        let condition = Condition::out_of_memory(run, *attempt, &group.path().display().to_string(), &limit);
        let known = (*attempt, group.clone(), kills);
        self.cgroup = Some(known);
        Some(Step::raise(condition))
    }

    /// Ends everything that can hold only while the run goes on.
    fn end(&mut self, run: &Run) -> Vec<Step> {
        let mut steps: Vec<Step> = self.killed(run).into_iter().collect();
        for (name, target) in &mut self.targets {
            let changes = target.watch.ended(None);
            steps
                .extend(changes.into_iter().map(|change| step(run, Some(name), target.attempt, change, run.queued_at)));
        }
        steps
    }
}

fn step(run: &Run, target: Option<&str>, attempt: i64, change: Change, since: DateTime<Utc>) -> Step {
    match change {
        Change::Holds(finding) => Step::raise(Condition::found(run, target, attempt, finding, since)),
        Change::Over { rule, onset: which, how } => Step::Resolve {
            rule,
            job: run.job.clone(),
            target: target.unwrap_or("").to_owned(),
            onset: which.map(|which| onset(run.id, attempt, &which)),
            how,
        },
    }
}

fn counted(group: Cgroup) -> Option<(Cgroup, u64)> {
    let kills = group.oom_kills()?;
    Some((group, kills))
}

fn whose(memory: &Memory) -> String {
    match &memory.cgroup {
        None => "the host's".to_owned(),
        Some(group) => format!("the limit of {}", group.path().display()),
    }
}

fn details(memory: &Memory, pid: u32) -> Vec<String> {
    let mut lines = vec![format!("{} of {} in use: {}", mib(memory.used), mib(memory.total), whose(memory))];
    lines.extend(memory.holders(HOLDERS).iter().map(|holder| {
        let ours = if holder.pid == pid { ", this run" } else { "" };
        format!("{} holds {} (process {}{ours})", holder.name, mib(holder.bytes), holder.pid)
    }));
    lines
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
