//! The outbox: messages to people, kept until a channel has taken them.

use super::words::words;
use super::{Result, Store, Told, clean, now, stamp};
use chrono::{DateTime, Utc};

words! {
    /// Where a message stands.
    OutboxState {
        /// To be sent.
        Pending = "pending",
        /// Taken by its channel.
        Sent = "sent",
        /// Given up: refused, or not taken for too long.
        Dead = "dead",
        /// No longer worth sending: the message that it follows was never delivered.
        Dropped = "dropped",
    }
}

words! {
    /// What a message says of an alert.
    Notice {
        /// That it fires.
        Firing = "firing",
        /// That it still does.
        Reminder = "reminder",
        /// That it is over.
        Recovery = "recovery",
    }
}

/// A message to one recipient, about to be put into the outbox.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// `email`, `webhook`, `command`.
    pub channel: String,
    /// A recipient in the channel's terms.
    pub address: String,
    /// Messages of a topic keep their order.
    pub topic: String,
    /// The same whenever it is sent.
    pub message_id: String,
    /// One line.
    pub subject: String,
    /// What to say, as JSON.
    pub content: String,
    /// Which alerts it speaks of, and what it says of each.
    pub alerts: Vec<(i64, Notice)>,
}

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct OutboxRow {
    /// Its number, in order of writing.
    pub id: i64,
    /// `email`, `webhook`, `command`.
    pub channel: String,
    /// A recipient in the channel's terms.
    pub address: String,
    /// Messages of a topic keep their order.
    pub topic: String,
    /// The same whenever it is sent.
    pub message_id: String,
    /// One line.
    pub subject: String,
    /// What to say, as JSON.
    #[serde(skip)]
    pub content: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: OutboxState,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Attempts to send it.
    pub attempts: i64,
    /// When the next is due.
    pub next_attempt_at: DateTime<Utc>,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it left `pending`.
    pub settled_at: Option<DateTime<Utc>>,
}

/// A first notice of an alert, as it went or is going out.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FirstNotice {
    /// The alert.
    pub alert_id: i64,
    /// By which channel.
    pub channel: String,
    /// To whom.
    pub address: String,
    /// Of the message.
    pub message_id: String,
    /// Where the message stands.
    #[sqlx(try_from = "String")]
    pub state: OutboxState,
}

/// One alert's step from one [`Told`] to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// The alert.
    pub alert_id: i64,
    /// What had been told when this was decided.
    pub from: Told,
    /// What is told from now on.
    pub to: Told,
}

macro_rules! outbox_columns {
    () => {
        "id, channel, address, topic, message_id, subject, content, state, created_at, attempts, next_attempt_at,
         last_error, settled_at"
    };
}

impl Store {
    /// Puts messages into the outbox and marks their alerts as told, all or nothing. False: somebody else has told of one
    /// of them meanwhile, and nothing was written.
    pub async fn tell(&self, at: DateTime<Utc>, tellings: &[Telling], messages: &[NewMessage]) -> Result<bool> {
        in_transaction!(self, |tx| {
            for telling in tellings {
                // the count tells a reminder that two processes decided on from one that is due again
                let told = sqlx::query(
                    "UPDATE alerts SET told = $3, told_at = $4, n_notices = n_notices + $5
                     WHERE id = $1 AND told = $2 AND (told_at IS NULL OR told_at < $4)",
                )
                .bind(telling.alert_id)
                .bind(telling.from.as_str())
                .bind(telling.to.as_str())
                .bind(stamp(at))
                // what is told by not being told is no message
                .bind(i64::from(!messages.is_empty()))
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if told == 0 {
                    return Ok(false);
                }
            }
            for message in messages {
                let id: i64 = sqlx::query_scalar(
                    "INSERT INTO outbox (channel, address, topic, message_id, subject, content, state, created_at,
                         next_attempt_at)
                     VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $7) RETURNING id",
                )
                .bind(&message.channel)
                .bind(&message.address)
                .bind(&message.topic)
                .bind(&message.message_id)
                .bind(clean(&message.subject))
                .bind(clean(&message.content))
                .bind(stamp(at))
                .fetch_one(&mut *tx)
                .await?;
                for (alert_id, notice) in &message.alerts {
                    sqlx::query("INSERT INTO outbox_alerts (outbox_id, alert_id, notice) VALUES ($1, $2, $3)")
                        .bind(id)
                        .bind(alert_id)
                        .bind(notice.as_str())
                        .execute(&mut *tx)
                        .await?;
                }
            }
        });
        Ok(true)
    }

    /// The first notices of these alerts, to whomever they went.
    pub async fn first_notices(&self, alert_id: i64) -> Result<Vec<FirstNotice>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT a.alert_id, o.channel, o.address, o.message_id, o.state
                 FROM outbox_alerts a JOIN outbox o ON o.id = a.outbox_id
                 WHERE a.alert_id = $1 AND a.notice = 'firing' ORDER BY o.id",
            )
            .bind(alert_id)
            .fetch_all(pool)
            .await?
        }))
    }

    /// What a channel is to send at `at`: due, not being sent, and with nothing before it on the same way.
    pub async fn due_messages(&self, channel: &str, at: DateTime<Utc>) -> Result<Vec<OutboxRow>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                outbox_columns!(),
                " FROM outbox o
                 WHERE state = 'pending' AND channel = $1 AND next_attempt_at <= $2
                     AND (leased_until IS NULL OR leased_until <= $2)
                     AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.state = 'pending' AND e.channel = o.channel
                         AND e.address = o.address AND e.topic = o.topic AND e.id < o.id)
                 ORDER BY id"
            ))
            .bind(channel)
            .bind(stamp(at))
            .fetch_all(pool)
            .await?
        }))
    }

    /// Takes a message to send it until `until`; counts the attempt. False: somebody else has it.
    pub async fn lease_message(&self, id: i64, at: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
        let leased = in_transaction!(self, |tx| {
            sqlx::query(
                "UPDATE outbox SET leased_until = $3, attempts = attempts + 1
                 WHERE id = $1 AND state = 'pending' AND (leased_until IS NULL OR leased_until <= $2)",
            )
            .bind(id)
            .bind(stamp(at))
            .bind(stamp(until))
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(leased > 0)
    }

    /// Gives a message back, to be tried again at `next`.
    pub async fn postpone_message(&self, id: i64, next: DateTime<Utc>, error: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            sqlx::query(
                "UPDATE outbox SET leased_until = NULL, next_attempt_at = $2, last_error = $3
                 WHERE id = $1 AND state = 'pending'",
            )
            .bind(id)
            .bind(stamp(next))
            .bind(clean(error))
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// Ends a message.
    pub async fn settle_message(&self, id: i64, state: OutboxState, error: Option<&str>) -> Result<()> {
        in_transaction!(self, |tx| {
            sqlx::query(
                "UPDATE outbox SET state = $2, settled_at = $3, leased_until = NULL, last_error = COALESCE($4, last_error)
                 WHERE id = $1 AND state = 'pending'",
            )
            .bind(id)
            .bind(state.as_str())
            .bind(now())
            .bind(error.map(clean))
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// Whether a message follows nothing, or its recipient got the first notice of one of its alerts.
    pub async fn follows_a_delivered_one(&self, row: &OutboxRow) -> Result<bool> {
        let n: i64 = on_pool!(self, |pool| {
            sqlx::query_scalar(
                "SELECT COUNT(*) FROM outbox_alerts a
                 WHERE a.outbox_id = $1 AND (a.notice = 'firing' OR EXISTS (
                     SELECT 1 FROM outbox_alerts f JOIN outbox o ON o.id = f.outbox_id
                     WHERE f.alert_id = a.alert_id AND f.notice = 'firing' AND o.state = 'sent'
                         AND o.channel = $2 AND o.address = $3))",
            )
            .bind(row.id)
            .bind(&row.channel)
            .bind(&row.address)
            .fetch_one(pool)
            .await?
        });
        Ok(n > 0)
    }

    /// Messages that wait or were given up; oldest first.
    pub async fn undelivered_messages(&self) -> Result<Vec<OutboxRow>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                outbox_columns!(),
                " FROM outbox WHERE state IN ('pending', 'dead') ORDER BY id"
            ))
            .fetch_all(pool)
            .await?
        }))
    }

    /// Every message, oldest first.
    pub async fn messages(&self) -> Result<Vec<OutboxRow>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!("SELECT ", outbox_columns!(), " FROM outbox ORDER BY id")).fetch_all(pool).await?
        }))
    }
}
