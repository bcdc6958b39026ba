//! What to do now.

use super::fire::instant;
use super::{Action, Core, Now, QUEUE, overlap};
use crate::job::Overlap;
use crate::store::{Decision, Outcome, RunState};
use std::time::Duration;

/// From the second SIGTERM to SIGKILL for the workers.
const FAST: Duration = Duration::from_secs(2);

impl Core {
    /// The actions that are due, in the order in which they are to be done. Asking again before they are reported gives them
    /// again; when none are left, there is nothing to do before the next event or the next due time.
    pub fn decide(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.watch(now, &mut actions);
        actions.extend(self.gone.values().map(|(claim, seen)| Action::Settle { claim: *claim, seen: seen.clone() }));
        self.examine(&mut actions);
        if self.stop.is_none() {
            self.limit_wishes(&mut actions);
            self.clock(now, &mut actions);
            self.questions(now, &mut actions);
            // what is queued or ended above has to be seen before capacity is given away
            if actions.is_empty() {
                self.start(now, &mut actions);
            }
        }
        actions.extend(self.notices.last().cloned().map(Action::Tell));
        actions
    }

    /// Workers that are to end: by their time limit, because their run has ended, because the daemon stops.
    fn watch(&self, now: Now, actions: &mut Vec<Action>) {
        for (run_id, worker) in &self.workers {
            let open = self.runs.get(run_id).filter(|open| open.run.claim() == Some(worker.claim));
            let limit = open.and_then(|open| open.job.as_ref()?.policy.timeout);
            let late = limit.filter(|limit| now.up.saturating_sub(worker.since) > *limit);
            if let Some(limit) = late.filter(|_| self.stop.is_none()) {
                let limit = humantime::format_duration(limit);
                let outcome = Outcome::TimedOut(format!("it took longer than {limit} (`[run] timeout`)"));
                actions.push(Action::End { claim: Some(worker.claim), run_id: *run_id, outcome });
                continue;
            }
            if open.is_some() && self.stop.is_none() {
                continue;
            }
            let claim = worker.claim;
            let grace = match self.stop {
                Some(stop) if stop.fast => FAST,
                Some(_) => self.limits.stop_grace,
                None => self.limits.grace,
            };
            // the grace begins anew with a second signal
            let since = self.stop.map_or(Duration::ZERO, |stop| stop.since);
            match (worker.asked, worker.killed) {
                (None, _) => actions.push(Action::Signal { claim, kill: false }),
                (Some(asked), None) if now.up.saturating_sub(asked.max(since)) >= grace => {
                    actions.push(Action::Signal { claim, kill: true });
                }
                // the kernel may take its time; a group may have gained members
                (Some(_), Some(killed)) if now.up.saturating_sub(killed) >= self.limits.grace => {
                    actions.push(Action::Signal { claim, kill: true });
                }
                _ => {}
            }
        }
    }

    /// Running runs that nobody watches.
    fn examine(&self, actions: &mut Vec<Action>) {
        let unwatched = self.runs.values().map(|open| &open.run).filter(|run| {
            run.state == RunState::Running
                && run.supervised
                && !self.workers.contains_key(&run.id)
                && !self.gone.contains_key(&run.id)
        });
        actions.extend(unwatched.map(|run| Action::Examine { run_id: run.id }));
    }

    /// People's wishes obey the overlap rule as well; those with settings of their own wait for their turn.
    fn limit_wishes(&self, actions: &mut Vec<Action>) {
        for (id, open) in &self.runs {
            let run = &open.run;
            if run.state != RunState::Queued || run.attempt > 0 || run.cause != "person" {
                continue;
            }
            let Some(job) = &open.job else {
                let outcome = Outcome::Cancelled("this version of retraind cannot read its job".to_owned());
                actions.push(Action::End { claim: None, run_id: *id, outcome });
                continue;
            };
            let mut older = self.open_of(&run.job).filter(|other| other.id < *id);
            let refused = match overlap(job) {
                Overlap::Skip => {
                    older.next().map(|other| format!("run {} was not over (overlap = \"skip\")", other.id))
                }
                Overlap::Queue => {
                    let waiting: Vec<_> = older.filter(|other| other.state == RunState::Queued).collect();
                    match waiting.iter().find(|other| other.job_toml == run.job_toml) {
                        Some(other) => Some(format!("run {} was waiting already and is the same", other.id)),
                        None if waiting.len() >= QUEUE => Some(format!("{QUEUE} runs of the job were waiting already")),
                        None => None,
                    }
                }
                Overlap::Cancel => {
                    for other in older {
                        let reason = format!("replaced by run {id} (overlap = \"cancel\")");
                        let outcome = Outcome::Cancelled(reason);
                        actions.push(Action::End { claim: other.claim(), run_id: other.id, outcome });
                    }
                    None
                }
            };
            if let Some(refused) = refused {
                let outcome = Outcome::Cancelled(format!("not started: {refused}"));
                actions.push(Action::End { claim: None, run_id: *id, outcome });
            }
        }
    }

    /// What has to be looked up before triggers and failures can be judged.
    fn questions(&mut self, now: Now, actions: &mut Vec<Action>) {
        actions.extend(self.ended.iter().map(|job| Action::Review { job: job.clone() }));
        let mut volume_due = Vec::new();
        for name in &self.asking {
            let open = self.open.contains_key(name);
            let Some(state) = self.jobs.get_mut(name) else { continue };
            let triggers = &state.job.triggers;
            if let Some(at) = state.volume_due.take() {
                volume_due.push((name.clone(), at));
            }
            if triggers.data_volume.is_some() && !state.counting && now.up >= state.count_at && !open {
                state.counting = true;
                actions.push(Action::Count { job: name.clone() });
            }
            if state.look_after {
                match triggers.after {
                    Some(_) => actions.push(Action::LookAfter { job: name.clone() }),
                    None => state.look_after = false,
                }
            }
            if state.look_degradation {
                match triggers.degradation {
                    Some(_) => actions.push(Action::LookAtDegradation { job: name.clone() }),
                    None => state.look_degradation = false,
                }
            }
        }
        for (name, at) in volume_due {
            self.ask(&name, "data_volume", vec![(instant(at), Some(at))], Decision::default(), Vec::new(), actions);
        }
    }

    /// Queued runs that there is room for.
    fn start(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.blocked.retain(|_, until| now.up < *until);
        let running = self.runs.values().filter(|open| open.run.state == RunState::Running);
        let unwatched = running.clone().filter(|open| !self.workers.contains_key(&open.run.id)).count();
        // a worker that has not ended yet takes room, whatever its run's row says
        let mut room = self.limits.max_running.saturating_sub(self.workers.len() + unwatched);
        let mut busy: Vec<&str> = running.map(|open| open.run.job.as_str()).collect();
        busy.extend(self.workers.values().map(|worker| worker.job.as_str()));
        for (id, open) in &self.runs {
            if room == 0 {
                return;
            }
            let run = &open.run;
            // a pause longer than any there is: the clock was set back
            let longest = open.job.as_ref().map_or(Duration::ZERO, |job| job.policy.retry_delay_max);
            let waits = run.not_before.is_some_and(|until| {
                until > now.wall && (until - now.wall).to_std().is_ok_and(|pause| pause <= longest)
            });
            if run.state != RunState::Queued
                || waits
                || self.blocked.contains_key(id)
                || busy.contains(&run.job.as_str())
            {
                continue;
            }
            busy.push(&run.job);
            room -= 1;
            actions.push(Action::Start { run_id: *id });
        }
    }
}
