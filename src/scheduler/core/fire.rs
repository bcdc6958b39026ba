//! Due triggers: which runs they ask for, and which of those the job's overlap rule lets through.

use super::{Action, Core, Notice, Now, PlannedRun, overlap};
use crate::job::{Job, Overlap};
use crate::store::{Decision, Outcome, RunState};
use crate::trigger::catch_up::{Due, due};
use crate::trigger::data_volume;
use crate::trigger::degradation::Worse;
use chrono::{DateTime, SecondsFormat, Utc};

impl Core {
    /// Jobs that the clock makes due.
    pub(super) fn clock(&mut self, now: Now, actions: &mut Vec<Action>) {
        let ready: Vec<String> =
            self.due.iter().take_while(|(next, _)| *next <= now.wall).map(|(_, name)| name.clone()).collect();
        let before = actions.len();
        for name in ready {
            let Some(state) = self.jobs.get(&name) else { continue };
            let Some((schedule, cron)) = state.schedule.as_ref().zip(state.job.triggers.cron.as_ref()) else {
                continue;
            };
            let decided = state.row.fired_up_to.unwrap_or(now.wall);
            let delay = cron.delay(&name);
            let Due { fires, missed, last_missed, up_to } =
                due(schedule, decided, now.wall, delay, cron.catch_up, cron.catch_up_window);
            let Some(up_to) = up_to else {
                // the clock was set back since `next` was computed
                self.set_next(&name, now);
                continue;
            };
            let told = last_missed.filter(|_| state.row.paused_at.is_none());
            let notices = told.map(|last| Notice::Missed { job: name.clone(), n: missed, last }).into_iter().collect();
            let keys = fires.iter().map(|fire| (instant(*fire), Some(*fire))).collect();
            let decision = Decision { fired_up_to: Some(up_to), ..Decision::default() };
            self.ask(&name, "cron", keys, decision, notices, actions);
        }
        // what is replaced ends first; then all that is due can be written down at once
        actions[before..].sort_by_key(|action| matches!(action, Action::Fire { .. }));
    }

    /// Rows were counted.
    pub(super) fn counted(&mut self, job: &str, new_rows: Option<u64>, last_ended: Option<DateTime<Utc>>, now: Now) {
        let Some(state) = self.jobs.get_mut(job) else { return };
        let Some(trigger) = &state.job.triggers.data_volume else { return };
        state.counting = false;
        state.count_at = now.up + trigger.poll;
        let Some(new_rows) = new_rows else { return };
        state.volume_due = trigger.due(data_volume::Seen { new_rows, last_ended }, now.wall).ok().map(|()| now.wall);
    }

    /// Runs of the other job that the trigger `after` waits for: when they ended, which, and how.
    pub fn after(&mut self, job: &str, ends: &[(DateTime<Utc>, i64, RunState)]) -> Vec<Action> {
        let Some(trigger) = self.jobs.get(job).and_then(|state| state.job.triggers.after.clone()) else {
            return Vec::new();
        };
        let keys: Vec<_> = ends
            .iter()
            .filter(|(_, _, state)| trigger.due(state.as_str()))
            .map(|(_, run_id, _)| (format!("{}-{run_id}", trigger.job), None))
            .collect();
        let up_to = ends.iter().map(|(at, _, _)| *at).max();
        let decision = Decision { after_up_to: up_to, ..Decision::default() };
        let mut actions = Vec::new();
        if up_to.is_some() {
            self.ask(job, "after", keys, decision, Vec::new(), &mut actions);
        }
        actions
    }

    /// Versions that have become worse.
    pub fn degraded(&mut self, job: &str, worse: &[Worse]) -> Vec<Action> {
        let mut actions = Vec::new();
        // one run retrains them all
        let Some(first) = worse.first() else { return actions };
        let key = format!("{}-{}-{}", first.target, first.version, instant(first.measured_at));
        let notices = worse.iter().map(|worse| Notice::Degraded {
            job: job.to_owned(),
            target: worse.target.clone(),
            version: worse.version.clone(),
            ratio: worse.ratio,
            limit: worse.limit,
        });
        self.ask(job, "degradation", vec![(key, None)], Decision::default(), notices.collect(), &mut actions);
        actions
    }

    /// Asks for a run for each key, as far as pauses and overlap allow.
    pub(super) fn ask(
        &self,
        job: &str,
        cause: &str,
        keys: Vec<(String, Option<DateTime<Utc>>)>,
        mut decision: Decision,
        notices: Vec<Notice>,
        actions: &mut Vec<Action>,
    ) {
        let Some(state) = self.jobs.get(job) else { return };
        let mut runs: Vec<PlannedRun> = keys
            .into_iter()
            .map(|(key, scheduled_for)| PlannedRun {
                run_key: format!("{job}/{cause}/{key}"),
                job: job.to_owned(),
                kind: state.job.kind.name().to_owned(),
                cause: cause.to_owned(),
                job_toml: state.toml.clone(),
                scheduled_for,
            })
            .collect();
        if !runs.is_empty() {
            let refused = match &state.row.paused_because {
                Some(because) => Some(format!("{job} is paused: {because}")),
                None => self.in_the_way(&state.job),
            };
            if let Some(refused) = refused {
                decision.skipped_because = Some(refused);
                runs.clear();
            }
        }
        if overlap(&state.job) == Overlap::Cancel && !runs.is_empty() {
            for open in self.open_of(job) {
                let reason = format!("replaced by a newer run ({cause}; overlap = \"cancel\")");
                actions.push(Action::End { claim: open.claim(), run_id: open.id, outcome: Outcome::Cancelled(reason) });
            }
        }
        actions.push(Action::Fire { job: job.to_owned(), decision, runs, notices });
    }

    /// Why a due trigger of the job starts nothing now.
    fn in_the_way(&self, job: &Job) -> Option<String> {
        match overlap(job) {
            Overlap::Skip => {
                let open = self.open_of(&job.name).next()?;
                let state = if open.state == RunState::Running { "is under way" } else { "is waiting" };
                Some(format!("run {} {state} (overlap = \"skip\")", open.id))
            }
            Overlap::Queue => {
                let waiting = self.open_of(&job.name).find(|run| run.state == RunState::Queued)?;
                Some(format!("run {} is waiting already (overlap = \"queue\")", waiting.id))
            }
            Overlap::Cancel => None,
        }
    }
}

/// As it stands in run keys.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
