//! Attempts of a supervised run: taken over by their worker, kept alive, ended with the run or without it.

use chrono::{DateTime, Utc};

use super::words::words;
use super::{Claim, Lead, Owner, Result, Store, clean, now, stamp};

words! {
    /// How an attempt ended that did not end its run.
    Ending {
        /// By an error that may be gone next time.
        Transient = "transient",
        /// A signal asked for it; what was reached is kept.
        Stopped = "stopped",
        /// Without a word: killed, out of memory, a crash.
        Died = "died",
        /// Nobody was there to see it.
        Interrupted = "interrupted",
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attempt {
    /// Which, from 1.
    pub attempt: i64,
    /// How.
    pub ending: Ending,
    /// When.
    pub ended_at: DateTime<Utc>,
    /// Why, in words.
    pub error: Option<String>,
}

impl Store {
    /// A worker's first act: it takes the run from the scheduler that started it, with a word that is good once. Refused
    /// with [`super::Error::Fenced`] once that has given the attempt up.
    pub async fn take_run(&self, claim: Claim, nonce: &str, owner: &Owner) -> Result<()> {
        in_transaction!(self, |tx| {
            let taken = sqlx::query(
                "UPDATE runs SET owner_host = $4, owner_boot_id = $5, owner_pid = $6, owner_process_start = $7,
                     heard_at = $8, owner_nonce = NULL
                 WHERE id = $1 AND attempt = $2 AND owner_nonce = $3 AND state = 'running'",
            )
            .bind(claim.run_id)
            .bind(claim.attempt)
            .bind(nonce)
            .bind(&owner.host)
            .bind(&owner.boot_id)
            .bind(owner.pid)
            .bind(owner.process_start)
            .bind(now())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if taken == 0 {
                return Err(refusal!(tx, claim));
            }
        });
        Ok(())
    }

    /// Whether its worker has taken the run: until then the row names the scheduler that started it.
    pub async fn is_taken(&self, claim: Claim) -> Result<bool> {
        let taken: Option<bool> = on_pool!(self, |pool| {
            sqlx::query_scalar("SELECT owner_nonce IS NULL FROM runs WHERE id = $1 AND attempt = $2")
                .bind(claim.run_id)
                .bind(claim.attempt)
                .fetch_optional(pool)
                .await?
        });
        Ok(taken.unwrap_or(false))
    }

    /// A sign of life of a worker.
    pub async fn beat(&self, claim: Claim) -> Result<()> {
        in_transaction!(self, |tx| {
            hold!(tx, claim);
        });
        Ok(())
    }

    /// A worker's last word when its attempt ends and the run does not: what becomes of the run is for the scheduler to say.
    pub async fn end_attempt(&self, claim: Claim, ending: Ending, error: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            hold!(tx, claim);
            record_ending!(tx, claim, ending, error);
        });
        Ok(())
    }

    /// Puts a run back whose attempt is over: it waits for the next one, until `not_before`. From here on the old attempt can
    /// write nothing.
    pub async fn requeue_run(
        &self,
        lead: Lead,
        claim: Claim,
        ending: Ending,
        error: &str,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let failed = matches!(ending, Ending::Transient | Ending::Died);
        in_transaction!(self, |tx| {
            led!(tx, lead);
            hold!(tx, claim);
            record_ending!(tx, claim, ending, error);
            sqlx::query(
                "UPDATE runs SET state = 'queued', not_before = $2, owner_nonce = NULL,
                     n_failures = n_failures + $3, n_interruptions = n_interruptions + $4
                 WHERE id = $1",
            )
            .bind(claim.run_id)
            .bind(not_before.map(stamp))
            .bind(i64::from(failed))
            .bind(i64::from(!failed))
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// How attempts of a run ended that did not end it; oldest first.
    pub async fn attempts(&self, run_id: i64) -> Result<Vec<Attempt>> {
        let rows: Vec<(i64, String, DateTime<Utc>, Option<String>)> = on_pool!(self, |pool| {
            sqlx::query_as("SELECT attempt, ending, ended_at, error FROM attempts WHERE run_id = $1 ORDER BY attempt")
                .bind(run_id)
                .fetch_all(pool)
                .await?
        });
        rows.into_iter()
            .map(|(attempt, ending, ended_at, error)| Ok(Attempt { attempt, ending: ending.parse()?, ended_at, error }))
            .collect()
    }
}

/// The first word counts: a worker knows better than whoever finds it gone.
macro_rules! record_ending {
    ($tx:ident, $claim:ident, $ending:ident, $error:ident) => {
        sqlx::query(
            "INSERT INTO attempts (run_id, attempt, ending, ended_at, error) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (run_id, attempt) DO NOTHING",
        )
        .bind($claim.run_id)
        .bind($claim.attempt)
        .bind($ending.as_str())
        .bind(now())
        .bind(clean($error))
        .execute(&mut *$tx)
        .await?
    };
}
use record_ending;
