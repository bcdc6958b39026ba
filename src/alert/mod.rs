//! Telling people: conditions go in; alerts, messages and deliveries come out.
//!
//! A condition becomes a row the moment it is raised, a message when its group is due, a delivery when a channel has
//! taken it; each step is a row before it is an action. Nothing here knows how a model is trained, and a training never
//! waits for anything here.
//!
//! In order: dedupe (`store`: one firing alert a fingerprint) → group, inhibit, silence (`plan`) → route and write down
//! (`outbox`) → deliver (`channel/`, one file each).

mod condition;

// From what runs to conditions.
mod advice;
mod ended;
mod source;
mod watcher;

// From alerts to messages, and to people.
mod channel;
mod html;
mod message;
mod outbox;
mod plan;
mod plot;

pub use crate::watch::{Rule, Severity};
pub use condition::Condition;
pub use ended::promoted_by_hand;
pub use message::{Item, Message, Over};
pub use outbox::{Deliveries, compose, deliver_all, test};

use crate::error::chain;
use crate::event::Listener;
use crate::job::{Alerts, Job};
use crate::settings::Settings;
use crate::store::{self, NewAlert, Store};
use chrono::Utc;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;
use watcher::Watcher;

/// How often running runs are looked at, and whether a message is due.
const TICK: Duration = Duration::from_secs(1);

/// How long the end waits for a message that is being sent.
const GRACE: Duration = Duration::from_secs(10);

/// Raises a condition. Says whether it is a new alert; one that is known already is brought up to date.
pub async fn raise(store: &Store, condition: &Condition) -> Result<bool, store::Error> {
    let facts = serde_json::to_string(condition).expect("plain data is JSON");
    let raised = store
        .raise_alert(NewAlert {
            job: &condition.job,
            target: condition.target.as_deref().unwrap_or(""),
            rule: condition.rule.as_str(),
            onset: &condition.onset,
            severity: condition.severity.as_str(),
            run_id: condition.run_id,
            summary: &condition.summary,
            facts: &facts,
            event: condition.rule.is_event(),
        })
        .await?;
    if raised.is_some() {
        let Condition { rule, job, summary, .. } = condition;
        tracing::warn!(%rule, job, target = condition.target, run = condition.run_id, "alert: {summary}");
    }
    Ok(raised.is_some())
}

/// Ends what a rule says of a job (and of a model). Says whether there was anything to end; `how` completes "it is over: ".
pub async fn resolve(
    store: &Store,
    rule: Rule,
    job: &str,
    target: Option<&str>,
    how: &str,
) -> Result<bool, store::Error> {
    end(store, rule, job, target.unwrap_or(""), None, how).await
}

/// The same of one onset, or of whichever holds.
async fn end(
    store: &Store,
    rule: Rule,
    job: &str,
    target: &str,
    onset: Option<&str>,
    how: &str,
) -> Result<bool, store::Error> {
    let ended = store.resolve_alert(job, target, rule.as_str(), onset, how).await?;
    if ended {
        tracing::info!(%rule, job, target, "alert over: {how}");
    }
    Ok(ended)
}

/// Ends what is said of jobs whose files are gone, and that only a job can end. What their runs do is told to its end.
pub async fn forget_jobs(store: &Store, gone: &BTreeSet<String>) -> Result<(), store::Error> {
    forget(store, "the job's file is gone", |job, _| gone.contains(job)).await
}

/// Ends what is said of jobs that do not ask for it any more.
pub async fn forget_rules<'a>(store: &Store, jobs: impl Iterator<Item = &'a Job>) -> Result<(), store::Error> {
    let limits: BTreeMap<&str, &Alerts> = jobs.map(|job| (job.name.as_str(), &job.alerts)).collect();
    forget(store, "its job asks for it no more", |job, rule| limits.get(job).is_some_and(|limits| !rule.is_on(limits)))
        .await
}

/// Ends what is said of some jobs and goes on beyond their runs.
async fn forget(store: &Store, how: &str, of: impl Fn(&str, Rule) -> bool) -> Result<(), store::Error> {
    for alert in store.open_alerts().await? {
        let Ok(rule) = alert.rule.parse::<Rule>() else { continue };
        if !rule.ends_with_its_run() && alert.resolved_at.is_none() && of(&alert.job, rule) {
            end(store, rule, &alert.job, &alert.target, Some(&alert.onset), how).await?;
        }
    }
    Ok(())
}

/// Watches running runs, tells people and delivers, until `shutdown`. What was not delivered by then stays in the outbox.
///
/// Several may serve one database at a time: a daemon, and a run in the foreground beside it.
pub async fn serve(store: Store, settings: Settings, listener: Listener, shutdown: impl Future<Output = ()>) {
    let mut watcher = Watcher::new(store.clone(), &settings, listener);
    // whether there are messages to deliver: without, nobody asks
    let (waiting, messages) = tokio::sync::watch::channel(true);
    let watch = async {
        let mut trouble = Trouble::default();
        let mut tick = ticks();
        loop {
            tick.tick().await;
            let now = Utc::now();
            let looked = async {
                let agenda = store.agenda(now).await?;
                let watching = agenda.runs || watcher.is_watching();
                if watching {
                    watcher.look(now).await?;
                } else {
                    watcher.count();
                }
                let mut told = 0;
                if watching || agenda.alerts {
                    told = outbox::compose(&store, &settings, now, false).await?;
                }
                waiting.send_replace(agenda.messages || told > 0);
                Ok(())
            };
            trouble.note("runs cannot be watched for the moment", looked.await);
        }
    };
    let look_at_source = async {
        let mut trouble = Trouble::default();
        let mut tick = tokio::time::interval(source::EVERY);
        loop {
            tick.tick().await;
            trouble
                .note("new data cannot be watched for the moment", source::look(&store, &settings, Utc::now()).await);
        }
    };
    // a channel that hangs holds up itself only
    let (stop, stopping) = tokio::sync::watch::channel(());
    let deliver = futures_util::future::join_all(channel::CHANNELS.map(|channel| {
        let (store, settings, mut stopping, mut messages) = (&store, &settings, stopping.clone(), messages.clone());
        async move {
            let mut trouble = Trouble::default();
            let mut tick = ticks();
            loop {
                // an idle daemon sleeps here
                let there_are = async {
                    tick.tick().await;
                    messages.wait_for(|waiting| *waiting).await.is_ok()
                };
                tokio::select! {
                    there_are = there_are => if !there_are { break },
                    _ = stopping.changed() => break,
                }
                let delivered = outbox::deliver(store, settings, channel, Utc::now()).await;
                trouble.note("alerts cannot be delivered for the moment", delivered);
            }
        }
    }));
    tokio::pin!(deliver);
    tokio::select! {
        () = watch => {}
        () = look_at_source => {}
        _ = &mut deliver => {}
        () = shutdown => {}
    }
    drop(stop);
    // what is being sent is sent to its end, so that nobody gets it twice
    if tokio::time::timeout(GRACE, deliver).await.is_err() {
        tracing::warn!("a message that was being delivered is left to be delivered later");
    }
}

/// A last chance before a process ends that nobody follows: what its runs raised is written down, told without waiting
/// for more, and tried to be delivered for at most `limit`. What is left is delivered by whoever comes next.
pub async fn finish(
    store: &Store,
    settings: &Settings,
    listener: Listener,
    limit: Duration,
) -> Result<(), store::Error> {
    Watcher::new(store.clone(), settings, listener).look(Utc::now()).await?;
    outbox::compose(store, settings, Utc::now(), true).await?;
    match tokio::time::timeout(limit, outbox::deliver_all(store, settings, Utc::now())).await {
        Ok(delivered) => delivered.map(|_| ()),
        Err(_) => Ok(()),
    }
}

/// Whether the mail server could be reached with these settings. Err: what is in the way.
pub async fn reach_mail_server(settings: &Settings) -> Result<(), String> {
    channel::email::reach(settings).await
}

fn ticks() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

/// Says what does not work when it begins, not each second.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    fn note<T>(&mut self, what: &str, result: Result<T, store::Error>) {
        let failed = result.is_err();
        if let (false, Err(error)) = (self.0, result) {
            tracing::warn!(error = %chain(&error), "{what}");
        }
        self.0 = failed;
    }
}
