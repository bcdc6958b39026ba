//! The table in an SQLite file.
//!
//! A table that the import made keeps times in one fixed form and rows in order of video and time, so that a video's
//! newest rows are found at once. A table made elsewhere may hold times in any form and no key at all: it is read whole.
//!
//! SQLite works in a thread of its own and hands rows over in batches, values and no row objects: sqlx, which the state
//! database uses, copies each row for the way between threads, and that takes longer than reading it.

mod import;
mod incoming;
mod indexes;
mod rows;

use super::table::COLUMNS;
use super::{Arrivals, Description, Imported, Place};
use crate::data::merge::merge;
use crate::data::{Error, Series};
use import::is_ours;
use incoming::Incoming;
use rows::{BATCHES, Batch, ROWS_PER_BATCH, time_of};
use rusqlite::ffi::SQLITE_READONLY_ROLLBACK;
use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension, Params};
use sqlx::sqlite::SqliteConnectOptions;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// An SQLite file.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
}

/// An open file with the table in it.
struct Open {
    connection: Connection,
    /// Whether the table is one that the import made.
    ours: bool,
    place: Place,
}

impl Sqlite {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let path = path.split('?').next().unwrap_or_default();
        match path {
            "" => return Err("it names no file".to_owned()),
            ":memory:" => return Err("a database in memory would be gone at once".to_owned()),
            _ => {}
        }
        // Parsed like the state database's address, so that both mean the same file.
        let options: SqliteConnectOptions = url.parse().map_err(|error: sqlx::Error| error.to_string())?;
        Ok(Self { path: options.get_filename().to_owned() })
    }

    pub(super) async fn check(&self, place: &Place) -> Result<(), Error> {
        self.open(place, |_| Ok(())).await
    }

    pub(super) async fn read(
        &self,
        place: &Place,
        arrivals: &mut Arrivals,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Error> {
        let (send, mut batches) = mpsc::channel(BATCHES);
        let reading = self.open(place, move |open| {
            // The order is that of our key; other tables are sorted on arrival.
            let order = if open.ours { " ORDER BY video_id, timestamp" } else { "" };
            let select = format!("{}{order}", select(&open.table()));
            // When nobody takes the rows any more, the read has failed already.
            open.rows(&select, (), |batch| Ok(send.blocking_send(batch).is_ok()))
        });
        let adding = async {
            while let Some(batch) = batches.recv().await {
                batch.add_to(arrivals, place)?;
                progress(arrivals.rows_read());
            }
            Ok(())
        };
        tokio::try_join!(reading, adding)?;
        Ok(())
    }

    pub(super) async fn tail(&self, place: &Place, rows: usize, videos: &[String]) -> Result<Arrivals, Error> {
        let videos = videos.to_vec();
        self.open(place, move |open| {
            let (mut arrivals, table) = (Arrivals::new(), open.table());
            open.execute("BEGIN").map_err(|error| open.place.unread_file(error))?;
            if open.ours {
                let videos = if videos.is_empty() { open.videos()? } else { videos };
                let newest = format!("{} WHERE video_id = ? ORDER BY timestamp DESC LIMIT {rows}", select(&table));
                for video in &videos {
                    open.arrive(&newest, [video], &mut arrivals)?;
                }
            } else {
                // The order of its times is known only when all are read.
                open.arrive(&select(&table), (), &mut arrivals)?;
            }
            Ok(arrivals)
        })
        .await
    }

    pub(super) async fn describe(&self, place: &Place) -> Result<Description, Error> {
        self.open(place, |open| {
            let (rows, videos, newest) = if open.ours {
                let count = format!("SELECT count(*) FROM {}", open.table());
                let rows: i64 = open.one(&count, ())?;
                (rows as u64, open.videos()?.len() as u64, open.newest()?)
            } else {
                let mut arrivals = Arrivals::new();
                open.arrive(&select(&open.table()), (), &mut arrivals)?;
                let (series, report) = arrivals.finish();
                (report.rows_read, series.videos.len() as u64, series.at.iter().max().copied())
            };
            let (version, missing_indexes) = (rusqlite::version().to_owned(), open.missing_indexes()?);
            let newest = newest.and_then(chrono::DateTime::from_timestamp_micros);
            Ok(Description { backend: "SQLite", version, rows, videos, estimated: false, newest, missing_indexes })
        })
        .await
    }

    pub(super) async fn import(
        &self,
        place: &Place,
        series: &Series,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Imported, Error> {
        // A file is made, a directory is not: its name may be a slip.
        if let Some(directory) = self.path.parent().filter(|d| !d.as_os_str().is_empty() && !d.is_dir()) {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::Io { doing: "make the database in", path: directory.to_owned(), source });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connection = connect(&self.path, flags, place).map_err(|error| place.unwritten_file(error))?;
        let since: Vec<_> = series.videos.iter().map(|video| (video.id.clone(), series.at[video.rows.start])).collect();
        let begun = place.clone();
        let (open, made, existing) =
            in_thread(connection.get_interrupt_handle(), move || import::begin(connection, begun, &since)).await?;
        let merged = merge(&existing, series);
        let (write, only_new) = (&merged.write, existing.is_empty());
        drop(existing);
        let (send, incoming) = mpsc::channel(BATCHES);
        let writing = in_thread(open.connection.get_interrupt_handle(), move || open.write(incoming, only_new));
        let sending = async {
            let (mut rows, total) = (0..0, write.len());
            while rows.end < total {
                rows = rows.end..total.min(rows.end + ROWS_PER_BATCH);
                if send.send(Incoming::of(write, rows.clone())).await.is_err() {
                    // The writer has failed and says why.
                    break;
                }
                progress(rows.end as u64, total as u64);
            }
            drop(send);
            Ok(())
        };
        // Committed only when both are through: this call may be given up half way.
        let (open, ()) = tokio::try_join!(writing, sending)?;
        in_thread(open.connection.get_interrupt_handle(), move || open.commit(made)).await?;
        Ok(merged.imported)
    }

    /// Opens the file for reading. What a killed import left half written is rolled back first, which takes a writer.
    fn reader(&self, place: &Place) -> rusqlite::Result<Connection> {
        let look = |flags| {
            let connection = connect(&self.path, flags, place)?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
            Ok(connection)
        };
        match look(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.extended_code == SQLITE_READONLY_ROLLBACK => {
                look(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                look(OpenFlags::SQLITE_OPEN_READ_ONLY)
            }
            opened => opened,
        }
    }

    /// Opens the file for reading and runs `work` on it in a thread.
    async fn open<T: Send + 'static>(
        &self,
        place: &Place,
        work: impl FnOnce(&Open) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if !self.path.exists() {
            return Err(Error::FileMissing { path: self.path.clone() });
        }
        let connection = self.reader(place).map_err(|error| place.unread_file(error))?;
        let place = place.clone();
        in_thread(connection.get_interrupt_handle(), move || work(&Open::check(connection, place)?)).await
    }
}

impl Open {
    fn check(connection: Connection, place: Place) -> Result<Self, Error> {
        let unread = |error| place.unread_file(error);
        let made = "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?)";
        let made: Option<Option<String>> =
            connection.query_row(made, [&place.table.name], |row| row.get(0)).optional().map_err(unread)?;
        let Some(made) = made else {
            let tables = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
            let found = texts(&connection, tables, ()).map_err(unread)?;
            return Err(Error::TableMissing { table: place.table.to_string(), url: place.url, found });
        };
        let columns = "SELECT name FROM pragma_table_info(?)";
        place.check_columns(&texts(&connection, columns, [&place.table.name]).map_err(unread)?)?;
        Ok(Self { connection, ours: made.is_some_and(|sql| is_ours(&sql)), place })
    }

    /// The file's own, whatever this connection has beside it.
    fn table(&self) -> String {
        format!("main.{}", self.place.table.quoted())
    }

    /// Hands on the rows of a statement that begins with [`select`], until it is told that they are enough.
    fn rows(
        &self,
        select: &str,
        parameters: impl Params,
        mut hand_on: impl FnMut(Batch) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let unread = |error| self.place.unread_file(error);
        let mut statement = self.connection.prepare_cached(select).map_err(unread)?;
        let mut rows = statement.query(parameters).map_err(unread)?;
        let mut batch = Batch::default();
        while let Some(row) = rows.next().map_err(unread)? {
            batch.take(row, &self.place)?;
            if batch.len() == ROWS_PER_BATCH && !hand_on(std::mem::take(&mut batch))? {
                return Ok(());
            }
        }
        hand_on(batch)?;
        Ok(())
    }

    /// Adds the rows of a statement that begins with [`select`].
    fn arrive(&self, select: &str, parameters: impl Params, arrivals: &mut Arrivals) -> Result<(), Error> {
        self.rows(select, parameters, |batch| batch.add_to(arrivals, &self.place).map(|()| true))
    }

    /// The one value of a question.
    fn one<T: rusqlite::types::FromSql>(&self, question: &str, parameters: impl Params) -> Result<T, Error> {
        let answer = self.connection.query_row(question, parameters, |row| row.get(0));
        answer.map_err(|error| self.place.unread_file(error))
    }

    fn execute(&self, statements: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(statements)
    }
}

fn select(table: &str) -> String {
    format!("SELECT {} FROM {table}", COLUMNS.join(", "))
}

fn texts(connection: &Connection, question: &str, parameters: impl Params) -> rusqlite::Result<Vec<String>> {
    connection.prepare(question)?.query_map(parameters, |row| row.get(0))?.collect()
}

fn connect(path: &Path, flags: OpenFlags, place: &Place) -> rusqlite::Result<Connection> {
    // One thread at a time has it, so that it needs no lock of its own.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(place.timeout)?;
    Ok(connection)
}

/// Runs blocking work; a caller who gives up stops the statement that it is at.
async fn in_thread<T: Send + 'static>(
    stop: InterruptHandle,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    struct OnDrop(InterruptHandle);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            // Without effect when the work is done: SQLite forgets it at the next statement.
            self.0.interrupt();
        }
    }
    let _stop = OnDrop(stop);
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(died) => std::panic::resume_unwind(died.into_panic()),
    }
}
