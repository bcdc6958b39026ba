//! Alerts: what holds or held, and silences. What a rule means is not known here.

use super::words::words;
use super::{Result, Store, clean, now, stamp};
use chrono::{DateTime, Utc};

words! {
    /// Whether what an alert says still holds.
    AlertState {
        /// It does.
        Firing = "firing",
        /// It is over, or it was an event that never lasts.
        Resolved = "resolved",
    }
}

words! {
    /// What of an alert has been turned into messages, or decided not to be.
    Told {
        /// Nothing yet.
        Nothing = "nothing",
        /// That it fires.
        Firing = "firing",
        /// All there is to say.
        Resolved = "resolved",
    }
}

/// An alert about to be raised.
#[derive(Debug, Clone)]
pub struct NewAlert<'a> {
    /// Whose; empty where no job is concerned.
    pub job: &'a str,
    /// Which model; empty where none is concerned.
    pub target: &'a str,
    /// What was passed or happened.
    pub rule: &'a str,
    /// Which occurrence of it: raising the same one again is no new alert.
    pub onset: &'a str,
    /// `info`, `warning` or `critical`.
    pub severity: &'a str,
    /// The run concerned.
    pub run_id: Option<i64>,
    /// One line for people.
    pub summary: &'a str,
    /// Everything else, as JSON.
    pub facts: &'a str,
    /// Happens and is over: it never fires on.
    pub event: bool,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Alert {
    /// Its number, in order of beginning.
    pub id: i64,
    /// Whose; empty where no job is concerned.
    pub job: String,
    /// Which model; empty where none is concerned.
    pub target: String,
    /// What was passed or happened.
    pub rule: String,
    /// Which occurrence of it.
    pub onset: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The run concerned.
    pub run_id: Option<i64>,
    /// One line for people.
    pub summary: String,
    /// Everything else, as JSON.
    #[serde(skip)]
    pub facts: String,
    /// Whether it still holds.
    #[sqlx(try_from = "String")]
    pub state: AlertState,
    /// When it was raised.
    pub first_seen: DateTime<Utc>,
    /// When it was raised last.
    pub last_seen: DateTime<Utc>,
    /// When it was over.
    pub resolved_at: Option<DateTime<Utc>>,
    /// How it came to an end.
    pub resolution: Option<String>,
    /// What has been turned into messages.
    #[sqlx(try_from = "String")]
    pub told: Told,
    /// When the last message about it was written.
    pub told_at: Option<DateTime<Utc>>,
    /// Messages written about it, recipients not counted.
    pub n_notices: i64,
}

/// Nobody wants to hear of a rule until then.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// Which rule.
    pub rule: String,
    /// Of which job; empty for all.
    pub job: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
}

macro_rules! alert_columns {
    () => {
        "id, job, target, rule, onset, severity, run_id, summary, facts, state, first_seen, last_seen, resolved_at,
         resolution, told, told_at, n_notices"
    };
}

/// Whether there is anything to do about alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agenda {
    /// Runs go on, or have ended and nobody has looked what follows.
    pub runs: bool,
    /// Alerts hold, or are over and that is still to be told.
    pub alerts: bool,
    /// Messages are to be delivered now.
    pub messages: bool,
}

impl Store {
    /// Raises an alert. None: it is known already, firing or of the same onset.
    pub async fn raise_alert(&self, new: NewAlert<'_>) -> Result<Option<i64>> {
        let id = in_transaction!(self, |tx| {
            let known = sqlx::query(
                "UPDATE alerts SET last_seen = $4, summary = $5, facts = $6
                 WHERE job = $1 AND target = $2 AND rule = $3 AND state = 'firing'",
            )
            .bind(new.job)
            .bind(new.target)
            .bind(new.rule)
            .bind(now())
            .bind(clean(new.summary))
            .bind(clean(new.facts))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if known > 0 {
                return Ok(None);
            }
            let raised: Option<i64> = sqlx::query_scalar(
                "INSERT INTO alerts (job, target, rule, onset, severity, run_id, summary, facts, state,
                     first_seen, last_seen, resolved_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)
                 ON CONFLICT DO NOTHING RETURNING id",
            )
            .bind(new.job)
            .bind(new.target)
            .bind(new.rule)
            .bind(new.onset)
            .bind(new.severity)
            .bind(new.run_id)
            .bind(clean(new.summary))
            .bind(clean(new.facts))
            .bind(if new.event { AlertState::Resolved } else { AlertState::Firing }.as_str())
            .bind(now())
            .bind(new.event.then(now))
            .fetch_optional(&mut *tx)
            .await?;
            raised
        });
        Ok(id)
    }

    /// Ends what fires of a fingerprint; with an onset, only that occurrence. Says whether there was anything to end.
    pub async fn resolve_alert(
        &self,
        job: &str,
        target: &str,
        rule: &str,
        onset: Option<&str>,
        resolution: &str,
    ) -> Result<bool> {
        let resolved = in_transaction!(self, |tx| {
            sqlx::query(
                "UPDATE alerts SET state = 'resolved', resolved_at = $5, resolution = $6
                 WHERE job = $1 AND target = $2 AND rule = $3 AND state = 'firing' AND ($4 IS NULL OR onset = $4)",
            )
            .bind(job)
            .bind(target)
            .bind(rule)
            .bind(onset)
            .bind(now())
            .bind(clean(resolution))
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(resolved > 0)
    }

    /// Alerts that fire or of which something is still to be told; oldest first.
    pub async fn open_alerts(&self) -> Result<Vec<Alert>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                alert_columns!(),
                " FROM alerts WHERE state = 'firing' OR told <> 'resolved' ORDER BY id"
            ))
            .fetch_all(pool)
            .await?
        }))
    }

    /// What there is to do about alerts: one question, asked each second, instead of one for each of its parts.
    pub async fn agenda(&self, now: DateTime<Utc>) -> Result<Agenda> {
        let (runs, alerts, messages) = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM runs WHERE state IN ('queued', 'running') AND state = 'running')
                        OR EXISTS (SELECT 1 FROM runs WHERE ended_at IS NOT NULL AND alerts_raised_at IS NULL),
                    EXISTS (SELECT 1 FROM alerts WHERE state = 'firing' OR told <> 'resolved'),
                    EXISTS (SELECT 1 FROM outbox WHERE state = 'pending' AND next_attempt_at <= $1
                        AND (leased_until IS NULL OR leased_until <= $1))",
            )
            .bind(stamp(now))
            .fetch_one(pool)
            .await?
        });
        Ok(Agenda { runs, alerts, messages })
    }

    /// The last `limit` alerts, newest first.
    pub async fn alerts(&self, limit: u32) -> Result<Vec<Alert>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!("SELECT ", alert_columns!(), " FROM alerts ORDER BY id DESC LIMIT $1"))
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await?
        }))
    }

    /// Silences a rule, of one job or (with an empty name) of all.
    pub async fn silence(&self, rule: &str, job: &str, until: DateTime<Utc>) -> Result<()> {
        in_transaction!(self, |tx| {
            sqlx::query("INSERT INTO silences (rule, job, created_at, until) VALUES ($1, $2, $3, $4)")
                .bind(rule)
                .bind(job)
                .bind(now())
                .bind(stamp(until))
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Ends the silences of a rule, of one job or (with an empty name) those of all. Returns how many there were.
    pub async fn end_silence(&self, rule: &str, job: &str) -> Result<u64> {
        Ok(in_transaction!(self, |tx| {
            sqlx::query("UPDATE silences SET until = $3 WHERE rule = $1 AND job = $2 AND until > $3")
                .bind(rule)
                .bind(job)
                .bind(now())
                .execute(&mut *tx)
                .await?
                .rows_affected()
        }))
    }

    /// The silences that hold at `now`.
    pub async fn silences(&self, now: DateTime<Utc>) -> Result<Vec<Silence>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as("SELECT id, rule, job, created_at, until FROM silences WHERE until > $1 ORDER BY id")
                .bind(stamp(now))
                .fetch_all(pool)
                .await?
        }))
    }
}
