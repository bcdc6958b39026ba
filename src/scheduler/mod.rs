//! The scheduler: one loop over a closed set of wakes. Job files and the state database go in; worker processes, rows and
//! notices come out.
//!
//! What to do is decided in [`core`], a pure function; the rest of this room carries it out and reports back. Whatever the
//! loop knows can be forgotten: after a crash it is read again from the state database and from /proc.

pub mod core;

mod error;
mod files;
mod hands;
mod lead;
mod leavings;
mod logs;
mod look;
mod reload;
mod status;
mod tell;
mod timer;
mod wake;

pub use error::Error;

use self::core::{Action, Core, Event, Limits, Now};
use crate::alert;
use crate::run::{self, Context, chain};
use crate::store::{self, JobRow, Owner};
use chrono::{DateTime, TimeDelta, Utc};
use files::Files;
use hands::Hands;
use lead::Place;
use status::Status;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timer::Timer;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use wake::Wake;

/// How often the bell is asked for, and the watchdog is told that the loop runs.
const TICK: Duration = Duration::from_millis(500);
/// How long the directory of job files must be quiet before it is read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(150);
/// How long changes that do not end may put that off.
const LONGEST: Duration = Duration::from_secs(1);
/// How often job files are looked at without a word from the kernel, which loses some on network file systems.
const RESCAN: Duration = Duration::from_mins(1);
/// How often another daemon's place is asked for, where there is one.
const STAND_BY: Duration = Duration::from_secs(2);
/// How often a sign of life is written for other daemons.
const KEEP: Duration = Duration::from_secs(3);
/// Steps without a pause that would be a defect.
const MOST_TURNS: usize = 10_000;
/// Due triggers that are written down in one transaction.
const MOST_FIRES: usize = 1_000;

/// Schedules until a signal says stop. With PostgreSQL, waits for its turn while another daemon schedules.
pub async fn serve(context: Context) -> Result<(), Error> {
    let owner = Owner::this_process()?;
    let (send, mut wakes) = unbounded_channel();
    wake::on_signals(&send).map_err(|source| Error::Os { doing: "wait for signals", source })?;
    let mut status = Status::new();
    let mut stood_by = false;
    loop {
        let place = match lead::take(&context.store, &owner).await {
            Ok(place) => place,
            // one that has stood by also waits for a database that is away
            Err(error) if lead::is_taken(&error) || stood_by => {
                stood_by = true;
                status.standing_by(&chain(&error));
                if told_to_stop(&mut wakes).await {
                    status::stopping();
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        run::reconcile(&context).await?;
        if let Err(error) = leavings::remove_checkpoints(&context).await {
            tracing::warn!(error = %chain(&error), "checkpoints of runs that have ended could not be removed");
        }
        let mut scheduler = Scheduler::new(&context, &owner, place, send.clone(), status).await?;
        // whoever schedules also watches runs and delivers alerts; what they say stands in the log
        let (ending, over) = tokio::sync::oneshot::channel::<()>();
        let over = async { over.await.unwrap_or_default() };
        let (store, settings) = (context.store.clone(), context.settings.clone());
        let alerts = tokio::spawn(alert::serve(store, settings, Arc::new(|_| ()), over));
        let old = tokio::spawn(leavings::tend(context.clone()));
        let result = scheduler.run(&mut wakes).await;
        old.abort();
        drop(ending);
        if let Err(panic) = alerts.await {
            tracing::error!(%panic, "the alerts ended before their time; those that are raised stay in the state database");
        }
        let Scheduler { place, status: ended, .. } = scheduler;
        status = ended;
        match result {
            Ok(()) => {
                status::stopping();
                // the next daemon need not wait for the lease to expire
                if let Err(error) = context.store.give_up_lead(place.lead).await {
                    tracing::warn!(error = %chain(&error), "the place could not be given back; it is free when it expires");
                }
                return Ok(());
            }
            // the workers go on; whoever has the place now finds and watches them
            Err(error) if lead::is_taken(&error) => {
                tracing::warn!(error = %chain(&error), "another daemon schedules from now on");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits a moment for another daemon's place. True: a signal said stop.
async fn told_to_stop(wakes: &mut UnboundedReceiver<Wake>) -> bool {
    let until = Instant::now() + STAND_BY;
    loop {
        tokio::select! {
            () = sleep_until(until) => return false,
            wake = wakes.recv() => if matches!(wake, Some(Wake::Terminate) | None) { return true },
            () = tokio::time::sleep(TICK) => status::alive(),
        }
    }
}

/// The loop and what it holds.
struct Scheduler {
    context: Context,
    place: Place,
    core: Core,
    hands: Hands,
    timer: Timer,
    status: Status,
    send: UnboundedSender<Wake>,
    rows: BTreeMap<String, JobRow>,
    files: Files,
    ready: bool,
    last_bell: Option<i64>,
    /// Ends of runs before then were looked at.
    seen_up_to: DateTime<Utc>,
    last_kept: Instant,
    last_reaped: Option<Instant>,
    /// The state database does not answer: nothing is tried before then.
    away_until: Option<Instant>,
}

impl Scheduler {
    async fn new(
        context: &Context,
        owner: &Owner,
        place: Place,
        send: UnboundedSender<Wake>,
        status: Status,
    ) -> Result<Self, Error> {
        let settings = &context.settings.daemon;
        let limits = Limits {
            max_running: settings.max_running.get() as usize,
            grace: settings.grace,
            stop_grace: settings.stop_grace,
        };
        let rows = context.store.jobs(true).await?.into_iter().map(|row| (row.name.clone(), row)).collect();
        let now = Instant::now();
        Ok(Self {
            hands: Hands::new(context, owner, place.lead, send.clone()),
            timer: Timer::start(send.clone()).await?,
            context: context.clone(),
            place,
            core: Core::new(limits),
            status,
            send,
            rows,
            files: Files::new(now),
            ready: false,
            last_bell: None,
            seen_up_to: Utc::now(),
            last_kept: now,
            last_reaped: None,
            away_until: None,
        })
    }

    /// Until a stop is complete.
    async fn run(&mut self, wakes: &mut UnboundedReceiver<Wake>) -> Result<(), Error> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let quiet = self.files.read_at.unwrap_or_else(Instant::now);
            let due = self.timer.instant();
            let wake = tokio::select! {
                wake = wakes.recv() => wake.unwrap_or(Wake::Terminate),
                () = sleep_until(quiet), if self.files.read_at.is_some() => Wake::Settled,
                () = sleep_until(due.map_or_else(Instant::now, Instant::from_std)), if due.is_some() => Wake::Due,
                _ = tick.tick() => Wake::Tick,
            };
            // ten thousand files that are written are thirty thousand of these
            let only_files = matches!(wake, Wake::Files);
            self.take_in(wake).await?;
            if only_files {
                continue;
            }
            self.act().await?;
            self.timer.arm(self.core.next_fire().map(|(at, _)| at)).await;
            if self.core.is_stopped() {
                return Ok(());
            }
            self.report().await;
        }
    }

    /// Everything that starts something is in this one match.
    async fn take_in(&mut self, wake: Wake) -> Result<(), Error> {
        let now = now();
        match wake {
            Wake::Tick => self.tick().await?,
            Wake::Timer => self.timer.went_off(),
            Wake::Due => self.timer.reached(),
            Wake::Files => self.files.change(Instant::now()),
            Wake::Settled => self.read_files(false),
            Wake::Loaded(loaded) => self.take_jobs(loaded).await?,
            Wake::Gone { claim, seen } => {
                self.hands.logs.finish(claim.run_id);
                self.core.apply(Event::Gone { claim, seen }, now);
            }
            Wake::Counted { job, new_rows, last_ended } => {
                self.core.apply(Event::Counted { job, new_rows, last_ended }, now);
            }
            Wake::Hangup => {
                tracing::info!("SIGHUP: reading the job files again");
                status::reloading();
                self.read_files(true);
            }
            Wake::Terminate => {
                tracing::info!(again = self.core.is_stopping(), "stopping: workers may write their checkpoints");
                status::stopping();
                self.core.apply(Event::Stop, now);
            }
            Wake::Dump => tracing::info!(core = ?self.core, "SIGUSR1: what is known"),
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), Error> {
        status::alive();
        self.hands.logs.forward();
        if self.core.is_stopping() {
            status::more_time();
        }
        if !self.files.reading && self.files.watcher.is_none() || self.files.last_scan.elapsed() >= RESCAN {
            self.files.last_scan = Instant::now();
            self.files.read_at.get_or_insert_with(Instant::now);
        }
        let looked = self.look().await;
        self.or_later(looked).map(drop)
    }

    /// Looks what others have written into the state database.
    async fn look(&mut self) -> Result<(), Error> {
        if self.away_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let store = &self.context.store;
        if self.last_kept.elapsed() >= KEEP {
            self.place.check_file()?;
            store.keep_lead(self.place.lead).await?;
            self.last_kept = Instant::now();
        }
        let (bell, lead) = store.bell().await?;
        if lead != self.place.lead {
            return Err(store::Error::NotLeading { holder: "another daemon".to_owned() }.into());
        }
        // runs of `retraind run` whose process is gone ring no bell
        if self.last_reaped.is_none_or(|at| at.elapsed() >= 10 * TICK) {
            self.last_reaped = Some(Instant::now());
            for run in store.reap(Owner::is_alive).await? {
                tracing::warn!(run_id = run.id, job = %run.job, "a run in the foreground was killed");
            }
        }
        if self.last_bell != Some(bell) {
            let now = now();
            self.core.apply(Event::Open(store.open_runs().await?), now);
            self.core.apply(Event::Paused(store.paused_jobs().await?), now);
            self.core.apply(Event::Ended(store.jobs_that_ended(self.seen_up_to).await?), now);
            // a little twice rather than not at all: other processes' clocks and commits come late
            self.seen_up_to = now.wall - TimeDelta::seconds(5);
            self.last_bell = Some(bell);
        }
        self.away_until = None;
        Ok(())
    }

    /// Carries out what is due, until nothing is.
    async fn act(&mut self) -> Result<(), Error> {
        if !self.ready || self.away_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        for _ in 0..MOST_TURNS {
            let actions = self.core.decide(now());
            if actions.is_empty() {
                return Ok(());
            }
            let mut actions = VecDeque::from(actions);
            while let Some(action) = actions.pop_front() {
                let done = if matches!(action, Action::Fire { .. }) {
                    let mut fires = vec![action];
                    while matches!(actions.front(), Some(Action::Fire { .. })) && fires.len() < MOST_FIRES {
                        fires.extend(actions.pop_front());
                    }
                    self.hands.fire(&mut self.core, fires).await
                } else {
                    self.hands.carry_out(&mut self.core, action).await
                };
                if !self.or_later(done)? {
                    return Ok(());
                }
            }
        }
        tracing::error!(
            "the scheduler does not come to rest, which is a defect of retraind; SIGUSR1 shows what it knows"
        );
        Ok(())
    }

    /// Whether it was done. A database that does not answer is asked again in a moment: nothing is lost meanwhile.
    fn or_later(&mut self, result: Result<(), Error>) -> Result<bool, Error> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if lead::is_taken(&error) || matches!(error, Error::Replaced(_)) => Err(error),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "not done yet; trying again in a second");
                if error.is_locked() {
                    self.hands.end_stopped();
                }
                self.away_until = Some(Instant::now() + 2 * TICK);
                self.last_bell = None;
                Ok(false)
            }
        }
    }

    async fn report(&mut self) {
        if self.ready && !self.core.is_stopping() {
            self.status.say(&self.context.store, self.place.lead, &self.core).await;
        }
    }
}

/// Both clocks.
fn now() -> Now {
    Now { wall: Utc::now(), up: up() }
}

/// Time since the host started, suspended time included.
fn up() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
