//! Which indexes the table has, and the questions that they answer without a look at all of its rows.
//!
//! The key of a table of ours answers them video by video, at two searches each: a second index for the times alone
//! would make every import slower, for a question that is asked once in a minute.

use super::super::{MissingIndex, Place};
use super::{Open, Sqlite, close, time_of};
use crate::data::{Error, time};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row};

impl Sqlite {
    pub(in super::super) async fn count_since(
        &self,
        place: &Place,
        since: Option<i64>,
        at_most: u64,
    ) -> Result<u64, Error> {
        let mut open = self.open(place).await?;
        let table = place.table.quoted();
        // SQLite's numbers have a sign.
        let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
        let unread = |error| place.unread(error);
        let n = match since {
            None => {
                let question = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT ?)");
                let n: i64 = sqlx::query_scalar(AssertSqlSafe(question))
                    .bind(limit)
                    .fetch_one(&mut open.connection)
                    .await
                    .map_err(unread)?;
                n as u64
            }
            Some(since) if open.ours => {
                let question = format!(
                    "WITH RECURSIVE video(id, n) AS (
                        SELECT min(video_id), 0 FROM {table}
                        UNION ALL
                        SELECT (SELECT min(video_id) FROM {table} WHERE video_id > id),
                               n + (SELECT count(*) FROM (
                                    SELECT 1 FROM {table} WHERE video_id = id AND timestamp > ?1 LIMIT ?2))
                        FROM video WHERE id IS NOT NULL AND n < ?2
                    ) SELECT min(max(n), ?2) FROM video"
                );
                let n: i64 = sqlx::query_scalar(AssertSqlSafe(question))
                    .bind(time::text(since))
                    .bind(limit)
                    .fetch_one(&mut open.connection)
                    .await
                    .map_err(unread)?;
                n as u64
            }
            Some(since) => {
                let mut n = 0;
                open.times(place, |at| {
                    n += u64::from(at > since);
                    n < at_most
                })
                .await?;
                n.min(at_most)
            }
        };
        close(open.connection).await;
        Ok(n)
    }

    pub(in super::super) async fn newest(&self, place: &Place) -> Result<Option<DateTime<Utc>>, Error> {
        let mut open = self.open(place).await?;
        let newest = open.newest(place).await?;
        close(open.connection).await;
        Ok(newest.and_then(DateTime::from_timestamp_micros))
    }
}

impl Open {
    /// Every id of a table of ours.
    pub(super) async fn videos(&mut self, table: &str) -> Result<Vec<String>, sqlx::Error> {
        let next = format!("{} SELECT id FROM video WHERE id IS NOT NULL", videos(table));
        sqlx::query_scalar(AssertSqlSafe(next)).fetch_all(&mut self.connection).await
    }

    pub(super) async fn newest(&mut self, place: &Place) -> Result<Option<i64>, Error> {
        let table = place.table.quoted();
        if self.ours {
            let question = format!(
                "{} SELECT max((SELECT max(timestamp) FROM {table} WHERE video_id = id)) FROM video",
                videos(&table)
            );
            let newest: Option<String> = sqlx::query_scalar(AssertSqlSafe(question))
                .fetch_one(&mut self.connection)
                .await
                .map_err(|error| place.unread(error))?;
            return Ok(newest.and_then(|newest| time::parse(newest.as_bytes())));
        }
        let mut newest = None;
        self.times(place, |at| {
            newest = newest.max(Some(at));
            true
        })
        .await?;
        Ok(newest)
    }

    /// Every time of a table with times of any form, while `more` says so.
    async fn times(&mut self, place: &Place, mut more: impl FnMut(i64) -> bool) -> Result<(), Error> {
        let unread = |error| place.unread(error);
        let select = format!("SELECT timestamp, video_id FROM {}", place.table.quoted());
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(unread)? {
            let at = time_of(row.try_get_raw(0).map_err(unread)?);
            let video = || row.try_get_unchecked::<String, _>(1).unwrap_or_default();
            if !more(at.map_err(|value| place.not_a_time(&video(), value))?) {
                break;
            }
        }
        Ok(())
    }

    /// SQLite's version, and what the table lacks.
    pub(super) async fn missing_indexes(&mut self, place: &Place) -> Result<(String, Vec<MissingIndex>), sqlx::Error> {
        let question = "SELECT sqlite_version(), EXISTS (SELECT 1 FROM pragma_index_list(?) AS list
            WHERE (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 0) = 'video_id')";
        let (version, indexed): (String, bool) =
            sqlx::query_as(question).bind(&place.table.name).fetch_one(&mut self.connection).await?;
        // Times of any form have no order in an index, so one on video and time would serve no better.
        let without = "`retraind import` reads the whole table once for each video";
        let create = format!("CREATE INDEX {name}_video ON {name} (video_id)", name = place.table.name);
        let missing = if indexed { Vec::new() } else { vec![MissingIndex { without, create }] };
        Ok((version, missing))
    }
}

/// The table `video` of all ids and one NULL, each id found by a step through the key.
fn videos(table: &str) -> String {
    format!(
        "WITH RECURSIVE video(id) AS (
            SELECT min(video_id) FROM {table}
            UNION ALL
            SELECT (SELECT min(video_id) FROM {table} WHERE video_id > id) FROM video WHERE id IS NOT NULL
        )"
    )
}
