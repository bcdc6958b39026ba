//! Which indexes the table has, and the questions that they answer without a look at all of its rows.

use super::super::{MissingIndex, Place};
use super::{Columns, Postgres, close, execute};
use crate::data::{Error, time};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

/// Indexes over all rows that serve a search in order.
pub(super) struct Indexes {
    /// Its first two columns are video and time.
    pub(super) video_time: bool,
    /// Its first column is the time.
    time: bool,
    /// What the table is, as `pg_class.relkind` says it.
    kind: String,
}

impl Indexes {
    pub(super) async fn of(connection: &mut PgConnection, place: &Place) -> Result<Self, Error> {
        let (video_time, time, kind) = sqlx::query_as(
            "SELECT coalesce(bool_or(first.attname = 'video_id' AND second.attname = 'timestamp'), false),
                    coalesce(bool_or(first.attname = 'timestamp'), false),
                    coalesce((SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)), 'r')
             FROM pg_index
             JOIN pg_class ON pg_class.oid = indexrelid
             JOIN pg_am ON pg_am.oid = relam AND amname = 'btree'
             JOIN pg_attribute AS first ON first.attrelid = indrelid AND first.attnum = indkey[0]
             LEFT JOIN pg_attribute AS second ON second.attrelid = indrelid AND second.attnum = indkey[1]
             WHERE indrelid = to_regclass($1) AND indisvalid AND indpred IS NULL",
        )
        .bind(place.table.quoted())
        .fetch_one(connection)
        .await
        .map_err(|error| place.unread(error))?;
        Ok(Self { video_time, time, kind })
    }

    /// Without a look at all rows.
    pub(super) fn finds_newest(&self) -> bool {
        self.time || self.video_time
    }

    pub(super) fn missing(&self, place: &Place) -> Vec<MissingIndex> {
        let concurrently = match self.kind.as_str() {
            // collectors would have to wait otherwise
            "r" | "m" => "CONCURRENTLY ",
            // PostgreSQL cannot for partitioned tables
            "p" => "",
            // views and foreign tables have no indexes of their own
            _ => return Vec::new(),
        };
        let create = |columns| format!("CREATE INDEX {concurrently}ON {} ({columns})", place.table.quoted());
        let mut missing = Vec::new();
        if !self.video_time {
            let without = "`retraind predict` and `retraind import` read the whole table";
            missing.push(MissingIndex { without, create: create("video_id, \"timestamp\"") });
        }
        if !self.time {
            let without = if self.video_time {
                "a data_volume trigger asks video by video for new rows"
            } else {
                "a data_volume trigger reads the whole table to find new rows"
            };
            missing.push(MissingIndex { without, create: create("\"timestamp\"") });
        }
        missing
    }
}

impl Postgres {
    pub(in super::super) async fn count_since(
        &self,
        place: &Place,
        since: Option<i64>,
        at_most: u64,
    ) -> Result<u64, Error> {
        let mut connection = self.snapshot(place).await?;
        let columns = Columns::of(&mut connection, place).await?;
        let indexes = Indexes::of(&mut connection, place).await?;
        prefer_indexes(&mut connection, place).await?;
        let (table, newer) = (place.table.quoted(), since.map_or("true".to_owned(), |since| later(&columns, since)));
        let question = if since.is_some() && indexes.video_time && !indexes.time {
            format!(
                "WITH RECURSIVE video AS (
                    (SELECT video_id, 0::bigint AS n FROM {table} ORDER BY video_id LIMIT 1)
                    UNION ALL
                    SELECT (SELECT next.video_id FROM {table} AS next WHERE next.video_id > video.video_id
                            ORDER BY next.video_id LIMIT 1),
                           n + (SELECT count(*) FROM (
                                SELECT 1 FROM {table} AS one WHERE one.video_id = video.video_id AND {newer} LIMIT {at_most}
                           ) AS newer)
                    FROM video WHERE video.video_id IS NOT NULL AND n < {at_most}
                ) SELECT coalesce(least(max(n), {at_most}), 0) FROM video"
            )
        } else {
            format!("SELECT count(*) FROM (SELECT 1 FROM {table} AS one WHERE {newer} LIMIT {at_most}) AS newer")
        };
        let n: i64 = sqlx::query_scalar(AssertSqlSafe(question))
            .fetch_one(&mut connection)
            .await
            .map_err(|error| place.unread(error))?;
        close(connection).await;
        Ok(n as u64)
    }

    pub(in super::super) async fn newest(&self, place: &Place) -> Result<Option<DateTime<Utc>>, Error> {
        let mut connection = self.snapshot(place).await?;
        let columns = Columns::of(&mut connection, place).await?;
        let indexes = Indexes::of(&mut connection, place).await?;
        prefer_indexes(&mut connection, place).await?;
        let newest = indexes.newest(&mut connection, place, &columns).await?;
        close(connection).await;
        Ok(newest)
    }
}

impl Indexes {
    /// The newest row's time, where indexes are preferred already.
    pub(super) async fn newest(
        &self,
        connection: &mut PgConnection,
        place: &Place,
        columns: &Columns,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let (table, plain) = (place.table.quoted(), is_plain(columns));
        let question = if self.video_time && !self.time {
            format!(
                "{} SELECT max((SELECT max(timestamp) FROM {table} AS one WHERE one.video_id = video.video_id AND {plain}))
                     ::timestamptz FROM video",
                each_video(&table)
            )
        } else {
            format!("SELECT max(timestamp)::timestamptz FROM {table} WHERE {plain}")
        };
        let newest = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(connection).await;
        newest.map_err(|error| place.unread(error))
    }
}

/// For questions that an index answers. Of a table that was never analysed the server expects a third of the rows to be new,
/// and reads all of it: 9.7 s instead of 0.4 ms for a hundred million rows.
pub(super) async fn prefer_indexes(connection: &mut PgConnection, place: &Place) -> Result<(), Error> {
    let set = execute(connection, "SET LOCAL enable_seqscan = off".to_owned()).await;
    set.map_err(|error| place.unread(error))
}

/// Whether a time is one that a calendar has: `infinity` is the newest of all, and so is the year 290000. In words that an
/// index understands.
pub(super) fn is_plain(columns: &Columns) -> &'static str {
    if columns.is_time("timestamp") { "timestamp < '200000-01-01'" } else { "true" }
}

/// `one` is later, in words that an index on the column's own type understands.
fn later(columns: &Columns, since: i64) -> String {
    let since = format!("'{}'::timestamptz", time::text(since));
    match columns.sql_type("timestamp").filter(|_| columns.is_time("timestamp")) {
        Some(own) => format!("one.timestamp > {since}::{own}"),
        None => format!("one.timestamp::timestamptz > {since}"),
    }
}

/// The table `video` of all ids and at most one NULL, each id found by a step through the index.
pub(super) fn each_video(table: &str) -> String {
    format!(
        "WITH RECURSIVE video AS (
            (SELECT video_id FROM {table} ORDER BY video_id LIMIT 1)
            UNION ALL
            SELECT (SELECT next.video_id FROM {table} AS next WHERE next.video_id > video.video_id
                    ORDER BY next.video_id LIMIT 1)
            FROM video WHERE video.video_id IS NOT NULL
        )"
    )
}
