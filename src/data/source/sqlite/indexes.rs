//! Which indexes the table has, and the questions that they answer without a look at all of its rows.
//!
//! The key of a table of ours answers them video by video, at two searches each: a second index for the times alone
//! would make every import slower, for a question that is asked once in a minute.

use super::super::{MissingIndex, Place};
use super::{Open, Sqlite, texts, time_of};
use crate::data::{Error, time};
use chrono::{DateTime, Utc};
use rusqlite::params;

impl Sqlite {
    pub(in super::super) async fn count_since(
        &self,
        place: &Place,
        since: Option<i64>,
        at_most: u64,
    ) -> Result<u64, Error> {
        // SQLite's numbers have a sign.
        let limit = i64::try_from(at_most).unwrap_or(i64::MAX);
        self.open(place, move |open| {
            let table = open.table();
            let n: i64 = match since {
                None => open.one(&format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT ?)"), [limit])?,
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
                    open.one(&question, params![time::text(since), limit])?
                }
                Some(since) => {
                    let mut n = 0;
                    open.times(|at| {
                        n += i64::from(at > since);
                        n < limit
                    })?;
                    n.min(limit)
                }
            };
            Ok(n as u64)
        })
        .await
    }

    pub(in super::super) async fn newest(&self, place: &Place) -> Result<Option<DateTime<Utc>>, Error> {
        let newest = self.open(place, Open::newest).await?;
        Ok(newest.and_then(DateTime::from_timestamp_micros))
    }
}

impl Open {
    /// Every id of a table of ours.
    pub(super) fn videos(&self) -> Result<Vec<String>, Error> {
        let next = format!("{} SELECT id FROM video WHERE id IS NOT NULL", videos(&self.table()));
        texts(&self.connection, &next, ()).map_err(|error| self.place.unread_file(error))
    }

    pub(super) fn newest(&self) -> Result<Option<i64>, Error> {
        let table = self.table();
        if self.ours {
            let newest = format!("SELECT max((SELECT max(timestamp) FROM {table} WHERE video_id = id)) FROM video");
            let newest: Option<String> = self.one(&format!("{} {newest}", videos(&table)), ())?;
            return Ok(newest.and_then(|newest| time::parse(newest.as_bytes())));
        }
        let mut newest = None;
        self.times(|at| {
            newest = newest.max(Some(at));
            true
        })?;
        Ok(newest)
    }

    /// Every time of a table with times of any form, as long as `more` says so.
    fn times(&self, mut more: impl FnMut(i64) -> bool) -> Result<(), Error> {
        let unread = |error| self.place.unread_file(error);
        let select = format!("SELECT timestamp, CAST(video_id AS TEXT) FROM {}", self.table());
        let mut statement = self.connection.prepare(&select).map_err(unread)?;
        let mut rows = statement.query(()).map_err(unread)?;
        while let Some(row) = rows.next().map_err(unread)? {
            let at = time_of(row.get_ref(0).map_err(unread)?);
            let video = || row.get::<_, String>(1).unwrap_or_default();
            if !more(at.map_err(|value| self.place.not_a_time(&video(), value))?) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn missing_indexes(&self) -> Result<Vec<MissingIndex>, Error> {
        let indexed: bool = self.one(
            "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?) AS list
             WHERE (SELECT name FROM pragma_index_info(list.name) WHERE seqno = 0) = 'video_id')",
            [&self.place.table.name],
        )?;
        if indexed {
            return Ok(Vec::new());
        }
        // Times of any form have no order in an index, so that one on video and time would serve no better.
        let without = "`retraind import` reads the whole table once for each video";
        let create = format!("CREATE INDEX {name}_video ON {name} (video_id)", name = self.place.table.name);
        Ok(vec![MissingIndex { without, create }])
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
