//! What programs of kind `exec` report.

use super::{Claim, Result, Store, clean, finite, now};

/// One thing reported; by one name the last one counts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Output {
    /// A number.
    Metric {
        /// What it is called.
        name: String,
        /// The number.
        value: f64,
    },
    /// A file.
    Artifact {
        /// What it is called.
        name: String,
        /// Where it is.
        path: String,
    },
}

impl Store {
    /// Writes down what a run's program reports.
    pub async fn record_output(&self, claim: Claim, output: &Output) -> Result<()> {
        let (kind, name, value, path) = match output {
            Output::Metric { name, value } => ("metric", name, finite(*value), None),
            Output::Artifact { name, path } => ("artifact", name, None, Some(clean(path))),
        };
        in_transaction!(self, |tx| {
            hold!(tx, claim);
            sqlx::query(
                "INSERT INTO run_outputs (run_id, attempt, kind, name, value, path, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (run_id, attempt, kind, name) DO UPDATE SET value = excluded.value, path = excluded.path,
                     at = excluded.at",
            )
            .bind(claim.run_id)
            .bind(claim.attempt)
            .bind(kind)
            .bind(clean(name))
            .bind(value)
            .bind(path)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// What the newest attempt of a run reported, in the order of names.
    pub async fn outputs(&self, run_id: i64) -> Result<Vec<Output>> {
        let rows: Vec<(String, Option<f64>, Option<String>)> = on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT name, value, path FROM run_outputs WHERE run_id = $1
                     AND attempt = (SELECT MAX(attempt) FROM run_outputs WHERE run_id = $1)
                 ORDER BY kind DESC, name",
            )
            .bind(run_id)
            .fetch_all(pool)
            .await?
        });
        let output = |(name, value, path): (String, Option<f64>, Option<String>)| match path {
            Some(path) => Output::Artifact { name, path },
            None => Output::Metric { name, value: value.unwrap_or(f64::NAN) },
        };
        Ok(rows.into_iter().map(output).collect())
    }
}
