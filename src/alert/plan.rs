//! What is to be told now: alerts, silences and the time go in, groups of notices come out. Pure.

use super::Rule;
use crate::store::{Alert, AlertState, Notice, Silence, Telling, Told};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

/// When things are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// How long a first notice waits for others.
    pub(super) group_wait: Duration,
    /// How often what still holds is told again.
    pub(super) repeat_every: Duration,
    /// Wait for nothing: nobody will be here to tell later.
    pub(super) at_once: bool,
}

/// Notices that go out as one message, and what is told by not being told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// By what they are about; messages about the same keep their order.
    pub(super) groups: BTreeMap<String, Vec<Due>>,
    /// Over before anybody was told, while nobody wanted to hear of it.
    pub(super) quiet: Vec<Telling>,
}

/// One notice of a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    pub(super) alert: Alert,
    pub(super) notice: Notice,
    pub(super) telling: Telling,
}

/// Decides what is told at `now`.
pub(super) fn plan(alerts: &[Alert], silences: &[Silence], now: DateTime<Utc>, timing: Timing) -> Plan {
    let mut plan = Plan::default();
    let mut waiting: BTreeMap<&str, Vec<(DateTime<Utc>, Due)>> = BTreeMap::new();
    for alert in alerts {
        // who was told that it holds also hears that it is over
        let to_be_ended = alert.state == AlertState::Resolved && alert.told == Told::Firing;
        let hidden =
            is_silenced(alert, silences, now) || (!to_be_ended && alerts.iter().any(|source| inhibits(source, alert)));
        let Some((notice, to, due)) = next(alert, timing) else { continue };
        let telling = Telling { alert_id: alert.id, from: alert.told, to };
        match (hidden, alert.state) {
            (true, AlertState::Firing) => {}
            (true, AlertState::Resolved) => plan.quiet.push(telling),
            (false, _) => {
                waiting.entry(topic(alert)).or_default().push((due, Due { alert: alert.clone(), notice, telling }));
            }
        }
    }
    for (topic, notices) in waiting {
        let first = |notice: Notice| notice != Notice::Reminder;
        let is_due = |(due, notice): &(DateTime<Utc>, Due)| *due <= now || (timing.at_once && first(notice.notice));
        if !notices.iter().any(is_due) {
            continue;
        }
        // what would be told within the time that a group waits goes along
        let soon = now + timing.group_wait;
        let group = notices.into_iter().filter(|notice| is_due(notice) || notice.0 <= soon).map(|(_, due)| due);
        let mut group: Vec<Due> = group.collect();
        // what is new comes before what is over
        group.sort_by_key(|due| due.notice == Notice::Recovery);
        plan.groups.insert(topic.to_owned(), group);
    }
    plan
}

/// The job; of a test itself, so that it does not queue behind what could not be delivered so far.
fn topic(alert: &Alert) -> &str {
    if alert.rule == Rule::Test.as_str() { &alert.onset } else { &alert.job }
}

/// What is to be said next of an alert, what is told then, and from when on.
fn next(alert: &Alert, timing: Timing) -> Option<(Notice, Told, DateTime<Utc>)> {
    let told_at = alert.told_at.unwrap_or(alert.first_seen);
    match (alert.state, alert.told) {
        (_, Told::Resolved) => None,
        (AlertState::Firing, Told::Nothing) => {
            Some((Notice::Firing, Told::Firing, alert.first_seen + timing.group_wait))
        }
        (AlertState::Firing, Told::Firing) => Some((Notice::Reminder, Told::Firing, told_at + timing.repeat_every)),
        // one message says both: that it was, and that it is over
        (AlertState::Resolved, Told::Nothing) => {
            Some((Notice::Firing, Told::Resolved, alert.first_seen + timing.group_wait))
        }
        (AlertState::Resolved, Told::Firing) => {
            Some((Notice::Recovery, Told::Resolved, alert.resolved_at.unwrap_or(told_at) + timing.group_wait))
        }
    }
}

fn is_silenced(alert: &Alert, silences: &[Silence], now: DateTime<Utc>) -> bool {
    silences.iter().any(|s| s.until > now && s.rule == alert.rule && (s.job.is_empty() || s.job == alert.job))
}

/// Whether `source`, while it fires, makes it idle to tell of `alert`.
fn inhibits(source: &Alert, alert: &Alert) -> bool {
    let (Ok(cause), Ok(rule)) = (source.rule.parse::<Rule>(), alert.rule.parse::<Rule>()) else { return false };
    source.state == AlertState::Firing
        && match cause {
            // that it was slow, too, interests nobody any more
            Rule::RunFailed => rule.ends_with_its_run() && source.run_id == alert.run_id,
            // nobody can say whether there is new data
            Rule::SourceDown => rule == Rule::NoNewData,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing =
        Timing { group_wait: Duration::from_secs(30), repeat_every: Duration::from_hours(12), at_once: false };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    /// Raised at second 0 by run 1 of job `j`.
    fn alert(id: i64, rule: Rule) -> Alert {
        Alert {
            id,
            job: "j".to_owned(),
            target: String::new(),
            rule: rule.to_string(),
            onset: String::new(),
            severity: "warning".to_owned(),
            run_id: Some(1),
            summary: String::new(),
            facts: String::new(),
            state: AlertState::Firing,
            first_seen: at(0),
            last_seen: at(0),
            resolved_at: None,
            resolution: None,
            told: Told::Nothing,
            told_at: None,
            n_notices: 0,
        }
    }

    fn told(alert: Alert, seconds: i64) -> Alert {
        Alert { told: Told::Firing, told_at: Some(at(seconds)), ..alert }
    }

    fn over(alert: Alert, seconds: i64) -> Alert {
        Alert { state: AlertState::Resolved, resolved_at: Some(at(seconds)), ..alert }
    }

    /// Expects what is told of which alert, group by group, and which are told quietly.
    fn check(alerts: &[Alert], silences: &[Silence], seconds: i64, expected: &[&str], quiet: &[i64]) {
        let plan = plan(alerts, silences, at(seconds), TIMING);
        let say = |group: &Vec<Due>| {
            let words: Vec<String> = group.iter().map(|due| format!("{} {}", due.notice, due.alert.id)).collect();
            words.join(", ")
        };
        assert_eq!(plan.groups.values().map(say).collect::<Vec<_>>(), expected, "at {seconds}");
        assert_eq!(plan.quiet.iter().map(|telling| telling.alert_id).collect::<Vec<_>>(), quiet, "at {seconds}");
    }

    #[test]
    fn a_life_is_told_once_reminded_and_ended() {
        let slow = alert(1, Rule::TrainingLongerThan);
        check(std::slice::from_ref(&slow), &[], 29, &[], &[]);
        check(std::slice::from_ref(&slow), &[], 30, &["firing 1"], &[]);
        let slow = told(slow, 30);
        check(std::slice::from_ref(&slow), &[], 43_229, &[], &[]);
        check(std::slice::from_ref(&slow), &[], 43_230, &["reminder 1"], &[]);
        let over_now = over(slow, 100);
        check(std::slice::from_ref(&over_now), &[], 129, &[], &[]);
        check(std::slice::from_ref(&over_now), &[], 130, &["recovery 1"], &[]);
        check(&[Alert { told: Told::Resolved, ..over_now }], &[], 99_999, &[], &[]);
    }

    #[test]
    fn what_was_over_before_it_was_told_is_told_once() {
        let plan = plan(&[over(alert(1, Rule::NoImprovement), 3)], &[], at(30), TIMING);
        let due = &plan.groups["j"][0];
        assert_eq!((due.notice, due.telling.to), (Notice::Firing, Told::Resolved));
    }

    #[test]
    fn several_within_the_wait_go_out_together() {
        let later = Alert { first_seen: at(20), ..alert(2, Rule::NoImprovement) };
        let other = Alert { job: "k".to_owned(), ..alert(3, Rule::NoImprovement) };
        let alerts = [alert(1, Rule::TrainingLongerThan), later, other];
        check(&alerts, &[], 30, &["firing 1, firing 2", "firing 3"], &[]);
    }

    #[test]
    fn a_failed_run_hides_what_else_is_said_of_it() {
        let failed = alert(2, Rule::RunFailed);
        check(&[alert(1, Rule::TrainingLongerThan), failed.clone()], &[], 30, &["firing 2"], &[]);
        check(&[over(alert(1, Rule::TrainingLongerThan), 20), failed.clone()], &[], 30, &["firing 2"], &[1]);
        let told = over(told(alert(1, Rule::TrainingLongerThan), 1), 20);
        check(&[told, failed.clone()], &[], 60, &["firing 2, recovery 1"], &[]);
        // of another run it does not
        let other = Alert { run_id: Some(9), ..alert(1, Rule::TrainingLongerThan) };
        check(&[other, failed.clone()], &[], 30, &["firing 1, firing 2"], &[]);
        check(&[alert(1, Rule::GateFailed), failed], &[], 30, &["firing 1, firing 2"], &[]);
    }

    #[test]
    fn a_source_that_is_down_hides_that_no_data_comes() {
        let down = Alert { job: String::new(), run_id: None, ..alert(2, Rule::SourceDown) };
        check(&[alert(1, Rule::NoNewData), down], &[], 30, &["firing 2"], &[]);
    }

    #[test]
    fn a_silenced_rule_is_told_after_the_silence_if_it_still_holds() {
        let silence = |job: &str, until| Silence {
            id: 1,
            rule: Rule::TrainingLongerThan.to_string(),
            job: job.to_owned(),
            created_at: at(0),
            until: at(until),
        };
        let slow = || alert(1, Rule::TrainingLongerThan);
        check(&[slow()], &[silence("", 100)], 60, &[], &[]);
        check(&[slow()], &[silence("j", 100)], 60, &[], &[]);
        check(&[slow()], &[silence("k", 100)], 60, &["firing 1"], &[]);
        check(&[slow()], &[silence("", 100)], 100, &["firing 1"], &[]);
        check(&[over(slow(), 50)], &[silence("", 100)], 60, &[], &[1]);
    }

    #[test]
    fn a_last_chance_waits_for_nothing_and_reminds_of_nothing() {
        let timing = Timing { at_once: true, ..TIMING };
        let alerts = [alert(1, Rule::TrainingLongerThan), told(alert(2, Rule::GateFailed), 0)];
        let plan = plan(&alerts, &[], at(1), timing);
        let ids: Vec<i64> = plan.groups["j"].iter().map(|due| due.alert.id).collect();
        assert_eq!(ids, [1]);
    }
}
