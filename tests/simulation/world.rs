//! A small world for the scheduler: a database that keeps its promises, processes, clocks, and a fate that is drawn from a seed.
//!
//! The database obeys the same [`Life`] that `tests/store.rs` holds the real one against. A crash can come between any two steps
//! of what the scheduler carries out.

use chrono::{DateTime, TimeDelta, Utc};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retraind::job::Job;
use retraind::scheduler::core::{Action, Core, Event, Exit, Limits, Now, PlannedRun, Seen, Settlement, settle};
use retraind::store::{Attempt, Claim, Decision, Ending, JobRow, Life, Owner, Run, RunState, Step};
use retraind::trigger::degradation;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

/// What happened in stories, to see that they are worth something.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) runs: usize,
    pub(crate) crashes: usize,
    pub(crate) publications: usize,
    pub(crate) adopted: usize,
    pub(crate) requeued: usize,
    pub(crate) timed_out: usize,
    pub(crate) skipped: usize,
    pub(crate) paused: usize,
    pub(crate) degraded: usize,
    pub(crate) weeks: u32,
    /// How often the scheduler died at each point.
    pub(crate) points: BTreeMap<Point, usize>,
}

/// Before an action, or when what it decides is written down and the scheduler does not know it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    Before(&'static str),
    Written(&'static str),
}

impl Told {
    pub(crate) fn add(&mut self, more: &Self) {
        self.runs += more.runs;
        self.crashes += more.crashes;
        self.publications += more.publications;
        self.adopted += more.adopted;
        self.requeued += more.requeued;
        self.timed_out += more.timed_out;
        self.skipped += more.skipped;
        self.paused += more.paused;
        self.degraded += more.degraded;
        self.weeks += more.weeks;
        for (point, n) in &more.points {
            *self.points.entry(*point).or_default() += n;
        }
    }
}

/// A worker's process.
#[derive(Debug)]
struct Process {
    claim: Claim,
    since: Duration,
    until: Duration,
    fate: Fate,
    asked: bool,
    /// Whether this scheduler is its parent, or watches it.
    watched: bool,
}

/// How it ends when nobody interferes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Success,
    Failure,
    Transient,
    Crash,
    Hang,
}

/// The scheduler died here.
struct Crash;

pub(crate) struct World {
    random: ChaCha8Rng,
    wall: DateTime<Utc>,
    up: Duration,
    /// The database.
    runs: BTreeMap<i64, Run>,
    words: BTreeMap<i64, Vec<Attempt>>,
    rows: BTreeMap<String, JobRow>,
    files: BTreeMap<String, String>,
    keys: BTreeSet<String>,
    /// What evaluations found of the version in service, whose MAE was 1: newest first.
    evaluations: Vec<(DateTime<Utc>, f64)>,
    /// Runs up to this one do not count towards a pause any more: the job was resumed after it.
    forgiven: BTreeMap<String, i64>,
    processes: Vec<Process>,
    core: Option<Core>,
    /// Runs whose work was made visible, and by how many attempts.
    published: BTreeMap<i64, usize>,
    told: Told,
    calm: bool,
}

const KINDS: [&str; 8] = [
    "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"0 3 * * Sun\"\ntimezone = \"Europe/Berlin\"\n[run]\nattempts = 4\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"30 2 * * *\"\ntimezone = \"America/New_York\"\n[run]\noverlap = \"queue\"\ntimeout = \"5h\"\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"0 */6 * * *\"\ntimezone = \"Australia/Lord_Howe\"\ncatch_up = \"all\"\ncatch_up_window = \"3d\"\n[run]\noverlap = \"queue\"\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.cron]\nschedule = \"15 * * * *\"\njitter = \"10m\"\ncatch_up = \"none\"\n[run]\noverlap = \"cancel\"\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.after]\njob = \"job-0\"\non = \"end\"\n[run]\npause_after_failures = 0\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.data_volume]\npoll = \"2h\"\ncool_down = \"6h\"\n[run]\ntimeout = \"3h\"\nattempts = 2\n",
    "[evaluate]\n[trigger.cron]\nschedule = \"0 5 * * *\"\n[run]\npause_after_failures = 0\n",
    "[exec]\ncommand = [\"true\"]\n[trigger.degradation]\nmae_ratio = 1.5\nevaluations = 2\n[run]\npause_after_failures = 2\n",
];

const LIMITS: Limits = Limits { max_running: 2, grace: Duration::from_secs(30), stop_grace: Duration::from_mins(1) };

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let files = KINDS.iter().enumerate().map(|(k, text)| (format!("job-{k}"), (*text).to_owned())).collect();
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            wall: "2026-03-01T00:00:00Z".parse().expect("a time"),
            up: Duration::from_hours(1),
            runs: BTreeMap::new(),
            words: BTreeMap::new(),
            rows: BTreeMap::new(),
            files,
            keys: BTreeSet::new(),
            evaluations: Vec::new(),
            forgiven: BTreeMap::new(),
            processes: Vec::new(),
            core: None,
            published: BTreeMap::new(),
            told: Told::default(),
            calm: false,
        }
    }

    /// Lives for so many weeks, then in peace until all is settled.
    pub(crate) fn live(mut self, weeks: u32) -> Told {
        let mut passed = Duration::ZERO;
        let end = Duration::from_hours(24 * 7 * u64::from(weeks));
        while passed < end {
            let step = Duration::from_secs(self.random.random_range(1..4 * 3_600));
            passed += step;
            self.pass(step);
            self.fate_strikes();
            self.schedule();
            self.check();
        }
        self.peace();
        self.told.weeks = weeks;
        self.told.runs = self.runs.len();
        self.told.publications = self.published.len();
        self.told
    }

    fn chance(&mut self, one_in: u32) -> bool {
        !self.calm && self.random.random_ratio(1, one_in)
    }

    fn now(&self) -> Now {
        Now { wall: self.wall, up: self.up }
    }

    fn pass(&mut self, step: Duration) {
        self.up += step;
        self.wall += TimeDelta::from_std(step).expect("hours");
        let ended: Vec<usize> =
            (0..self.processes.len()).filter(|k| self.processes[*k].until <= self.up).rev().collect();
        for k in ended {
            let process = self.processes.remove(k);
            self.process_ends(&process);
        }
    }

    /// What a worker does last, and what is seen of it.
    fn process_ends(&mut self, process: &Process) {
        let claim = process.claim;
        let mut exit = Exit::Code(0);
        match process.fate {
            _ if process.asked => {
                self.say(claim, Ending::Stopped);
                exit = Exit::Code(143);
            }
            Fate::Success => {
                if self.step(claim.run_id, Step::Write(claim.attempt)) {
                    *self.published.entry(claim.run_id).or_default() += 1;
                    if self.runs[&claim.run_id].kind == "evaluate" {
                        self.evaluations.push((self.wall, self.random.random_range(0.5..3.0)));
                        self.evaluations.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
                    }
                }
                self.step(claim.run_id, Step::End(claim.attempt, RunState::Succeeded));
            }
            Fate::Failure => {
                self.step(claim.run_id, Step::End(claim.attempt, RunState::Failed));
                exit = Exit::Code(1);
            }
            Fate::Transient => {
                self.say(claim, Ending::Transient);
                exit = Exit::Code(75);
            }
            Fate::Crash | Fate::Hang => exit = Exit::Signal { number: 9, out_of_memory: false },
        }
        if process.watched {
            let (now, seen) = (self.now(), Seen::Exited(exit));
            if let Some(core) = &mut self.core {
                core.apply(Event::Gone { claim, seen }, now);
            }
        }
    }

    /// A worker's last word, unless it was given up.
    fn say(&mut self, claim: Claim, ending: Ending) {
        if self.step(claim.run_id, Step::Write(claim.attempt)) {
            self.record_word(claim, ending);
        }
    }

    fn record_word(&mut self, claim: Claim, ending: Ending) {
        let words = self.words.entry(claim.run_id).or_default();
        if !words.iter().any(|word| word.attempt == claim.attempt) {
            words.push(Attempt { attempt: claim.attempt, ending, ended_at: self.wall, error: Some("fate".to_owned()) });
        }
    }

    /// One compare-and-set. False: refused.
    fn step(&mut self, id: i64, step: Step) -> bool {
        let Some(run) = self.runs.get_mut(&id) else { return false };
        let Some(life) = (Life { state: run.state, attempt: run.attempt }).after(step) else { return false };
        assert!(!run.state.is_final(), "final is final: {step:?} on {run:?}");
        (run.state, run.attempt) = (life.state, life.attempt);
        if life.state.is_final() {
            run.ended_at = Some(self.wall);
        }
        true
    }

    fn fate_strikes(&mut self) {
        if self.chance(20) {
            self.core = None;
            self.told.crashes += 1;
            self.processes.iter_mut().for_each(|process| process.watched = false);
        }
        // the host restarts
        if self.chance(120) {
            self.core = None;
            self.processes.clear();
            self.up = Duration::from_secs(20);
            self.wall += TimeDelta::minutes(self.random.random_range(1..600));
        }
        // a worker is killed
        if self.chance(15) && !self.processes.is_empty() {
            let k = self.random.random_range(0..self.processes.len());
            self.processes[k].fate = Fate::Crash;
            self.processes[k].asked = false;
            self.processes[k].until = self.up;
        }
        // the clock jumps
        if self.chance(60) {
            let jumps = [3_600, -3_600, 86_400 * 3, -86_400 * 2, 86_400 * 3_650, -86_400 * 3_650, 30, -30];
            let jump = *jumps.choose(&mut self.random).expect("some");
            let jumped = self.wall + TimeDelta::seconds(jump);
            // within what chrono and these schedules know
            if jumped > "2000-01-01T00:00:00Z".parse::<DateTime<Utc>>().expect("a time")
                && jumped < "2090-01-01T00:00:00Z".parse::<DateTime<Utc>>().expect("a time")
            {
                self.wall = jumped;
            }
        }
        // somebody edits a file, takes it away, brings it back
        if self.chance(60) {
            let k = self.random.random_range(0..KINDS.len());
            let text = self.random.random_range(0..KINDS.len());
            let name = format!("job-{k}");
            if self.random.random_bool(0.3) {
                self.files.remove(&name);
            } else {
                // one that starts after itself would be refused with its file
                let text = if k == 0 && text == 4 { 0 } else { text };
                self.files.insert(name, KINDS[text].to_owned());
            }
            self.read_files();
        }
        // somebody wants a run now
        if self.chance(40) {
            let name = format!("job-{}", self.random.random_range(0..KINDS.len()));
            if let Some(text) = self.files.get(&name).cloned() {
                let key = format!("{name}/person/{}-{}", self.wall, self.runs.len());
                self.insert(&PlannedRun {
                    run_key: key,
                    job: name.clone(),
                    kind: parse(&name, &text).kind.name().to_owned(),
                    cause: "person".to_owned(),
                    job_toml: parse(&name, &text).to_toml(),
                    scheduled_for: None,
                });
            }
        }
        // somebody lets a paused job go on
        if self.chance(20) {
            let last = self.runs.len() as i64;
            for (name, row) in self.rows.iter_mut().filter(|(_, row)| row.paused_at.is_some()) {
                (row.paused_at, row.paused_because) = (None, None);
                self.forgiven.insert(name.clone(), last);
            }
            self.tell(Event::Paused(self.paused()));
        }
        // somebody cancels one
        if self.chance(60) {
            let open: Vec<i64> = self.runs.values().filter(|run| !run.state.is_final()).map(|run| run.id).collect();
            if let Some(id) = open.choose(&mut self.random).copied() {
                let attempt = self.runs[&id].attempt;
                if !self.step(id, Step::CancelQueued) {
                    self.step(id, Step::End(attempt, RunState::Cancelled));
                }
            }
        }
        if self.chance(50) {
            self.stop();
        }
    }

    /// SIGTERM: workers are asked, and end soon or are killed.
    fn stop(&mut self) {
        let now = self.now();
        let Some(core) = &mut self.core else { return };
        core.apply(Event::Stop, now);
        for _ in 0..200 {
            self.carry_out();
            if self.core.as_ref().is_none_or(Core::is_stopped) {
                break;
            }
            self.pass(Duration::from_secs(1));
        }
        assert!(self.core.as_ref().is_none_or(Core::is_stopped), "a stop comes to its end: {:?}", self.core);
        self.core = None;
    }

    fn schedule(&mut self) {
        if self.core.is_none() {
            self.core = Some(Core::new(LIMITS));
            self.read_files();
        }
        self.carry_out();
    }

    /// As `scheduler` does it: job files against rows.
    fn read_files(&mut self) {
        let now = self.now();
        let Some(core) = &mut self.core else { return };
        let gone: Vec<String> = core.job_names().filter(|name| !self.files.contains_key(*name)).cloned().collect();
        gone.into_iter().for_each(|name| core.apply(Event::JobRemoved(name), now));
        for (name, text) in &self.files {
            let job = parse(name, text);
            let row = self.rows.entry(name.clone()).or_insert_with(|| JobRow::new(name));
            let schedule = job.triggers.cron.as_ref().map(ToString::to_string);
            if row.schedule != schedule || row.fired_up_to.is_none() {
                row.fired_up_to = schedule.as_ref().map(|_| now.wall);
                row.schedule = schedule;
            }
            row.after_up_to.get_or_insert(now.wall);
            core.apply(Event::Job(Box::new(job), Box::new(row.clone())), now);
        }
    }

    /// What the loop does in one turn, with a crash between any two steps.
    fn carry_out(&mut self) {
        let now = self.now();
        let open = self.runs.values().filter(|run| !run.state.is_final()).cloned().collect();
        let Some(core) = &mut self.core else { return };
        core.apply(Event::Open(open), now);
        for turn in 0.. {
            assert!(turn < 1_000, "the scheduler does not come to rest: {:?}", self.core);
            let now = self.now();
            let Some(core) = &mut self.core else { return };
            let actions = core.decide(now);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                if self.carry_out_one(action).is_err() {
                    self.told.crashes += 1;
                    self.core = None;
                    self.processes.iter_mut().for_each(|process| process.watched = false);
                    return;
                }
            }
        }
    }

    /// More often where the scheduler has not died yet.
    fn point(&mut self, point: Point) -> Result<(), Crash> {
        let one_in = if self.told.points.contains_key(&point) { 400 } else { 40 };
        if !self.chance(one_in) {
            return Ok(());
        }
        *self.told.points.entry(point).or_default() += 1;
        Err(Crash)
    }

    fn paused(&self) -> BTreeMap<String, (DateTime<Utc>, String)> {
        let since = |row: &JobRow| Some((row.paused_at?, row.paused_because.clone()?));
        self.rows.iter().filter_map(|(name, row)| Some((name.clone(), since(row)?))).collect()
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        if let Some(core) = &mut self.core {
            core.apply(event, now);
        }
    }

    fn carry_out_one(&mut self, action: Action) -> Result<(), Crash> {
        let name = name(&action);
        self.point(Point::Before(name))?;
        match action {
            Action::Fire { job, decision, runs, notices } => {
                self.check_fires(&job, &runs);
                self.told.degraded += runs.iter().filter(|run| run.cause == "degradation").count();
                let queued: Vec<Run> = runs.iter().filter_map(|planned| self.insert(planned)).collect();
                self.decide_row(&job, &decision);
                self.point(Point::Written(name))?;
                self.tell(Event::Fired { job, decision, runs: queued, notices });
            }
            Action::Start { run_id } => {
                let job = self.runs[&run_id].job.clone();
                let busy = self.runs.values().any(|run| run.job == job && run.state == RunState::Running);
                assert!(!busy, "one run of a job at a time: {run_id}");
                if !self.step(run_id, Step::Start) {
                    self.tell(Event::Settled { run: self.runs[&run_id].clone() });
                    return Ok(());
                }
                let scheduler = owner(0);
                let (wall, up) = (self.wall, self.up);
                let run = self.runs.get_mut(&run_id).expect("started");
                run.owner = Some(scheduler);
                run.attempt_started_at = Some(wall);
                let (run, claim) = (run.clone(), run.claim().expect("running"));
                self.point(Point::Written(name))?;
                self.tell(Event::Started { run, since: up });
                let (fate, until) = self.draw();
                self.processes.push(Process { claim, since: up, until, fate, asked: false, watched: true });
                // its first act: it takes the run, unless it was given up in between
                self.runs.get_mut(&run_id).expect("started").owner = Some(owner(claim.attempt));
            }
            Action::End { claim, run_id, outcome } => {
                let step = claim.map_or(Step::CancelQueued, |claim| Step::End(claim.attempt, outcome.state()));
                if self.step(run_id, step) && outcome.state() == RunState::TimedOut {
                    self.told.timed_out += 1;
                }
                self.point(Point::Written(name))?;
                self.tell(Event::Settled { run: self.runs[&run_id].clone() });
            }
            Action::Signal { claim, kill } => {
                let up = self.up;
                let deaf = self.chance(5);
                if let Some(process) = self.processes.iter_mut().find(|process| process.claim == claim) {
                    if kill {
                        process.fate = Fate::Crash;
                        process.asked = false;
                        process.until = up;
                    } else if !deaf && process.fate != Fate::Hang {
                        process.asked = true;
                        process.until = process.until.min(up + Duration::from_secs(3));
                    }
                }
                self.tell(Event::Signalled { run_id: claim.run_id, kill });
            }
            Action::Examine { run_id } => {
                let run = self.runs[&run_id].clone();
                let claim = run.claim().expect("running");
                // the row names the worker only once that has taken the run
                let found = self.processes.iter_mut().find(|process| process.claim == claim);
                match found.filter(|_| run.owner == Some(owner(claim.attempt))) {
                    Some(process) => {
                        process.watched = true;
                        let since = process.since;
                        self.told.adopted += 1;
                        self.tell(Event::Adopted { run, since });
                    }
                    None => self.tell(Event::Gone { claim, seen: Seen::Nothing }),
                }
            }
            Action::Settle { claim, seen } => self.settle(claim, &seen)?,
            Action::Count { job } => {
                let new_rows = self.random.random_bool(0.7).then(|| self.random.random_range(0..2_000));
                let ended = self.runs.values().filter(|run| run.job == job).filter_map(|run| run.ended_at).max();
                self.tell(Event::Counted { job, new_rows, last_ended: ended });
            }
            Action::LookAfter { job } => self.look_after(job)?,
            Action::LookAtDegradation { job } => self.look_at_degradation(job)?,
            Action::Review { job } => self.review(job)?,
            Action::Tell(_) => self.tell(Event::Told),
        }
        Ok(())
    }

    fn look_after(&mut self, job: String) -> Result<(), Crash> {
        let found = self.core.as_ref().and_then(|core| core.after_since(&job));
        if let Some((other, since)) = found {
            let mut ends: Vec<_> = self
                .runs
                .values()
                .filter(|run| run.job == other && run.ended_at.is_some_and(|at| at >= since))
                .map(|run| (run.ended_at.expect("ended"), run.id, run.state))
                .collect();
            ends.sort_by_key(|end| (end.0, end.1));
            let actions = self.core.as_mut().map(|core| core.after(&job, &ends)).unwrap_or_default();
            for action in actions {
                self.carry_out_one(action)?;
            }
        }
        self.tell(Event::LookedAfter { job });
        Ok(())
    }

    fn look_at_degradation(&mut self, job: String) -> Result<(), Crash> {
        let trigger = self.files.get(&job).and_then(|text| parse(&job, text).triggers.degradation);
        let seen = degradation::Seen {
            target: "views".to_owned(),
            version: "v0001".to_owned(),
            mae_at_promotion: 1.0,
            evaluations: self.evaluations.clone(),
        };
        let worse: Vec<_> = trigger.and_then(|trigger| trigger.due(&seen).ok()).into_iter().collect();
        let actions = self.core.as_mut().map(|core| core.degraded(&job, &worse)).unwrap_or_default();
        for action in actions {
            self.carry_out_one(action)?;
        }
        self.tell(Event::LookedAtDegradation { job });
        Ok(())
    }

    fn review(&mut self, job: String) -> Result<(), Crash> {
        let policy = self.files.get(&job).map(|text| parse(&job, text).policy);
        let since = self.forgiven.get(&job).copied().unwrap_or(0);
        let ends: Vec<RunState> = self
            .runs
            .values()
            .rev()
            .filter(|run| run.job == job && run.id > since)
            .filter(|run| run.ended_at.is_some())
            .map(|run| run.state)
            .take(20)
            .collect();
        if policy.is_some_and(|policy| policy.is_failing(&ends)) {
            let row = self.rows.get_mut(&job).expect("a job that ran");
            if row.paused_at.is_none() {
                (row.paused_at, row.paused_because) = (Some(self.wall), Some("its last runs failed".to_owned()));
                self.told.paused += 1;
            }
            self.point(Point::Written("review"))?;
            self.tell(Event::Paused(self.paused()));
        }
        self.tell(Event::Reviewed { job });
        Ok(())
    }

    fn settle(&mut self, claim: Claim, seen: &Seen) -> Result<(), Crash> {
        let run = self.runs[&claim.run_id].clone();
        let policy = parse(&run.job, &run.job_toml).policy;
        let word = self.words.get(&run.id).and_then(|words| words.iter().find(|word| word.attempt == claim.attempt));
        match settle(&run, claim, &policy, word, seen, self.wall) {
            Settlement::Over => {}
            Settlement::Requeue { ending, not_before, .. } => {
                self.record_word(claim, ending);
                assert!(self.step(run.id, Step::Requeue(claim.attempt)));
                let row = self.runs.get_mut(&run.id).expect("requeued");
                row.not_before = not_before;
                if matches!(ending, Ending::Transient | Ending::Died) {
                    row.n_failures += 1;
                } else {
                    row.n_interruptions += 1;
                }
                self.told.requeued += 1;
            }
            Settlement::End(outcome) => {
                self.step(run.id, Step::End(claim.attempt, outcome.state()));
            }
        }
        self.point(Point::Written("settle"))?;
        self.tell(Event::Settled { run: self.runs[&run.id].clone() });
        Ok(())
    }

    fn draw(&mut self) -> (Fate, Duration) {
        let fate = match self.random.random_range(0..20) {
            _ if self.calm => Fate::Success,
            0..12 => Fate::Success,
            12..14 => Fate::Failure,
            14..17 => Fate::Transient,
            17 => Fate::Crash,
            _ => Fate::Hang,
        };
        let hours = if fate == Fate::Hang { 30 } else { 4 };
        let seconds = self.random.random_range(1..hours * 3_600);
        (fate, self.up + Duration::from_secs(seconds))
    }

    fn insert(&mut self, planned: &PlannedRun) -> Option<Run> {
        if !self.keys.insert(planned.run_key.clone()) {
            return None;
        }
        let id = self.runs.len() as i64 + 1;
        let run = Run {
            id,
            run_key: planned.run_key.clone(),
            job: planned.job.clone(),
            kind: planned.kind.clone(),
            cause: planned.cause.clone(),
            state: RunState::Queued,
            attempt: 0,
            owner: None,
            job_toml: planned.job_toml.clone(),
            supervised: true,
            scheduled_for: planned.scheduled_for,
            queued_at: self.wall,
            not_before: None,
            started_at: None,
            attempt_started_at: None,
            n_failures: 0,
            n_interruptions: 0,
            heard_at: None,
            ended_at: None,
            error: None,
        };
        self.runs.insert(id, run.clone());
        Some(run)
    }

    fn decide_row(&mut self, job: &str, decision: &Decision) {
        let Some(row) = self.rows.get_mut(job) else { return };
        row.fired_up_to = decision.fired_up_to.or(row.fired_up_to);
        row.after_up_to = decision.after_up_to.or(row.after_up_to);
        self.told.skipped += usize::from(decision.skipped_because.is_some());
    }

    /// No burst, nothing from the future, nothing that the schedule does not name.
    fn check_fires(&self, job: &str, runs: &[PlannedRun]) {
        let paused = self.rows.get(job).is_some_and(|row| row.paused_at.is_some());
        assert!(!paused || runs.is_empty(), "{job} is paused: {runs:?}");
        if runs.iter().any(|run| run.cause == "degradation") {
            let worse = self.evaluations.iter().take(2).filter(|(_, mae)| *mae > 1.5).count();
            assert_eq!(worse, 2, "two in a row: {:?}", self.evaluations.first());
        }
        let Some(cron) = self.files.get(job).and_then(|text| parse(job, text).triggers.cron) else { return };
        let schedule = cron.read().expect("a schedule");
        let cron_runs: Vec<_> = runs.iter().filter(|run| run.cause == "cron").collect();
        if cron.catch_up != retraind::trigger::CatchUp::All {
            assert!(cron_runs.len() <= 1, "a burst: {cron_runs:?}");
        }
        for run in cron_runs {
            let at = run.scheduled_for.expect("an instant");
            assert!(at <= self.wall, "from the future: {run:?}");
            let named = schedule.next(at - TimeDelta::milliseconds(1)).map(|next| next.to_utc());
            assert_eq!(named, Some(at), "the schedule names it: {run:?}");
        }
    }

    fn check(&self) {
        for (id, n) in &self.published {
            assert_eq!(*n, 1, "run {id} was published more than once");
            assert!(self.runs[id].state.is_final());
        }
        let running = self.runs.values().filter(|run| run.state == RunState::Running);
        assert!(running.clone().count() <= LIMITS.max_running, "at most {} at once", LIMITS.max_running);
        // processes of one job that could still publish: one
        for run in running {
            let live = self.processes.iter().filter(|process| Some(process.claim) == run.claim()).count();
            assert!(live <= 1, "{live} processes have run {}", run.id);
        }
        let Some(core) = &self.core else { return };
        assert!(core.next_fire().is_none_or(|(at, _)| at > self.wall), "what is due is decided on at once");
        // every running run is watched, and nothing else
        let watched: BTreeSet<i64> = core.workers().map(|claim| claim.run_id).collect();
        let running = self.runs.values().filter(|run| run.state == RunState::Running);
        running.for_each(|run| assert!(watched.contains(&run.id), "run {} has no owner", run.id));
    }

    /// No more mischief: everything that was begun comes to an end.
    fn peace(&mut self) {
        self.calm = true;
        for process in &mut self.processes {
            process.until = process.until.min(self.up + Duration::from_hours(30));
        }
        self.files.clear();
        for _ in 0..4_000 {
            self.pass(Duration::from_mins(30));
            self.schedule();
            self.read_files();
            self.check();
            if self.runs.values().all(|run| run.state.is_final()) {
                return;
            }
        }
        let open: Vec<_> = self.runs.values().filter(|run| !run.state.is_final()).collect();
        panic!("runs that never end: {open:#?}");
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Fire { .. } => "fire",
        Action::Start { .. } => "start",
        Action::End { .. } => "end",
        Action::Signal { .. } => "signal",
        Action::Examine { .. } => "examine",
        Action::Settle { .. } => "settle",
        Action::Count { .. } => "count",
        Action::LookAfter { .. } => "look after",
        Action::LookAtDegradation { .. } => "look at degradation",
        Action::Review { .. } => "review",
        Action::Tell(_) => "tell",
    }
}

/// Every point at which a scheduler can die.
pub(crate) fn points() -> impl Iterator<Item = Point> {
    let all = [
        "fire",
        "start",
        "end",
        "signal",
        "examine",
        "settle",
        "count",
        "look after",
        "look at degradation",
        "review",
        "tell",
    ];
    let written = ["fire", "start", "end", "settle", "review"];
    all.map(Point::Before).into_iter().chain(written.map(Point::Written))
}

/// Read once each: a story reads the same few texts ten thousand times.
fn parse(name: &str, text: &str) -> Job {
    thread_local! {
        static READ: RefCell<HashMap<(String, String), Job>> = RefCell::default();
    }
    let key = (name.to_owned(), text.to_owned());
    READ.with_borrow_mut(|read| read.entry(key).or_insert_with(|| parse_now(name, text)).clone())
}

fn parse_now(name: &str, text: &str) -> Job {
    Job::parse(&Path::new(name).with_extension("toml"), text, &[]).expect("a job")
}

fn owner(pid: i64) -> Owner {
    Owner { host: "here".to_owned(), boot_id: "1".to_owned(), pid, process_start: 0 }
}
