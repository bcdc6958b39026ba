//! What an import reads and writes, all of it inside the caller's transaction.

use super::super::table::COLUMNS;
use super::super::{Arrivals, Place};
use super::{Open, arguments, bind, execute, select};
use crate::data::{Error, Series, time};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, SqlSafeStr};
use std::sync::Arc;

/// What the table has to keep, in the words that show later that the import made it. `STRICT` keeps types, the check
/// keeps the form of times; `WITHOUT ROWID` keeps rows where the key says, which halves the file.
pub(super) const CONTENTS: &str = "(
    timestamp TEXT NOT NULL CHECK (timestamp GLOB '????-??-??T??:??:??.??????Z'),
    video_id TEXT NOT NULL,
    view_count INTEGER NOT NULL,
    like_count INTEGER NOT NULL,
    comment_count INTEGER NOT NULL,
    views_growth_rate REAL,
    likes_growth_rate REAL,
    comments_growth_rate REAL,
    PRIMARY KEY (video_id, timestamp)
) STRICT, WITHOUT ROWID";

/// Rows of one INSERT: enough that preparing and passing it on costs little a row.
const ROWS_PER_INSERT: usize = 256;

impl Open {
    /// The rows of the videos to import that matter to a merge.
    pub(super) async fn existing(&mut self, place: &Place, series: &Series) -> Result<Series, Error> {
        let (mut arrivals, table) = (Arrivals::new(), place.table.quoted());
        for video in &series.videos {
            let since = time::text(series.at[video.rows.start]);
            let (select, arguments) = if self.ours {
                let before = format!("SELECT max(timestamp) FROM {table} WHERE video_id = ?1 AND timestamp < ?2");
                let select = select(&table);
                let select = format!("{select} WHERE video_id = ?1 AND timestamp >= coalesce(({before}), ?2)");
                (select, arguments(&[&video.id, &since]))
            } else {
                self.check_times(place, &video.id).await?;
                (format!("{} WHERE video_id = ?", select(&table)), arguments(&[&video.id]))
            };
            self.rows(place, select, arguments, &mut arrivals, &mut |_| {}).await?;
        }
        Ok(arrivals.finish().0)
    }

    /// Errors: a row of the video has its time in another form than ours.
    async fn check_times(&mut self, place: &Place, video: &str) -> Result<(), Error> {
        let other = format!(
            "SELECT CAST(timestamp AS TEXT) FROM {} WHERE video_id = ?
             AND (typeof(timestamp) <> 'text' OR timestamp NOT GLOB '????-??-??T??:??:??.??????Z') LIMIT 1",
            place.table.quoted()
        );
        let value: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(other))
            .bind(video)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| place.unwritten(error))?;
        match value {
            None => Ok(()),
            Some(value) => Err(Error::ForeignTimes {
                table: place.table.to_string(),
                value: value.unwrap_or_else(|| "NULL".to_owned()),
            }),
        }
    }
}

/// Writes rows into a table of ours.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    table: &str,
    series: &Series,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), sqlx::Error> {
    let (mut done, total) = (0, series.len() as u64);
    let full = AssertSqlSafe(upsert(table, ROWS_PER_INSERT)).into_sql_str();
    for video in &series.videos {
        let (id, mut rows) = (Arc::<str>::from(video.id.as_str()), video.rows.clone());
        while !rows.is_empty() {
            let n = rows.len().min(ROWS_PER_INSERT);
            let mut values = SqliteArguments::default();
            values.reserve(n * COLUMNS.len(), 0);
            for row in rows.by_ref().take(n) {
                bind(&mut values, time::text(series.at[row]));
                bind(&mut values, Arc::clone(&id));
                series.counts_of(row).into_iter().for_each(|count| bind(&mut values, count as i64));
                series.growth_of(row).into_iter().for_each(|rate| bind(&mut values, rate));
            }
            let insert = if n == ROWS_PER_INSERT {
                sqlx::query_with(full.clone(), values)
            } else {
                // Used once: no need to keep it prepared.
                sqlx::query_with(AssertSqlSafe(upsert(table, n)).into_sql_str(), values).persistent(false)
            };
            insert.execute(&mut *connection).await?;
            done += n as u64;
            progress(done, total);
        }
    }
    Ok(())
}

/// An INSERT of so many rows.
fn upsert(table: &str, rows: usize) -> String {
    let columns = COLUMNS.join(", ");
    let values = vec!["(?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    let set = COLUMNS[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {table} ({columns}) VALUES {values} ON CONFLICT (video_id, timestamp) DO UPDATE SET {set}")
}

/// Writes rows into a table that may lack a key, by way of one that has it.
pub(super) async fn insert_without_key(
    connection: &mut SqliteConnection,
    table: &str,
    series: &Series,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), sqlx::Error> {
    execute(connection, format!("CREATE TEMP TABLE retraind_incoming {CONTENTS}")).await?;
    insert(connection, "temp.retraind_incoming", series, progress).await?;
    let columns = COLUMNS.join(", ");
    let set = COLUMNS[2..].iter().map(|column| format!("{column} = new.{column}")).collect::<Vec<_>>().join(", ");
    let same = "old.video_id = new.video_id AND old.timestamp = new.timestamp";
    execute(connection, format!("UPDATE {table} AS old SET {set} FROM temp.retraind_incoming AS new WHERE {same}"))
        .await?;
    let new = COLUMNS.map(|column| format!("new.{column}")).join(", ");
    // A join, for which SQLite makes an index where there is none; NOT EXISTS would scan the table once a row.
    let insert = format!(
        "INSERT INTO {table} ({columns}) SELECT {new} FROM temp.retraind_incoming AS new
         LEFT JOIN {table} AS old ON {same} WHERE old.video_id IS NULL"
    );
    execute(connection, insert).await
}
