//! What is told, as plain data: the facts of one condition, and what a person can do about it.

use super::advice;
use crate::job::Alerts;
use crate::store::Run;
use crate::watch::{Finding, Rule, Severity};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Something that deserves a person's attention, with all that a message says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// What kind of thing.
    pub rule: Rule,
    /// How urgent it is.
    pub severity: Severity,
    /// Whose; empty where no job is concerned.
    pub job: String,
    /// Which model, if one is concerned.
    pub target: Option<String>,
    /// Which run, if one is concerned.
    pub run_id: Option<i64>,
    /// Which occurrence. Raising the same one again is no new alert, so this must not change while it lasts.
    pub onset: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// One line: what is the matter.
    pub summary: String,
    /// What was measured.
    pub value: Option<String>,
    /// What was asked.
    pub limit: Option<String>,
    /// The epoch that decided it, from 1.
    pub epoch: Option<i64>,
    /// More facts, a line each.
    pub details: Vec<String>,
    /// What retraind did about it.
    pub done: String,
    /// What a person can do, a sentence each.
    pub advice: Vec<String>,
    /// The commands for that.
    pub commands: Vec<String>,
    /// Who gets it; empty: those whom the settings name.
    pub recipients: Vec<String>,
}

impl Condition {
    /// A condition with what is always said of its rule; the facts are filled in by the caller.
    pub fn new(rule: Rule, job: &str, onset: impl Into<String>, summary: impl Into<String>) -> Self {
        let condition = Self {
            rule,
            severity: rule.severity(),
            job: job.to_owned(),
            target: None,
            run_id: None,
            onset: onset.into(),
            since: Utc::now(),
            summary: summary.into(),
            value: None,
            limit: None,
            epoch: None,
            details: Vec::new(),
            done: String::new(),
            advice: Vec::new(),
            commands: Vec::new(),
            recipients: Vec::new(),
        };
        advice::advise(condition)
    }

    /// The same, of a run and maybe of one of its models.
    #[must_use]
    pub fn of_run(self, run_id: i64, target: Option<&str>) -> Self {
        advice::advise(Self { run_id: Some(run_id), target: target.map(str::to_owned), ..self })
    }

    /// The same with what was measured and what was asked.
    #[must_use]
    pub fn measured(self, value: impl Into<String>, limit: impl Into<String>) -> Self {
        Self { value: Some(value.into()), limit: Some(limit.into()), ..self }
    }

    /// The same for the people whom its job names.
    #[must_use]
    pub fn addressed(self, alerts: &Alerts) -> Self {
        let critical = self.severity == Severity::Critical && !alerts.to_critical.is_empty();
        let recipients = if critical { &alerts.to_critical } else { &alerts.to };
        Self { recipients: recipients.clone(), ..self }
    }

    /// What a rule found while a run was watched.
    pub fn found(run: &Run, target: Option<&str>, attempt: i64, finding: Finding, since: DateTime<Utc>) -> Self {
        let onset = onset(run.id, attempt, &finding.onset);
        let condition = Self::new(finding.rule, &run.job, onset, finding.summary).of_run(run.id, target);
        Self { since, epoch: finding.epoch, ..condition }.measured(finding.value, finding.limit)
    }

    /// A run that failed or timed out for good.
    pub fn run_failed(run: &Run) -> Self {
        let error = run.error.clone().unwrap_or_else(|| "no reason is recorded".to_owned());
        let attempts = if run.attempt > 1 { format!(" after {} attempts", run.attempt) } else { String::new() };
        let condition = Self::new(
            Rule::RunFailed,
            &run.job,
            format!("run {}", run.id),
            format!("{}{attempts}: {error}", run.state.as_str().replace('_', " ")),
        )
        .of_run(run.id, None);
        Self { since: run.ended_at.unwrap_or(condition.since), details: vec![error], ..condition }
    }

    /// A job file that cannot be used as it is; `problem` as `retraind check` says it. Over when it can be again:
    /// [`super::resolve`] the rule for the job.
    pub fn job_file_broken(job: &str, problem: &str) -> Self {
        let first = problem.lines().next().unwrap_or_default();
        let onset = format!("since {}", instant(Utc::now()));
        let condition = Self::new(Rule::JobFileBroken, job, onset, format!("the job file is broken: {first}"));
        Self { details: problem.lines().map(str::to_owned).collect(), ..condition }
    }

    /// A job whose triggers start nothing any more. Over when it is resumed.
    pub fn paused(job: &str, because: &str) -> Self {
        let onset = format!("since {}", instant(Utc::now()));
        Self::new(Rule::Paused, job, onset, format!("the job is paused: {because}"))
    }

    /// A fire time that passed without the job being started. `why` completes "… was missed: ".
    pub fn missed_fire(job: &str, at: DateTime<Utc>, why: &str) -> Self {
        let summary = format!("the start of {} was missed: {why}", at.format("%Y-%m-%d %H:%M:%SZ"));
        let condition = Self::new(Rule::MissedFire, job, format!("fire {}", instant(at)), summary);
        Self { since: at, ..condition }
    }

    /// A version in service that has become worse. Over when it is not, or no longer in service.
    pub fn degradation(job: &str, target: &str, version: &str, value: &str, limit: &str) -> Self {
        let summary = format!("{version} in service has become worse: {value}");
        let condition = Self::new(Rule::Degradation, job, format!("{version} since {}", instant(Utc::now())), summary);
        advice::advise(Self { target: Some(target.to_owned()), ..condition }).measured(value, limit)
    }

    /// A worker that the kernel killed because its cgroup was out of memory; where and at which limit, if that is known.
    pub fn out_of_memory(run: &Run, attempt: i64, cgroup: &str, limit: &str) -> Self {
        let summary = format!("attempt {attempt} was killed: no memory was left in its cgroup");
        Self::new(Rule::OutOfMemory, &run.job, onset(run.id, attempt, "killed"), summary)
            .of_run(run.id, None)
            .measured(format!("killed by the kernel in {cgroup}"), limit)
    }
}

/// An occurrence within a run.
pub(super) fn onset(run_id: i64, attempt: i64, what: &str) -> String {
    format!("run {run_id} attempt {attempt} {what}")
}

fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
