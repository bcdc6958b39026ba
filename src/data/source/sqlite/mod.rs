//! The table in an SQLite file.
//!
//! A table that the import made keeps times in one fixed form and rows in order of video and time, so that a video's
//! newest rows are found at once. A table made elsewhere may hold times in any form and no key at all: it is read whole.

mod import;
mod indexes;

use super::table::COLUMNS;
use super::{Arrivals, Description, Imported, Place, tell};
use crate::data::merge::merge;
use crate::data::{Error, Series, time};
use futures_util::TryStreamExt;
use import::{CONTENTS, insert, insert_without_key};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteValueRef,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Encode, Row, SqlSafeStr, Type, TypeInfo, ValueRef};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// An SQLite file.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
}

/// An open file, and whether the table is one that the import made.
struct Open {
    connection: SqliteConnection,
    ours: bool,
}

impl Sqlite {
    pub(super) fn parse(url: &str, timeout: Duration) -> Result<Self, String> {
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let path = path.split('?').next().unwrap_or_default();
        match path {
            "" => return Err("it names no file".to_owned()),
            ":memory:" => return Err("a database in memory would be gone at once".to_owned()),
            _ => {}
        }
        let options: SqliteConnectOptions = url.parse().map_err(|error: sqlx::Error| error.to_string())?;
        let path = options.get_filename().to_owned();
        Ok(Self { path, options: options.busy_timeout(timeout).row_buffer_size(1024).disable_statement_logging() })
    }

    pub(super) async fn check(&self, place: &Place) -> Result<(), Error> {
        close(self.open(place).await?.connection).await;
        Ok(())
    }

    pub(super) async fn read(
        &self,
        place: &Place,
        arrivals: &mut Arrivals,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        let mut open = self.open(place).await?;
        // The order is that of our key; other tables are sorted on arrival.
        let order = if open.ours { " ORDER BY video_id, timestamp" } else { "" };
        let select = format!("{}{order}", select(&place.table.quoted()));
        open.rows(place, select, SqliteArguments::default(), arrivals, progress).await?;
        close(open.connection).await;
        Ok(())
    }

    pub(super) async fn tail(&self, place: &Place, rows: usize, videos: &[String]) -> Result<Arrivals, Error> {
        let mut open = self.open(place).await?;
        let (mut arrivals, table) = (Arrivals::new(), place.table.quoted());
        execute(&mut open.connection, "BEGIN").await.map_err(|error| place.unread(error))?;
        if open.ours {
            let videos = match videos {
                [] => open.videos(&table).await.map_err(|error| place.unread(error))?,
                some => some.to_vec(),
            };
            let newest = format!("{} WHERE video_id = ? ORDER BY timestamp DESC LIMIT {rows}", select(&table));
            for video in &videos {
                open.rows(place, newest.clone(), arguments(&[video]), &mut arrivals, &mut |_| {}).await?;
            }
        } else {
            // The order of its times is known only when all are read.
            open.rows(place, select(&table), SqliteArguments::default(), &mut arrivals, &mut |_| {}).await?;
        }
        close(open.connection).await;
        Ok(arrivals)
    }

    pub(super) async fn describe(&self, place: &Place) -> Result<Description, Error> {
        let mut open = self.open(place).await?;
        let (rows, videos, newest) = if open.ours {
            let figures =
                format!("SELECT count(*), count(DISTINCT video_id), max(timestamp) FROM {}", place.table.quoted());
            let (rows, videos, newest): (i64, i64, Option<String>) = sqlx::query_as(AssertSqlSafe(figures))
                .fetch_one(&mut open.connection)
                .await
                .map_err(|error| place.unread(error))?;
            (rows as u64, videos as u64, newest.and_then(|newest| time::parse(newest.as_bytes())))
        } else {
            let mut arrivals = Arrivals::new();
            open.rows(place, select(&place.table.quoted()), SqliteArguments::default(), &mut arrivals, &mut |_| {})
                .await?;
            let (series, report) = arrivals.finish();
            (report.rows_read, series.videos.len() as u64, series.at.iter().max().copied())
        };
        let (version, missing_indexes) = open.missing_indexes(place).await.map_err(|error| place.unread(error))?;
        close(open.connection).await;
        let newest = newest.and_then(chrono::DateTime::from_timestamp_micros);
        Ok(Description { backend: "SQLite", version, rows, videos, newest, missing_indexes })
    }

    pub(super) async fn import(
        &self,
        place: &Place,
        series: &Series,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Imported, Error> {
        let unwritten = |error| place.unwritten(error);
        let mut options = self.options.clone().create_if_missing(true);
        if !self.path.exists() {
            // Readers and the writer of such a file do not wait for each other.
            options = options.journal_mode(SqliteJournalMode::Wal);
            // A file is made, a directory is not: its name may be a slip.
            if let Some(directory) = self.path.parent().filter(|d| !d.as_os_str().is_empty() && !d.is_dir()) {
                let source = io::Error::from(io::ErrorKind::NotFound);
                return Err(Error::Io { doing: "make the database in", path: directory.to_owned(), source });
            }
        }
        let mut connection = options.connect().await.map_err(unwritten)?;
        // At once: a transaction that turns from reading to writing fails when somebody else was faster.
        execute(&mut connection, "BEGIN IMMEDIATE").await.map_err(unwritten)?;
        let table = place.table.quoted();
        let create = format!("CREATE TABLE IF NOT EXISTS {table} {CONTENTS}");
        execute(&mut connection, create).await.map_err(unwritten)?;
        let mut open = Open::check(connection, place).await?;
        let existing = open.existing(place, series).await?;
        let merged = merge(&existing, series);
        if open.ours {
            insert(&mut open.connection, &table, &merged.write, progress).await.map_err(unwritten)?;
        } else {
            insert_without_key(&mut open.connection, &table, &merged.write, progress).await.map_err(unwritten)?;
        }
        execute(&mut open.connection, "COMMIT").await.map_err(unwritten)?;
        close(open.connection).await;
        Ok(merged.imported)
    }

    async fn open(&self, place: &Place) -> Result<Open, Error> {
        if !self.path.exists() {
            return Err(Error::FileMissing { path: self.path.clone() });
        }
        let connection = self.options.clone().read_only(true).create_if_missing(false).connect().await;
        Open::check(connection.map_err(|error| place.unread(error))?, place).await
    }
}

impl Open {
    async fn check(mut connection: SqliteConnection, place: &Place) -> Result<Self, Error> {
        let made: Option<Option<String>> = sqlx::query_scalar(
            "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?)",
        )
        .bind(&place.table.name)
        .fetch_optional(&mut connection)
        .await
        .map_err(|error| place.unread(error))?;
        let Some(made) = made else {
            let tables = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
            let found =
                sqlx::query_scalar(tables).fetch_all(&mut connection).await.map_err(|error| place.unread(error))?;
            return Err(Error::TableMissing { table: place.table.to_string(), url: place.url.clone(), found });
        };
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(&place.table.name)
            .fetch_all(&mut connection)
            .await
            .map_err(|error| place.unread(error))?;
        place.check_columns(&columns)?;
        Ok(Self { connection, ours: made.is_some_and(|sql| sql.ends_with(CONTENTS)) })
    }

    /// Adds the rows of a statement that begins with [`select`].
    async fn rows(
        &mut self,
        place: &Place,
        select: String,
        arguments: SqliteArguments,
        arrivals: &mut Arrivals,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        let query = sqlx::query_with(AssertSqlSafe(select).into_sql_str(), arguments);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(|error| place.unread(error))? {
            push(&row, place, arrivals)?;
            tell(arrivals, progress);
        }
        Ok(())
    }
}

fn select(table: &str) -> String {
    format!("SELECT {} FROM {table}", COLUMNS.join(", "))
}

fn push(row: &SqliteRow, place: &Place, arrivals: &mut Arrivals) -> Result<(), Error> {
    let raw = |column: usize| row.try_get_raw(column).map_err(|error| place.unread(error));
    let video: &str = row.try_get_unchecked(1).map_err(|error| place.unread(error))?;
    let at = time_of(raw(0)?).map_err(|value| place.not_a_time(video, value))?;
    let mut values = [f64::NAN; 6];
    for (column, value) in values.iter_mut().enumerate() {
        *value = number_of(raw(column + 2)?).map_err(|text| Error::NotACount {
            table: place.table.to_string(),
            column: COLUMNS[column + 2].to_owned(),
            video: video.to_owned(),
            at: time::text(at),
            value: format!("`{text}`"),
        })?;
    }
    let [a, b, c, d, e, f] = values;
    arrivals.push(video, at, [a, b, c], [d, e, f]).map_err(|refused| place.not_a_count(video, at, &refused))
}

/// Text in any form that is known, or a number of Unix seconds.
fn time_of(value: SqliteValueRef<'_>) -> Result<i64, String> {
    if value.is_null() {
        return Err("NULL".to_owned());
    }
    let type_info = value.type_info();
    match type_info.name() {
        "INTEGER" | "REAL" => {
            let seconds: f64 = decode(value).ok_or("a number")?;
            time::from_seconds(seconds).ok_or_else(|| seconds.to_string())
        }
        _ => {
            let text: &[u8] = decode(value).ok_or("bytes")?;
            time::parse(text).ok_or_else(|| String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// NULL is NaN; a text that is a number is one, as in a table whose columns have no types.
fn number_of(value: SqliteValueRef<'_>) -> Result<f64, String> {
    if value.is_null() {
        return Ok(f64::NAN);
    }
    let type_info = value.type_info();
    match type_info.name() {
        "INTEGER" => decode::<i64>(value).map(|count| count as f64).ok_or_else(String::new),
        "REAL" => decode(value).ok_or_else(String::new),
        _ => {
            let text: &[u8] = decode(value).ok_or("bytes")?;
            let text = String::from_utf8_lossy(text);
            text.trim().parse().map_err(|_| text.into_owned())
        }
    }
}

fn decode<'r, T: sqlx::Decode<'r, sqlx::Sqlite>>(value: SqliteValueRef<'r>) -> Option<T> {
    T::decode(value).ok()
}

fn arguments(texts: &[&str]) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for text in texts {
        bind(&mut arguments, *text);
    }
    arguments
}

fn bind<'q, T: Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite>>(arguments: &mut SqliteArguments, value: T) {
    // Encoding fails for other types only: texts and numbers are put down as they are.
    let _ = arguments.add(value);
}

async fn execute(connection: &mut SqliteConnection, statement: impl Into<String>) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(connection).await?;
    Ok(())
}

/// Gives the file back at once; on an error it is dropped instead, and the same happens a little later.
async fn close(connection: SqliteConnection) {
    let _ = connection.close().await;
}
