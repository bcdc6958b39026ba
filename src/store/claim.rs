//! The token that every write of a worker carries.

use super::{Error, RunState};

/// One attempt's right to write for a run. A worker gets it as two numbers on its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Claim {
    /// The run.
    pub run_id: i64,
    /// The attempt, from 1.
    pub attempt: i64,
}

impl Claim {
    /// Why a compare-and-set on this claim matched no row, told from the row that is there.
    pub(super) fn refusal(self, found: Option<(String, i64)>) -> Error {
        let Some((state, current)) = found else { return Error::NoSuchRun(self.run_id) };
        match state.parse::<RunState>() {
            Ok(state) => Error::Fenced { run_id: self.run_id, attempt: self.attempt, current, state },
            Err(error) => error,
        }
    }
}

/// Looks up what stands in a claim's way, inside of a transaction.
macro_rules! refusal {
    ($tx:ident, $claim:expr) => {{
        let claim: crate::store::Claim = $claim;
        let found: Option<(String, i64)> = sqlx::query_as("SELECT state, attempt FROM runs WHERE id = $1")
            .bind(claim.run_id)
            .fetch_optional(&mut *$tx)
            .await?;
        claim.refusal(found)
    }};
}

/// Holds the claim for the rest of the transaction, or returns [`Error::Fenced`].
///
/// An update and not a look: it takes the row's lock, so that `PostgreSQL` cannot let another process
/// end the run between here and the commit; and it leaves a sign of life.
macro_rules! hold {
    ($tx:ident, $claim:expr) => {{
        let claim: crate::store::Claim = $claim;
        let held = sqlx::query("UPDATE runs SET heard_at = $3 WHERE id = $1 AND attempt = $2 AND state = 'running'")
            .bind(claim.run_id)
            .bind(claim.attempt)
            .bind(crate::store::now())
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if held == 0 {
            return Err(refusal!($tx, claim));
        }
    }};
}
