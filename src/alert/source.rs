//! Whether new rows still come, for the jobs that want to know.

use super::{Condition, Rule, raise, resolve};
use crate::data::Source;
use crate::error::chain;
use crate::job::{self, Job};
use crate::settings::Settings;
use crate::store::{self, Store};
use crate::watch::time;
use chrono::{DateTime, SecondsFormat, Utc};
use std::time::Duration;

/// How often the newest row is looked at: it is a query on somebody's database.
pub(super) const EVERY: Duration = Duration::from_mins(5);

/// Looks once. A job file that cannot be read is somebody else's to tell of.
pub(super) async fn look(store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<(), store::Error> {
    let files = job::files(&settings.jobs.dir).unwrap_or_default();
    let jobs: Vec<(Job, Duration)> = files
        .iter()
        .filter_map(|file| Job::read(file, &[]).ok())
        .filter_map(|job| job.alerts.no_new_data_for.map(|limit| (job, limit)))
        .collect();
    if jobs.is_empty() {
        return resolve(store, Rule::SourceDown, "", None, "no job asks for new rows any more").await.map(drop);
    }
    let source = &settings.source;
    let newest = async { Source::connect(&source.url, &source.table, source.statement_timeout).await?.newest().await };
    let newest = match newest.await {
        Ok(newest) => newest,
        Err(error) => {
            let since = now.to_rfc3339_opts(SecondsFormat::Secs, true);
            let down =
                Condition::new(Rule::SourceDown, "", format!("since {since}"), format!("failed to {}", chain(&error)));
            return raise(store, &down).await.map(|_| ());
        }
    };
    resolve(store, Rule::SourceDown, "", None, "the recorded counts can be read").await?;
    for (job, limit) in jobs {
        let age = newest.map(|newest| (now - newest).to_std().unwrap_or_default());
        if age.is_some_and(|age| age <= limit) {
            let how = format!("the newest row is {} old", time(age.unwrap_or_default()));
            resolve(store, Rule::NoNewData, &job.name, None, &how).await?;
            continue;
        }
        let (onset, value) = match newest {
            Some(newest) => (newest.to_rfc3339(), format!("{} ago", time(age.unwrap_or_default()))),
            None => ("no row".to_owned(), "no row at all".to_owned()),
        };
        let summary = format!("no new data for longer than {}", time(limit));
        let none = Condition::new(Rule::NoNewData, &job.name, format!("newest {onset}"), summary);
        let none = Condition { since: newest.unwrap_or(now), ..none }.addressed(&job.alerts);
        raise(store, &none.measured(format!("newest row {value}"), time(limit))).await?;
    }
    Ok(())
}
