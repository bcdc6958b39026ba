//! Carries out what the core asks for, one transaction, signal or question at a time, and reports back.

use super::core::{Action, Core, Event, Exit, Notice, PlannedRun, Seen, Settlement, settle};
use super::logs::Logs;
use super::wake::Wake;
use super::{Error, look, now, tell, up};
use crate::executor::{self, local};
use crate::host::Cgroup;
use crate::job::{Job, Policy};
use crate::run::{Context, chain};
use crate::store::{self, Claim, Decision, Ending, Lead, NewRun, Outcome, Owner, Run, RunState};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedSender;

/// What it works with.
pub(super) struct Hands {
    context: Context,
    owner: Owner,
    lead: Lead,
    send: UnboundedSender<Wake>,
    pub(super) logs: Logs,
    /// Leaders of the groups that work on this host for runs, whoever started them.
    workers: BTreeMap<i64, (Claim, Owner)>,
}

impl Hands {
    pub(super) fn new(context: &Context, owner: &Owner, lead: Lead, send: UnboundedSender<Wake>) -> Self {
        Self {
            context: context.clone(),
            owner: owner.clone(),
            lead,
            send,
            logs: Logs::default(),
            workers: BTreeMap::new(),
        }
    }

    /// Does one thing and tells the core.
    pub(super) async fn carry_out(&mut self, core: &mut Core, action: Action) -> Result<(), Error> {
        let store = &self.context.store;
        match action {
            Action::Fire { .. } => self.fire(core, vec![action]).await?,
            Action::Start { run_id } => self.start(core, run_id).await?,
            Action::End { claim, run_id, outcome } => self.end(core, claim, run_id, &outcome).await?,
            Action::Signal { claim, kill } => {
                self.signal(claim, kill).await?;
                core.apply(Event::Signalled { run_id: claim.run_id, kill }, now());
            }
            Action::Examine { run_id } => self.examine(core, run_id).await?,
            Action::Settle { claim, seen } => self.settle(core, claim, &seen).await?,
            Action::Count { job } => self.count(core, job),
            Action::LookAfter { job } => {
                if let Some((other, since)) = core.after_since(&job) {
                    let ends = store.ended_since(&other, since).await?;
                    for action in core.after(&job, &ends) {
                        Box::pin(self.carry_out(core, action)).await?;
                    }
                }
                core.apply(Event::LookedAfter { job }, now());
            }
            Action::LookAtDegradation { job } => {
                if let Some((found, trigger)) = core.job(&job).and_then(|j| Some((j, j.triggers.degradation.clone()?)))
                {
                    // a version that cannot be read must not hold up the schedule; predict and evaluate say what is wrong
                    let seen = look::evaluations(&self.context, found).await.unwrap_or_else(|error| {
                        tracing::warn!(%job, error = %chain(&error), "its evaluations could not be looked at");
                        Vec::new()
                    });
                    let worse: Vec<_> = seen.iter().filter_map(|seen| trigger.due(seen).ok()).collect();
                    for seen in seen.iter().filter(|seen| !seen.evaluations.is_empty()) {
                        if worse.iter().all(|worse| worse.target != seen.target) {
                            tell::well_again(store, &job, &seen.target, &seen.version).await?;
                        }
                    }
                    for action in core.degraded(&job, &worse) {
                        Box::pin(self.carry_out(core, action)).await?;
                    }
                }
                core.apply(Event::LookedAtDegradation { job }, now());
            }
            Action::Review { job } => {
                if let Some(policy) = core.job(&job).map(|job| job.policy.clone()) {
                    let n = policy.pause_after_failures;
                    // cancelled runs in between do not count
                    let ends = store.last_ends(&job, n.saturating_mul(4).max(20)).await?;
                    if policy.is_failing(&ends) {
                        let because =
                            if n == 1 { "its last run failed".to_owned() } else { format!("its last {n} runs failed") };
                        store.pause_job(&job, &because).await?;
                        core.apply(Event::Paused(store.paused_jobs().await?), now());
                        core.notice(Notice::Paused { job: job.clone(), because });
                    }
                }
                core.apply(Event::Reviewed { job }, now());
            }
            Action::Tell(notice) => {
                let alerts = core.job(notice.job()).map(|job| &job.alerts);
                tell::tell(store, alerts, &notice).await?;
                core.apply(Event::Told, now());
            }
        }
        Ok(())
    }

    /// Queues the runs of due triggers in one transaction: a disk that takes a millisecond to write holds many jobs up that are
    /// due together.
    pub(super) async fn fire(&mut self, core: &mut Core, fires: Vec<Action>) -> Result<(), Error> {
        let asked: Vec<(&str, &Decision, Vec<NewRun<'_>>)> = fires
            .iter()
            .filter_map(|action| match action {
                Action::Fire { job, decision, runs, .. } => {
                    Some((job.as_str(), decision, runs.iter().map(new_run).collect()))
                }
                _ => None,
            })
            .collect();
        let queued = self.context.store.fire(self.lead, &asked).await?;
        for (action, queued) in fires.into_iter().zip(queued) {
            let Action::Fire { job, decision, notices, .. } = action else { continue };
            for run in &queued {
                tracing::info!(run_id = run.id, job = %run.job, cause = %run.cause, run_key = %run.run_key, "queued");
            }
            if let Some(because) = &decision.skipped_because {
                tracing::info!(%job, %because, "a due trigger started nothing");
            }
            core.apply(Event::Fired { job, decision, runs: queued, notices }, now());
        }
        Ok(())
    }

    async fn start(&mut self, core: &mut Core, run_id: i64) -> Result<(), Error> {
        let store = &self.context.store;
        let nonce = format!("{:016x}", rand::random::<u64>());
        let claim = match store.start_attempt(self.lead, run_id, &self.owner, &nonce).await {
            Ok(claim) => claim,
            Err(store::Error::JobRunning { .. }) => {
                core.apply(Event::Blocked { run_id }, now());
                return Ok(());
            }
            // cancelled meanwhile
            Err(store::Error::NotInState { .. } | store::Error::NoSuchRun(_)) => {
                return self.look_again(core, run_id).await;
            }
            Err(error) => return Err(error.into()),
        };
        let run = store.run(run_id).await?;
        self.logs.follow(run_id, &run.job, local::log_file(&self.context.settings, run_id));
        tracing::info!(run_id, job = %run.job, attempt = claim.attempt, "started");
        let executor = core.job(&run.job).map(|job| job.policy.executor).unwrap_or_default();
        core.apply(Event::Started { run, since: up() }, now());
        let Context { program, settings, .. } = &self.context;
        match executor::start(executor, program, settings, claim, &nonce).await {
            Ok(child) => {
                // not collected yet, so it is there, if only as what is left of it
                match child.id().map(Owner::of_process).transpose() {
                    Ok(worker) => self.workers.extend(worker.map(|worker| (run_id, (claim, worker)))),
                    Err(error) => tracing::warn!(run_id, error = %chain(&error), "its worker cannot be signalled"),
                }
                self.wait_for(claim, child);
            }
            Err(error) => {
                let text = format!("its worker could not be started: {error}");
                store.end_attempt(claim, Ending::Died, &text).await?;
                core.apply(Event::Gone { claim, seen: Seen::Exited(Exit::Unknown) }, now());
            }
        }
        Ok(())
    }

    /// Says when a child has ended. What it left running in its group is killed: nothing of a run outlives its attempt.
    fn wait_for(&self, claim: Claim, mut child: Child) {
        let send = self.send.clone();
        let kills = out_of_memory_kills();
        tokio::spawn(async move {
            let leader = child.id();
            let status = child.wait().await;
            if let Some(leader) = leader
                && let Err(error) = local::signal(i64::from(leader), true)
            {
                tracing::warn!(%error, run_id = claim.run_id, "what the worker left running could not be killed");
            }
            let exit = match status {
                Ok(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(number)) => {
                        let out_of_memory = number == 9 && out_of_memory_kills() > kills;
                        Exit::Signal { number, out_of_memory }
                    }
                    (None, None) => Exit::Unknown,
                },
                Err(_) => Exit::Unknown,
            };
            // the loop is gone only when the daemon ends
            send.send(Wake::Gone { claim, seen: Seen::Exited(exit) }).unwrap_or_default();
        });
    }

    async fn end(
        &mut self,
        core: &mut Core,
        claim: Option<Claim>,
        run_id: i64,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        let store = &self.context.store;
        let ended = match (claim, outcome) {
            (Some(claim), outcome) => store.finish_run(claim, outcome).await,
            (None, Outcome::Cancelled(reason) | Outcome::Failed(reason) | Outcome::TimedOut(reason)) => {
                store.cancel_queued_run(run_id, reason).await
            }
            (None, _) => Ok(()),
        };
        match ended {
            Ok(()) => tracing::info!(run_id, state = %outcome.state(), "ended"),
            // it ended by itself, or goes on as another attempt
            Err(store::Error::Fenced { .. } | store::Error::NotInState { .. } | store::Error::NoSuchRun(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.look_again(core, run_id).await
    }

    async fn look_again(&self, core: &mut Core, run_id: i64) -> Result<(), Error> {
        match self.context.store.run(run_id).await {
            Ok(run) => {
                // one that was waiting for its next attempt has no worker whose end would see to this
                if run.state.is_final() && !core.workers().any(|claim| claim.run_id == run_id) {
                    self.clean_up(run_id);
                }
                core.apply(Event::Settled { run }, now());
            }
            Err(store::Error::NoSuchRun(_)) => core.apply(Event::Forgotten { run_id }, now()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn signal(&self, claim: Claim, kill: bool) -> Result<(), Error> {
        let run = self.context.store.run(claim.run_id).await?;
        let known = self.workers.get(&claim.run_id).filter(|(of, _)| *of == claim).map(|(_, worker)| worker.clone());
        let found = run.owner.filter(|owner| *owner != self.owner && owner.is_local() && owner.is_alive());
        let Some(leader) = known.or(found).map(|worker| worker.pid) else { return Ok(()) };
        tracing::info!(
            run_id = claim.run_id,
            attempt = claim.attempt,
            signal = if kill { "SIGKILL" } else { "SIGTERM" },
            "signalled"
        );
        if let Err(error) = local::signal(leader, kill) {
            tracing::warn!(run_id = claim.run_id, %error, "its worker could not be signalled");
        }
        Ok(())
    }

    /// Kills workers that a signal has stopped, when the state database's lock is held and nobody lets go: one that was stopped
    /// in the middle of a transaction keeps everybody from writing. Their runs are taken up again.
    pub(super) fn end_stopped(&self) {
        for (run_id, (claim, worker)) in self.workers.iter().filter(|(_, (_, worker))| worker.is_stopped()) {
            tracing::error!(
                run_id,
                attempt = claim.attempt,
                pid = worker.pid,
                "the state database is locked and this worker is stopped (SIGSTOP): killed, so that others can write"
            );
            if let Err(error) = local::signal(worker.pid, true) {
                tracing::warn!(run_id, %error, "it could not be killed");
            }
        }
    }

    /// A running run that nobody watches: found after a start, or taken over from another daemon.
    async fn examine(&mut self, core: &mut Core, run_id: i64) -> Result<(), Error> {
        let run = match self.context.store.run(run_id).await {
            Ok(run) => run,
            Err(store::Error::NoSuchRun(_)) => {
                core.apply(Event::Forgotten { run_id }, now());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (Some(claim), Some(owner)) = (run.claim(), run.owner.clone()) else {
            core.apply(Event::Settled { run }, now());
            return Ok(());
        };
        let send = self.send.clone();
        if !owner.is_local() {
            let silence = self.context.settings.daemon.worker_silence;
            let heard = run.heard_at.map_or(silence, |at| (chrono::Utc::now() - at).to_std().unwrap_or_default());
            if heard >= silence {
                core.apply(Event::Gone { claim, seen: Seen::Nothing }, now());
            } else {
                core.apply(Event::Adopted { run, since: up() }, now());
                // looked at again then: a row that was written meanwhile gives it more time
                tokio::spawn(async move {
                    tokio::time::sleep(silence.saturating_sub(heard)).await;
                    send.send(Wake::Gone { claim, seen: Seen::Nothing }).unwrap_or_default();
                });
            }
            return Ok(());
        }
        let watched = local::watch(&owner).map_err(|source| Error::Os { doing: "watch a worker", source })?;
        // the row of an attempt whose worker never took it names the daemon that started it
        let Some(descriptor) = watched.filter(|_| owner != self.owner) else {
            if owner != self.owner && self.context.store.is_taken(claim).await? {
                end_group(claim, &owner);
            }
            core.apply(Event::Gone { claim, seen: Seen::Nothing }, now());
            return Ok(());
        };
        tracing::info!(run_id, job = %run.job, attempt = claim.attempt, pid = owner.pid, "found its worker at work");
        self.logs.follow(run_id, &run.job, local::log_file(&self.context.settings, run_id));
        core.apply(Event::Adopted { run, since: local::began(&owner) }, now());
        self.workers.insert(run_id, (claim, owner.clone()));
        // a thread that waits for years costs nothing, and ends with the daemon
        std::thread::spawn(move || {
            if let Err(error) = local::wait_for(&descriptor) {
                tracing::warn!(%error, run_id, "its worker can no longer be watched, and is looked at again");
            }
            end_group(claim, &owner);
            send.send(Wake::Gone { claim, seen: Seen::Exited(Exit::Unknown) }).unwrap_or_default();
        });
        Ok(())
    }

    async fn settle(&mut self, core: &mut Core, claim: Claim, seen: &Seen) -> Result<(), Error> {
        let store = &self.context.store;
        let run = match store.run(claim.run_id).await {
            Ok(run) => run,
            Err(store::Error::NoSuchRun(run_id)) => {
                core.apply(Event::Forgotten { run_id }, now());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.workers.retain(|_, (of, _)| *of != claim);
        // an attempt that was started by another daemon may have been taken by its worker only after that one was watched
        let at_work = |owner: &Owner| *owner != self.owner && owner.is_local() && owner.is_alive();
        if run.claim() == Some(claim) && run.owner.as_ref().is_some_and(at_work)
            || self.is_heard_elsewhere(&run, claim, seen)
        {
            core.apply(Event::Settled { run }, now());
            return Ok(());
        }
        let attempts = store.attempts(run.id).await?;
        let word = attempts.iter().find(|word| word.attempt == claim.attempt);
        let job = Job::parse(&Path::new(&run.job).with_extension("toml"), &run.job_toml, &[]).ok();
        let policy = job.map_or_else(Policy::default, |job| job.policy);
        let written = match settle(&run, claim, &policy, word, seen, now().wall) {
            Settlement::Over => Ok(()),
            Settlement::Requeue { ending, error, not_before } => {
                tracing::warn!(run_id = run.id, job = %run.job, attempt = claim.attempt, %ending, %error, "to be taken up again");
                store.requeue_run(self.lead, claim, ending, &error, not_before).await
            }
            Settlement::End(outcome) => store.finish_run(claim, &outcome).await,
        };
        match written {
            // somebody cancelled it in this moment
            Ok(()) | Err(store::Error::Fenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let run = store.run(run.id).await?;
        if matches!(seen, Seen::Exited(Exit::Signal { out_of_memory: true, .. })) {
            core.notice(Notice::OutOfMemory { job: run.job.clone(), run_id: run.id });
        }
        if run.state.is_final() {
            tracing::info!(run_id = run.id, job = %run.job, state = %run.state, attempt = run.attempt, "ended");
            self.clean_up(run.id);
        }
        if matches!(run.state, RunState::Failed | RunState::TimedOut) {
            let error = run.error.clone().unwrap_or_default();
            core.notice(Notice::Failed { job: run.job.clone(), run_id: run.id, error });
        }
        core.apply(Event::Settled { run }, now());
        Ok(())
    }

    fn clean_up(&self, run_id: i64) {
        if let Err(error) = local::clean_up(&self.context.settings, run_id) {
            tracing::warn!(run_id, %error, "its checkpoints could not be removed");
        }
    }

    /// A worker on another host that was thought silent and has written since.
    fn is_heard_elsewhere(&self, run: &Run, claim: Claim, seen: &Seen) -> bool {
        let silence = self.context.settings.daemon.worker_silence;
        *seen == Seen::Nothing
            && run.claim() == Some(claim)
            && run.owner.as_ref().is_some_and(|owner| !owner.is_local())
            && run.heard_at.is_some_and(|at| (chrono::Utc::now() - at).to_std().is_ok_and(|heard| heard < silence))
    }

    /// Counting may take as long as the source pleases: not in the loop.
    fn count(&self, core: &Core, job: String) {
        let Some(found) = core.job(&job).cloned() else { return };
        let (context, send) = (self.context.clone(), self.send.clone());
        tokio::spawn(async move {
            let counted = async {
                let last_ended = context.store.last_ended(&job).await?;
                Ok::<_, crate::run::Error>((look::new_rows(&context, &found).await?, last_ended))
            };
            let (new_rows, last_ended) = match counted.await {
                Ok((new_rows, last_ended)) => (Some(new_rows), last_ended),
                Err(error) => {
                    tracing::warn!(%job, error = %chain(&error), "new rows could not be counted; trying again later");
                    (None, None)
                }
            };
            send.send(Wake::Counted { job, new_rows, last_ended }).unwrap_or_default();
        });
    }
}

/// Kills what a worker that is gone, and was no child of this process, left running.
fn end_group(claim: Claim, worker: &Owner) {
    if let Err(error) = local::end_group(worker) {
        tracing::warn!(%error, run_id = claim.run_id, "what the worker left running could not be killed");
    }
}

/// Kills for memory in this process's control group so far, which its workers share. None: nobody counts.
fn out_of_memory_kills() -> Option<u64> {
    Cgroup::of(std::process::id())?.oom_kills()
}

fn new_run(planned: &PlannedRun) -> NewRun<'_> {
    NewRun {
        run_key: &planned.run_key,
        job: &planned.job,
        kind: &planned.kind,
        cause: &planned.cause,
        job_toml: &planned.job_toml,
        scheduled_for: planned.scheduled_for,
    }
}
