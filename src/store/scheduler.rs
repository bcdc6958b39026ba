//! Who schedules: at most one at a time, and what it writes is refused once another has taken over.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Backend, Error, Owner, Result, Store, clean, now};

/// How long a scheduler that gives no sign of life keeps its place in `PostgreSQL`.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(10);

/// The right to schedule: a number that grows with each taking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    pub(super) token: i64,
}

/// The row, for people and for `retraind status`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Scheduler {
    /// Who schedules, or did last.
    pub owner: Option<Owner>,
    /// Until when it keeps its place.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it says of itself.
    pub status: Option<String>,
}

/// Holds the lead for the rest of the transaction, or returns [`Error::NotLeading`].
macro_rules! led {
    ($tx:ident, $lead:expr) => {{
        let lead: crate::store::Lead = $lead;
        // an update and not a look, so that nobody takes over between here and the commit
        let held = sqlx::query("UPDATE scheduler SET token = token WHERE id = 1 AND token = $1")
            .bind(lead.token)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if held == 0 {
            let holder: Option<String> =
                sqlx::query_scalar("SELECT host FROM scheduler WHERE id = 1").fetch_one(&mut *$tx).await?;
            let holder = holder.map_or_else(|| "another daemon".to_owned(), |host| format!("a daemon on {host}"));
            return Err(crate::store::Error::NotLeading { holder });
        }
    }};
}

/// Tells the scheduler, at the end of the transaction, that there is something to look at.
macro_rules! ring {
    ($tx:ident) => {
        sqlx::query("UPDATE scheduler SET bell = bell + 1 WHERE id = 1").execute(&mut *$tx).await?
    };
}

impl Store {
    /// Takes the lead: at once where it is free, has expired or `is_over` says so of its holder. [`Error::Led`] otherwise.
    ///
    /// With `SQLite` the caller holds a lock on a file beside the database, so whoever is in the row is gone.
    pub async fn take_lead(&self, owner: &Owner, is_over: impl Fn(&Owner) -> bool) -> Result<Lead> {
        let embedded = matches!(self.backend, Backend::Sqlite(_));
        let found = self.scheduler().await?;
        let over = found.owner.as_ref().is_none_or(|holder| embedded || is_over(holder));
        let token: Option<i64> = in_transaction!(self, |tx| {
            // the holder is named, so that of two that come at once only one gets it
            sqlx::query_scalar(
                "UPDATE scheduler SET token = token + 1, host = $1, boot_id = $2, pid = $3, process_start = $4,
                     expires_at = $5, status = NULL
                 WHERE id = 1 AND (expires_at IS NULL OR expires_at < $6
                     OR ($7 AND host = $8 AND pid = $9 AND process_start = $10))
                 RETURNING token",
            )
            .bind(&owner.host)
            .bind(&owner.boot_id)
            .bind(owner.pid)
            .bind(owner.process_start)
            .bind(now() + lease())
            .bind(now())
            .bind(over)
            .bind(found.owner.as_ref().map(|holder| holder.host.clone()))
            .bind(found.owner.as_ref().map(|holder| holder.pid))
            .bind(found.owner.as_ref().map(|holder| holder.process_start))
            .fetch_optional(&mut *tx)
            .await?
        });
        match (token, found.owner) {
            (Some(token), _) => Ok(Lead { token }),
            (None, Some(holder)) => {
                Err(Error::Led { holder: format!("a daemon on {} (process {})", holder.host, holder.pid) })
            }
            (None, None) => Err(Error::Led { holder: "another daemon".to_owned() }),
        }
    }

    /// A sign of life; says how often the bell was rung so far. [`Error::NotLeading`] once another has taken over.
    pub async fn keep_lead(&self, lead: Lead) -> Result<()> {
        in_transaction!(self, |tx| {
            led!(tx, lead);
            sqlx::query("UPDATE scheduler SET expires_at = $1 WHERE id = 1")
                .bind(now() + lease())
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Gives the lead back, for the next one to take at once.
    pub async fn give_up_lead(&self, lead: Lead) -> Result<()> {
        in_transaction!(self, |tx| {
            led!(tx, lead);
            sqlx::query(
                "UPDATE scheduler SET host = NULL, boot_id = NULL, pid = NULL, process_start = NULL, expires_at = NULL,
                     status = NULL WHERE id = 1",
            )
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// What the scheduler says of itself.
    pub async fn set_status(&self, lead: Lead, status: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            led!(tx, lead);
            sqlx::query("UPDATE scheduler SET status = $1 WHERE id = 1").bind(clean(status)).execute(&mut *tx).await?;
        });
        Ok(())
    }

    /// How often the bell was rung so far, and the token of whoever leads: the question that a scheduler asks twice a
    /// second.
    pub async fn bell(&self) -> Result<(i64, Lead)> {
        let (bell, token) = on_pool!(self, |pool| {
            sqlx::query_as::<_, (i64, i64)>("SELECT bell, token FROM scheduler WHERE id = 1").fetch_one(pool).await?
        });
        Ok((bell, Lead { token }))
    }

    /// Who schedules.
    pub async fn scheduler(&self) -> Result<Scheduler> {
        let row: Row = on_pool!(self, |pool| {
            sqlx::query_as("SELECT host, boot_id, pid, process_start, expires_at, status FROM scheduler WHERE id = 1")
                .fetch_one(pool)
                .await?
        });
        let owner = match (row.host, row.boot_id, row.pid, row.process_start) {
            (Some(host), Some(boot_id), Some(pid), Some(process_start)) => {
                Some(Owner { host, boot_id, pid, process_start })
            }
            _ => None,
        };
        Ok(Scheduler { owner, expires_at: row.expires_at, status: row.status })
    }
}

fn lease() -> TimeDelta {
    TimeDelta::from_std(LEASE).unwrap_or(TimeDelta::MAX)
}

#[derive(sqlx::FromRow)]
struct Row {
    host: Option<String>,
    boot_id: Option<String>,
    pid: Option<i64>,
    process_start: Option<i64>,
    expires_at: Option<DateTime<Utc>>,
    status: Option<String>,
}
