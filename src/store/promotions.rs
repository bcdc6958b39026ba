//! Promotions: rows before they are actions.
//!
//! The caller begins one, swaps the champion file, and settles it. After a crash in between, it looks at
//! the champion file and settles what is pending: done if the file names the version, else abandoned.

use chrono::{DateTime, Utc};

use super::words::words;
use super::{Claim, Error, Result, Store, now};

words! {
    /// What a promotion is for.
    PromotionKind {
        /// The first champion of a target.
        First = "first",
        /// A challenger takes the champion's place.
        Promote = "promote",
        /// An earlier champion comes back.
        Rollback = "rollback",
    }
}

words! {
    /// Where a promotion stands.
    PromotionState {
        /// The champion file may or may not have been swapped.
        Pending = "pending",
        /// It was.
        Done = "done",
        /// It was not.
        Abandoned = "abandoned",
    }
}

/// How a pending promotion ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The champion file names the version.
    Done,
    /// It does not.
    Abandoned,
}

impl Settlement {
    const fn state(self) -> PromotionState {
        match self {
            Self::Done => PromotionState::Done,
            Self::Abandoned => PromotionState::Abandoned,
        }
    }
}

/// A promotion about to happen.
#[derive(Debug, Clone)]
pub struct NewPromotion<'a> {
    /// The target.
    pub target: &'a str,
    /// The version that goes into service.
    pub version: &'a str,
    /// The one that leaves it.
    pub previous_version: Option<&'a str>,
    /// What it is for.
    pub kind: PromotionKind,
    /// Why, in words.
    pub cause: &'a str,
}

/// One change of a champion.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Promotion {
    /// Its number, in order of beginning.
    pub id: i64,
    /// The target.
    pub target: String,
    /// The version that goes into service.
    pub version: String,
    /// The one that leaves it.
    pub previous_version: Option<String>,
    /// What it is for.
    #[sqlx(try_from = "String")]
    pub kind: PromotionKind,
    /// Why, in words.
    pub cause: String,
    /// The run that asked for it.
    pub run_id: Option<i64>,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: PromotionState,
    /// When it was begun.
    pub begun_at: DateTime<Utc>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Named one by one, as for runs: a newer program may add columns while this one runs.
macro_rules! columns {
    () => {
        "id, target, version, previous_version, kind, cause, run_id, state, begun_at, settled_at"
    };
}

impl Store {
    /// Announces a promotion, before the champion file is touched. One at a time for each target:
    /// [`Error::PromotionPending`]. A worker passes its claim, a person has none.
    pub async fn begin_promotion(&self, claim: Option<Claim>, new: NewPromotion<'_>) -> Result<Promotion> {
        Ok(in_transaction!(self, |tx| {
            if let Some(claim) = claim {
                hold!(tx, claim);
            }
            let begun: Option<Promotion> = sqlx::query_as(concat!(
                "INSERT INTO promotions
                     (target, version, previous_version, kind, cause, run_id, state, begun_at)
                 VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7)
                 ON CONFLICT (target) WHERE state = 'pending' DO NOTHING
                 RETURNING ",
                columns!()
            ))
            .bind(new.target)
            .bind(new.version)
            .bind(new.previous_version)
            .bind(new.kind.as_str())
            .bind(new.cause)
            .bind(claim.map(|claim| claim.run_id))
            .bind(now())
            .fetch_optional(&mut *tx)
            .await?;
            let Some(begun) = begun else {
                let id = sqlx::query_scalar("SELECT id FROM promotions WHERE target = $1 AND state = 'pending'")
                    .bind(new.target)
                    .fetch_one(&mut *tx)
                    .await?;
                return Err(Error::PromotionPending { target: new.target.to_owned(), id });
            };
            begun
        }))
    }

    /// Writes down how a promotion ended. Saying the same twice is fine: two processes may look at one
    /// champion file after a crash.
    pub async fn settle_promotion(&self, id: i64, settlement: Settlement) -> Result<()> {
        in_transaction!(self, |tx| {
            sqlx::query("UPDATE promotions SET state = $2, settled_at = $3 WHERE id = $1 AND state = 'pending'")
                .bind(id)
                .bind(settlement.state().as_str())
                .bind(now())
                .execute(&mut *tx)
                .await?;
            let state: Option<String> = sqlx::query_scalar("SELECT state FROM promotions WHERE id = $1")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
            let state = state.ok_or(Error::NoSuchPromotion(id))?.parse()?;
            if state != settlement.state() {
                return Err(Error::PromotionSettled { id, state });
            }
        });
        Ok(())
    }

    /// Promotions that a crash may have cut short; oldest first.
    pub async fn pending_promotions(&self) -> Result<Vec<Promotion>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!("SELECT ", columns!(), " FROM promotions WHERE state = 'pending' ORDER BY id"))
                .fetch_all(pool)
                .await?
        }))
    }

    /// The promotions of one target or of all; newest first.
    pub async fn promotions(&self, target: Option<&str>) -> Result<Vec<Promotion>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                columns!(),
                " FROM promotions WHERE $1 IS NULL OR target = $1 ORDER BY id DESC"
            ))
            .bind(target)
            .fetch_all(pool)
            .await?
        }))
    }
}
