//! The outbox: what is due is written down for each recipient, and what is written down is delivered.

use super::channel::{CHANNELS, Channel, Undelivered};
use super::message::{Item, Message, Over};
use super::plan::{Due, Timing, plan};
use super::{Condition, raise};
use crate::settings::Settings;
use crate::store::{self, Alert, NewMessage, Notice, OutboxRow, OutboxState, Store};
use chrono::{DateTime, Utc};
use rand::RngExt;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause after an attempt that failed; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// Points of a learning curve that a message holds at most.
const POINTS: usize = 300;

/// Writes messages for everything that is due at `now`; with `at_once`, also for what would wait for others. Returns how
/// many alerts were told of.
pub async fn compose(
    store: &Store,
    settings: &Settings,
    now: DateTime<Utc>,
    at_once: bool,
) -> Result<usize, store::Error> {
    let alerts = store.open_alerts().await?;
    if alerts.is_empty() {
        return Ok(0);
    }
    let (group_wait, repeat_every) = (settings.alerting.group_wait, settings.alerting.repeat_every);
    let plan = plan(&alerts, &store.silences(now).await?, now, Timing { group_wait, repeat_every, at_once });
    if !plan.quiet.is_empty() {
        store.tell(now, &plan.quiet, &[]).await?;
    }
    let mut told = 0;
    for (topic, group) in plan.groups {
        let mut messages = Vec::new();
        let mut items = Vec::new();
        for due in &group {
            items.push(item(store, due).await?);
        }
        for ((channel, address), which) in routes(store, settings, &group, &items).await? {
            messages.push((channel, address, which));
        }
        let messages = written(store, settings, &topic, &group, &items, messages, now).await?;
        let tellings: Vec<_> = group.iter().map(|due| due.telling).collect();
        if store.tell(now, &tellings, &messages).await? {
            told += tellings.len();
        }
    }
    Ok(told)
}

/// What a message says of an alert that is due.
async fn item(store: &Store, due: &Due) -> Result<Item, store::Error> {
    let condition = condition_of(&due.alert);
    let curve = match (condition.run_id, &condition.target) {
        (Some(run_id), Some(target)) => curve(&store.epochs(run_id, target).await?),
        _ => Vec::new(),
    };
    let over = due
        .alert
        .resolved_at
        .filter(|_| !condition.rule.is_event())
        .map(|at| Over { at, how: due.alert.resolution.clone().unwrap_or_default() });
    Ok(Item { alert_id: due.alert.id, notice: due.notice, condition, over, curve })
}

/// The facts of an alert. A row that another version wrote may have others: its own columns say enough then.
fn condition_of(alert: &Alert) -> Condition {
    serde_json::from_str(&alert.facts).unwrap_or_else(|_| {
        let rule = alert.rule.parse().unwrap_or(super::Rule::Test);
        let target = Some(alert.target.clone()).filter(|target| !target.is_empty());
        let condition = Condition::new(rule, &alert.job, &alert.onset, &alert.summary);
        Condition { since: alert.first_seen, run_id: alert.run_id, target, ..condition }
    })
}

/// The newest attempt's epochs, thinned out to what a picture shows.
fn curve(epochs: &[store::Epoch]) -> Vec<(i64, f64, f64)> {
    let by_number: BTreeMap<i64, &store::Epoch> = epochs.iter().map(|row| (row.epoch, row)).collect();
    let step = by_number.len().div_ceil(POINTS).max(1);
    let last = by_number.len().saturating_sub(1);
    let kept = by_number.values().enumerate().filter(|(k, _)| k % step == 0 || *k == last);
    // what the rules compare: the training loss with dropout off, where it was measured
    let training = |row: &store::Epoch| if row.fixed_loss.is_finite() { row.fixed_loss } else { row.loss };
    // JSON knows no NaN
    kept.map(|(_, row)| (row.epoch, training(row), row.val_loss))
        .filter(|p| p.1.is_finite() && p.2.is_finite())
        .collect()
}

/// A way to somebody: the channel's name and the address.
type Way = (&'static str, String);

/// Which items go which way. A recovery goes where the first notice went.
async fn routes(
    store: &Store,
    settings: &Settings,
    group: &[Due],
    items: &[Item],
) -> Result<BTreeMap<Way, Vec<usize>>, store::Error> {
    let mut routes: BTreeMap<Way, Vec<usize>> = BTreeMap::new();
    for (k, (due, item)) in group.iter().zip(items).enumerate() {
        if due.notice == Notice::Recovery {
            for first in store.first_notices(due.alert.id).await? {
                let known = CHANNELS.iter().find(|channel| channel.name == first.channel);
                if let (Some(channel), OutboxState::Sent | OutboxState::Pending) = (known, first.state) {
                    routes.entry((channel.name, first.address)).or_default().push(k);
                }
            }
            continue;
        }
        for channel in CHANNELS {
            for address in (channel.addresses)(settings, &item.condition) {
                routes.entry((channel.name, address)).or_default().push(k);
            }
        }
    }
    for which in routes.values_mut() {
        which.dedup();
    }
    Ok(routes)
}

/// The messages: one text for all who get the same items by the same channel, one row for each of them.
async fn written(
    store: &Store,
    settings: &Settings,
    topic: &str,
    group: &[Due],
    items: &[Item],
    routes: Vec<(&'static str, String, Vec<usize>)>,
    now: DateTime<Utc>,
) -> Result<Vec<NewMessage>, store::Error> {
    let mut sets: BTreeMap<(&'static str, Vec<usize>), Vec<String>> = BTreeMap::new();
    for (channel, address, which) in routes {
        sets.entry((channel, which)).or_default().push(address);
    }
    let mut rows = Vec::new();
    for ((channel, which), to) in sets {
        let mut references = Vec::new();
        for due in which.iter().map(|&k| &group[k]).filter(|due| due.notice != Notice::Firing) {
            let firsts = store.first_notices(due.alert.id).await?;
            references.extend(
                firsts.into_iter().filter(|f| f.channel == channel && to.contains(&f.address)).map(|f| f.message_id),
            );
        }
        references.dedup();
        let items: Vec<Item> = which.iter().map(|&k| items[k].clone()).collect();
        let alerts: Vec<(i64, Notice)> = items.iter().map(|item| (item.alert_id, item.notice)).collect();
        let message = Message {
            message_id: message_id(settings, channel, &alerts, &to, now),
            in_reply_to: references.first().cloned(),
            references,
            host: settings.alerting.host(),
            written_at: now,
            to: to.clone(),
            items,
        };
        let (subject, content) = (message.subject(), serde_json::to_string(&message).expect("plain data is JSON"));
        rows.extend(to.into_iter().map(|address| NewMessage {
            channel: channel.to_owned(),
            address,
            topic: topic.to_owned(),
            message_id: message.message_id.clone(),
            subject: subject.clone(),
            content: content.clone(),
            alerts: alerts.clone(),
        }));
    }
    Ok(rows)
}

/// Made once, when the message is written down, from what it is about.
fn message_id(
    settings: &Settings,
    channel: &str,
    alerts: &[(i64, Notice)],
    to: &[String],
    now: DateTime<Utc>,
) -> String {
    let host = settings.alerting.host();
    let what = format!("{host} {channel} {alerts:?} {to:?} {now:?} {}", settings.state.url);
    let digest = hex::encode(&Sha256::digest(what.as_bytes())[..16]);
    let name: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    format!("<retraind.{digest}@{}>", if name.is_empty() { "localhost" } else { &name })
}

/// What a round of deliveries came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Taken by the channel.
    pub sent: usize,
    /// To be tried again later.
    pub postponed: usize,
    /// Given up.
    pub dead: usize,
}

/// Delivers what a channel has to deliver at `now`, one after the other.
pub(super) async fn deliver(
    store: &Store,
    settings: &Settings,
    channel: &Channel,
    now: DateTime<Utc>,
) -> Result<Deliveries, store::Error> {
    let mut done = Deliveries::default();
    let limit = (channel.limit)(settings);
    for row in store.due_messages(channel.name, now).await? {
        if !store.follows_a_delivered_one(&row).await? {
            let why = "the first notice never arrived, so there is nothing to recover from";
            store.settle_message(row.id, OutboxState::Dropped, Some(why)).await?;
            continue;
        }
        // a crash while it is being sent leaves it to whoever comes after this time
        if !store.lease_message(row.id, now, now + limit + limit / 4).await? {
            continue;
        }
        let outcome = attempt(settings, channel, &row, limit).await;
        let old = (now - row.created_at).to_std().is_ok_and(|age| age > settings.alerting.give_up_after);
        match outcome {
            Ok(()) => {
                store.settle_message(row.id, OutboxState::Sent, None).await?;
                tracing::info!(channel = channel.name, to = row.address, subject = row.subject, "alert delivered");
                done.sent += 1;
            }
            Err(Undelivered::Later(why)) if !old => {
                let pause = pause(row.attempts, rand::rng().random());
                store.postpone_message(row.id, now + pause, &why).await?;
                tracing::warn!(channel = channel.name, to = row.address, "alert not delivered yet: {why}");
                done.postponed += 1;
            }
            Err(Undelivered::Later(why) | Undelivered::Refused(why)) => {
                store.settle_message(row.id, OutboxState::Dead, Some(&why)).await?;
                tracing::error!(channel = channel.name, to = row.address, "alert given up: {why}");
                done.dead += 1;
            }
        }
    }
    Ok(done)
}

async fn attempt(settings: &Settings, channel: &Channel, row: &OutboxRow, limit: Duration) -> Result<(), Undelivered> {
    let message: Message = serde_json::from_str(&row.content)
        .map_err(|error| Undelivered::Refused(format!("the message in the outbox cannot be read: {error}")))?;
    match tokio::time::timeout(limit, (channel.deliver)(settings, &message, &row.address)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Undelivered::Later(format!("not taken within {}", crate::watch::time(limit)))),
    }
}

/// Delivers what is due at `now` by every channel; for tests with a clock of their own, and for last chances.
pub async fn deliver_all(store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<Deliveries, store::Error> {
    let mut all = Deliveries::default();
    for channel in CHANNELS {
        let done = deliver(store, settings, channel, now).await?;
        all.sent += done.sent;
        all.postponed += done.postponed;
        all.dead += done.dead;
    }
    Ok(all)
}

/// The pause after `attempts` before it: doubled each time, and off by up to a fifth, so that many do not come at once.
/// `random` is from 0 to 1.
fn pause(attempts: i64, random: f64) -> Duration {
    let doubled = FIRST_PAUSE * 2u32.saturating_pow(attempts.clamp(0, 20) as u32);
    doubled.min(LONGEST_PAUSE).mul_f64(0.8 + 0.4 * random)
}

/// How often a message that another process is sending is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Sends a test message every way there is, now. Returns the ways with what came of each.
pub async fn test(
    store: &Store,
    settings: &Settings,
) -> Result<Vec<(String, String, Result<(), String>)>, store::Error> {
    let now = Utc::now();
    let onset = format!("test at {}", now.to_rfc3339());
    raise(store, &Condition::new(super::Rule::Test, "", onset, "this is a test: alerts arrive")).await?;
    compose(store, settings, now, true).await?;
    deliver_all(store, settings, now).await?;
    // a daemon may have been faster, and is sending one of them
    let longest = CHANNELS.iter().map(|channel| (channel.limit)(settings)).max().unwrap_or_default();
    let deadline = tokio::time::Instant::now() + longest;
    let ours = loop {
        let mut ours = store.messages().await?;
        ours.retain(|row| row.created_at == store_time(now));
        let at_hand = |row: &OutboxRow| row.state == OutboxState::Pending && row.last_error.is_none();
        if !ours.iter().any(at_hand) || tokio::time::Instant::now() >= deadline {
            break ours;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    Ok(ours
        .into_iter()
        .map(|row| {
            let outcome = match row.state {
                OutboxState::Sent => Ok(()),
                _ => Err(row.last_error.unwrap_or_else(|| "another process has it at hand".to_owned())),
            };
            (row.channel, row.address, outcome)
        })
        .collect())
}

/// As the database keeps it.
fn store_time(time: DateTime<Utc>) -> DateTime<Utc> {
    chrono::SubsecRound::trunc_subsecs(time, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_an_hour_and_vary() {
        let check = |attempts, random, seconds: f64| {
            assert!((pause(attempts, random).as_secs_f64() - seconds).abs() < 1e-6, "{:?}", pause(attempts, random));
        };
        check(0, 0.5, 30.0);
        check(1, 0.5, 60.0);
        check(6, 0.5, 1920.0);
        check(7, 0.5, 3600.0);
        check(1_000_000, 0.5, 3600.0);
        check(0, 0.0, 24.0);
        check(0, 1.0, 36.0);
    }

    #[test]
    fn curves_are_thinned_out_and_keep_their_ends() {
        let row = |epoch| store::Epoch {
            attempt: 1,
            epoch,
            loss: if epoch == 5 { f64::NAN } else { 1.0 },
            val_loss: 2.0,
            mae: 0.0,
            val_mae: 0.0,
            fixed_loss: f64::NAN,
            seconds: 0.0,
        };
        let few: Vec<i64> = curve(&(1..=6).map(row).collect::<Vec<_>>()).iter().map(|p| p.0).collect();
        assert_eq!(few, [1, 2, 3, 4, 6]);
        let many = curve(&(1..=100_000).map(row).collect::<Vec<_>>());
        assert!(many.len() <= POINTS + 1 && many[0].0 == 1 && many.last().map(|p| p.0) == Some(100_000));
    }
}
