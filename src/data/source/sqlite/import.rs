//! What an import reads and writes, all of it inside one transaction.

use super::super::table::COLUMNS;
use super::super::{Arrivals, Place};
use super::incoming::{self, Incoming};
use super::{Open, select};
use crate::data::{Error, Series, time};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::thread::sleep;
use std::time::Duration;
use tokio::sync::mpsc;

/// What the table has to keep, in the words that show later that the import made it. `STRICT` keeps types, the check
/// keeps the form of times; `WITHOUT ROWID` keeps rows where the key says, which halves the file.
const CONTENTS: &str = "(
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

/// Of a new file. Four times the usual one: rows that come in order are written in a tenth less time.
const PAGE_SIZE: usize = 16_384;

/// Whether a table was made by the import, as its statement says.
pub(super) fn is_ours(sql: &str) -> bool {
    sql.ends_with(CONTENTS)
}

/// What an import made that was not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Nothing,
    Table,
    File,
}

/// Locks the file, makes the table where there is none, and reads the rows that matter to a merge: those of each video
/// from a time on, and the one before.
pub(super) fn begin(
    connection: Connection,
    place: Place,
    since: &[(String, i64)],
) -> Result<(Open, Made, Series), Error> {
    let unwritten = |error| place.unwritten_file(error);
    // without effect on a file that has pages
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}")).map_err(unwritten)?;
    // At once: a transaction that turns from reading to writing fails when somebody else was faster.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(unwritten)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = connection.query_row(tables, (), |row| row.get(0)).map_err(unwritten)?;
    let there = "SELECT 1 FROM sqlite_schema WHERE lower(name) = lower(?)";
    let there = connection.query_row(there, [&place.table.name], |_| Ok(())).optional().map_err(unwritten)?;
    let made = match there {
        Some(()) => Made::Nothing,
        None if tables > 0 => Made::Table,
        None => Made::File,
    };
    if made != Made::Nothing {
        let create = format!("CREATE TABLE {} {CONTENTS}", place.table.quoted());
        connection.execute_batch(&create).map_err(unwritten)?;
    }
    let open = Open::check(connection, place)?;
    let existing = if made == Made::Nothing { open.existing(since)? } else { Series::default() };
    Ok((open, made, existing))
}

impl Open {
    fn existing(&self, since: &[(String, i64)]) -> Result<Series, Error> {
        let (mut arrivals, table) = (Arrivals::new(), self.table());
        let before = format!("SELECT max(timestamp) FROM {table} WHERE video_id = ?1 AND timestamp < ?2");
        let from = format!("{} WHERE video_id = ?1 AND timestamp >= coalesce(({before}), ?2)", select(&table));
        let all = format!("{} WHERE video_id = ?", select(&table));
        for (video, since) in since {
            if self.ours {
                self.arrive(&from, params![video, time::text(*since)], &mut arrivals)?;
            } else {
                self.check_times(video)?;
                self.arrive(&all, [video], &mut arrivals)?;
            }
        }
        Ok(arrivals.finish().0)
    }

    /// Errors: a row of the video has its time in another form than ours.
    fn check_times(&self, video: &str) -> Result<(), Error> {
        let other = format!(
            "SELECT CAST(timestamp AS TEXT) FROM {} WHERE video_id = ?
             AND (typeof(timestamp) <> 'text' OR timestamp NOT GLOB '????-??-??T??:??:??.??????Z') LIMIT 1",
            self.table()
        );
        let value: Option<Option<String>> = self
            .connection
            .query_row(&other, [video], |row| row.get(0))
            .optional()
            .map_err(|error| self.place.unwritten_file(error))?;
        match value {
            None => Ok(()),
            Some(value) => Err(Error::ForeignTimes {
                table: self.place.table.to_string(),
                value: value.unwrap_or_else(|| "NULL".to_owned()),
            }),
        }
    }

    /// Writes the batches; `only_new` where no row of the table has the video and time of one of theirs.
    pub(super) fn write(self, rows: mpsc::Receiver<Incoming>, only_new: bool) -> Result<Self, Error> {
        let written =
            if self.ours { self.insert(&self.table(), rows, only_new) } else { self.insert_without_key(rows) };
        written.map_err(|error| self.place.unwritten_file(error))?;
        Ok(self)
    }

    fn insert(&self, table: &str, rows: mpsc::Receiver<Incoming>, only_new: bool) -> rusqlite::Result<()> {
        // What we write has the form; looking at each time again would cost a fifth of the import.
        self.execute("PRAGMA ignore_check_constraints = ON")?;
        incoming::offer(&self.connection, rows)?;
        let (columns, from) = (COLUMNS.join(", "), incoming::NAME);
        // without WHERE, ON would be read as belonging to FROM
        let conflict = if only_new { String::new() } else { format!(" WHERE true {}", update()) };
        self.execute(&format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {from}{conflict}"))
    }

    /// Writes rows into a table that may lack a key, by way of one that has it.
    fn insert_without_key(&self, rows: mpsc::Receiver<Incoming>) -> rusqlite::Result<()> {
        let table = self.table();
        self.execute(&format!("CREATE TEMP TABLE retraind_incoming {CONTENTS}"))?;
        self.insert("temp.retraind_incoming", rows, true)?;
        // The owner's own checks hold.
        self.execute("PRAGMA ignore_check_constraints = OFF")?;
        let columns = COLUMNS.join(", ");
        let set = COLUMNS[2..].iter().map(|column| format!("{column} = new.{column}")).collect::<Vec<_>>().join(", ");
        let same = "old.video_id = new.video_id AND old.timestamp = new.timestamp";
        let new = COLUMNS.map(|column| format!("new.{column}")).join(", ");
        // A join, for which SQLite makes an index where there is none; NOT EXISTS would scan the table once a row.
        self.execute(&format!(
            "UPDATE {table} AS old SET {set} FROM temp.retraind_incoming AS new WHERE {same};
             INSERT INTO {table} ({columns}) SELECT {new} FROM temp.retraind_incoming AS new
             LEFT JOIN {table} AS old ON {same} WHERE old.video_id IS NULL"
        ))
    }

    pub(super) fn commit(self, made: Made) -> Result<(), Error> {
        self.execute("COMMIT").map_err(|error| self.place.unwritten_file(error))?;
        if made == Made::File {
            self.let_readers_in();
        }
        Ok(())
    }

    /// From now on readers of the file and its writer do not wait for each other. Not before: in a new file a
    /// write-ahead log would have every page written twice.
    fn let_readers_in(&self) {
        const TRIES: usize = 20;
        for _ in 0..TRIES {
            let mode = self.connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0));
            match mode {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    sleep(Duration::from_millis(100));
                }
                // Some file systems can't; the file works without.
                _ => return,
            }
        }
    }
}

/// What becomes of a row whose video and time the table has.
fn update() -> String {
    let set = COLUMNS[2..].iter().map(|column| format!("{column} = excluded.{column}")).collect::<Vec<_>>().join(", ");
    format!("ON CONFLICT (video_id, timestamp) DO UPDATE SET {set}")
}
