//! Rows on their way into SQLite: a virtual table that an INSERT selects from.
//!
//! One statement takes all rows. Statements whose values are bound take a third longer: SQLite copies each value, and
//! begins and ends each statement (`benches/README.md`).

use super::super::table::COLUMNS;
use crate::data::{Series, time};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexInfo, VTab, VTabConnection, VTabCursor, VTabKind, read_only_module,
    sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Result};
use std::ffi::c_int;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::Receiver;

/// What the virtual table is called: among those of this connection alone, so that no table of the file can stand for it.
pub(super) const NAME: &str = "temp.retraind_incoming_rows";
const MODULE: &str = "retraind_incoming_rows";

/// Some rows to write, those of one video together.
#[derive(Default)]
pub(super) struct Incoming {
    /// Ids, and where the rows of each end.
    videos: Vec<(String, usize)>,
    rows: Vec<Row>,
}

/// One row without its id.
struct Row {
    at: [u8; time::FIXED],
    counts: [i64; 3],
    growth: [f64; 3],
}

impl Incoming {
    /// Rows `rows` of a series.
    pub(super) fn of(series: &Series, rows: Range<usize>) -> Self {
        let first = series.videos.partition_point(|video| video.rows.end <= rows.start);
        let videos = series.videos[first..].iter().take_while(|video| video.rows.start < rows.end);
        let videos = videos.map(|video| (video.id.clone(), video.rows.end.min(rows.end) - rows.start)).collect();
        let row = |row| Row {
            at: time::fixed(series.at[row]),
            // Counts that are imported are whole and below 2^53.
            counts: series.counts_of(row).map(|count| count as i64),
            growth: series.growth_of(row),
        };
        Self { videos, rows: rows.map(row).collect() }
    }
}

/// Makes the virtual table: it has the eight columns of every row that comes, once.
pub(super) fn offer(connection: &Connection, rows: Receiver<Incoming>) -> Result<()> {
    connection.create_module(MODULE, read_only_module::<Table>(), Some(Arc::new(Mutex::new(rows))))?;
    connection.execute_batch(&format!("CREATE VIRTUAL TABLE {NAME} USING {MODULE}"))
}

type Rows = Arc<Mutex<Receiver<Incoming>>>;

#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    rows: Rows,
}

#[expect(unsafe_code, reason = "what SQLite's interface asks for")]
// SAFETY: `repr(C)`, and SQLite's own part stands first.
unsafe impl VTab<'_> for Table {
    type Aux = Rows;
    type Cursor = Cursor;

    fn connect(_: &mut VTabConnection, rows: Option<&Rows>, _: &[&[u8]]) -> Result<(String, Self)> {
        let rows = rows.ok_or(rusqlite::Error::InvalidQuery)?;
        let table = Self { base: sqlite3_vtab::default(), rows: Arc::clone(rows) };
        Ok((format!("CREATE TABLE incoming ({})", COLUMNS.join(", ")), table))
    }

    fn best_index(&self, _: &mut IndexInfo) -> Result<()> {
        // in the order in which they come, all of them: there is no other way
        Ok(())
    }

    fn open(&mut self) -> Result<Cursor> {
        let base = sqlite3_vtab_cursor::default();
        Ok(Cursor { base, rows: Arc::clone(&self.rows), here: Incoming::default(), row: 0, video: 0, before: 0 })
    }
}

impl CreateVTab<'_> for Table {
    const KIND: VTabKind = VTabKind::Default;
}

#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    rows: Rows,
    here: Incoming,
    /// Of `here`.
    row: usize,
    /// Of `here`.
    video: usize,
    /// Rows that came before `here`.
    before: usize,
}

impl Cursor {
    /// Waits for more rows; there are none when nobody sends any more.
    fn fetch(&mut self) {
        self.before += self.here.rows.len();
        let more = self.rows.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        (self.here, self.row, self.video) = (more.unwrap_or_default(), 0, 0);
    }
}

#[expect(unsafe_code, reason = "what SQLite's interface asks for")]
// SAFETY: as above.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> Result<()> {
        self.fetch();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.row += 1;
        if self.row == self.here.rows.len() {
            self.fetch();
        } else if self.row == self.here.videos[self.video].1 {
            self.video += 1;
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.here.rows.is_empty()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let row = &self.here.rows[self.row];
        let value = match column as usize {
            0 => ValueRef::Text(&row.at),
            1 => ValueRef::Text(self.here.videos[self.video].0.as_bytes()),
            column @ 2..=4 => ValueRef::Integer(row.counts[column - 2]),
            column => ValueRef::Real(row.growth[column - 5]),
        };
        context.set_result(&ToSqlOutput::Borrowed(value))
    }

    fn rowid(&self) -> Result<i64> {
        Ok((self.before + self.row) as i64)
    }
}
