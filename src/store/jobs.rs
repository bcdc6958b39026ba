//! What a scheduler must not forget of a job between two starts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Error, Lead, Result, RunState, Store, clean, now, stamp};

/// One job as the scheduler knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// What is in force: the last version of its file that was whole.
    pub job_toml: String,
    /// Why the file is not what is in force.
    pub file_problem: Option<String>,
    /// Schedule and zone that `fired_up_to` belongs to.
    pub schedule: Option<String>,
    /// Every due instant up to here is decided on.
    pub fired_up_to: Option<DateTime<Utc>>,
    /// Ends of other jobs' runs up to here were looked at.
    pub after_up_to: Option<DateTime<Utc>>,
    /// Since when its triggers start nothing.
    pub paused_at: Option<DateTime<Utc>>,
    /// Why.
    pub paused_because: Option<String>,
    /// Failures count in runs after this one.
    pub failures_after: i64,
    /// When a trigger was last due and nothing was started.
    pub skipped_at: Option<DateTime<Utc>>,
    /// Why.
    pub skipped_because: Option<String>,
}

impl JobRow {
    /// A job of which nothing is known but its name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            job_toml: String::new(),
            file_problem: None,
            schedule: None,
            fired_up_to: None,
            after_up_to: None,
            paused_at: None,
            paused_because: None,
            failures_after: 0,
            skipped_at: None,
            skipped_because: None,
        }
    }
}

impl Store {
    /// What is known of every job, by name; `also_removed`: also of those whose files are gone.
    pub async fn jobs(&self, also_removed: bool) -> Result<Vec<JobRow>> {
        Ok(on_pool!(self, |pool| {
            sqlx::query_as(
                "SELECT name, job_toml, file_problem, schedule, fired_up_to, after_up_to, paused_at, paused_because,
                     failures_after, skipped_at, skipped_because
                 FROM jobs WHERE removed_at IS NULL OR $1 ORDER BY name",
            )
            .bind(also_removed)
            .fetch_all(pool)
            .await?
        }))
    }

    /// Writes down what jobs are now, all or none: their text, the problem of their file, where their schedule begins. What
    /// people and runs have said of them stays.
    pub async fn save_jobs(&self, lead: Lead, rows: &[JobRow]) -> Result<()> {
        in_transaction!(self, |tx| {
            led!(tx, lead);
            for row in rows {
                sqlx::query(
                    "INSERT INTO jobs (name, job_toml, file_problem, schedule, fired_up_to, after_up_to)
                     VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (name) DO UPDATE SET job_toml = excluded.job_toml,
                         file_problem = excluded.file_problem, schedule = excluded.schedule,
                         fired_up_to = excluded.fired_up_to, after_up_to = excluded.after_up_to, removed_at = NULL",
                )
                .bind(&row.name)
                .bind(&row.job_toml)
                .bind(row.file_problem.as_deref().map(clean))
                .bind(row.schedule.as_deref())
                .bind(row.fired_up_to.map(stamp))
                .bind(row.after_up_to.map(stamp))
                .execute(&mut *tx)
                .await?;
            }
        });
        Ok(())
    }

    /// Jobs whose files are gone.
    pub async fn remove_jobs(&self, lead: Lead, names: &[&String]) -> Result<()> {
        in_transaction!(self, |tx| {
            led!(tx, lead);
            for name in names {
                sqlx::query("UPDATE jobs SET removed_at = $2 WHERE name = $1 AND removed_at IS NULL")
                    .bind(*name)
                    .bind(now())
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// Lets a job's triggers start nothing from now on. Doing it again keeps the first reason.
    pub async fn pause_job(&self, name: &str, because: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            ring!(tx);
            let paused = sqlx::query(
                "UPDATE jobs SET paused_because = CASE WHEN paused_at IS NULL THEN $3 ELSE paused_because END,
                     paused_at = COALESCE(paused_at, $2)
                 WHERE name = $1 AND removed_at IS NULL",
            )
            .bind(name)
            .bind(now())
            .bind(clean(because))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if paused == 0 {
                return Err(Error::NoSuchJob(name.to_owned()));
            }
        });
        Ok(())
    }

    /// Lets a job's triggers start runs again. Failures count anew from here; times that passed meanwhile are not caught up.
    pub async fn resume_job(&self, name: &str) -> Result<()> {
        in_transaction!(self, |tx| {
            ring!(tx);
            let resumed = sqlx::query(
                "UPDATE jobs SET paused_at = NULL, paused_because = NULL,
                     failures_after = (SELECT COALESCE(MAX(id), 0) FROM runs WHERE job = $1)
                 WHERE name = $1 AND removed_at IS NULL",
            )
            .bind(name)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if resumed == 0 {
                return Err(Error::NoSuchJob(name.to_owned()));
            }
        });
        Ok(())
    }

    /// The jobs that are paused: since when, and why.
    pub async fn paused_jobs(&self) -> Result<BTreeMap<String, (DateTime<Utc>, String)>> {
        let rows: Vec<(String, DateTime<Utc>, Option<String>)> = on_pool!(self, |pool| {
            sqlx::query_as("SELECT name, paused_at, paused_because FROM jobs WHERE paused_at IS NOT NULL")
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().map(|(name, at, because)| (name, (at, because.unwrap_or_default()))).collect())
    }

    /// The states that a job's last runs ended in since its failures count, newest first.
    pub async fn last_ends(&self, job: &str, limit: u32) -> Result<Vec<RunState>> {
        let words: Vec<String> = on_pool!(self, |pool| {
            sqlx::query_scalar(
                "SELECT state FROM runs WHERE job = $1 AND ended_at IS NOT NULL
                     AND id > COALESCE((SELECT failures_after FROM jobs WHERE name = $1), 0)
                 ORDER BY id DESC LIMIT $2",
            )
            .bind(job)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await?
        });
        words.iter().map(|word| word.parse()).collect()
    }
}
