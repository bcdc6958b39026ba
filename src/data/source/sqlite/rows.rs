//! Rows on their way from SQLite's thread to ours.

use super::super::table::COLUMNS;
use super::super::{Arrivals, Place};
use crate::data::{Error, time};
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// Rows that change threads at once: enough to make that cheap, few enough to stay in a cache.
pub(super) const ROWS_PER_BATCH: usize = 2_048;
/// Batches under way; the faster side waits.
pub(super) const BATCHES: usize = 4;

/// Some rows, those of one video together.
#[derive(Default)]
pub(super) struct Batch {
    /// Ids, and the number of rows that each has here.
    videos: Vec<(String, usize)>,
    rows: Vec<Values>,
}

/// One row without its id; a NULL is NaN.
#[derive(Clone, Copy)]
struct Values {
    at: i64,
    counts: [f64; 3],
    growth: [f64; 3],
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row of the eight columns.
    pub(super) fn take(&mut self, row: &Row<'_>, place: &Place) -> Result<(), Error> {
        let raw = |column| row.get_ref(column).map_err(|error| place.unread_file(error));
        let id = raw(1)?;
        match (self.videos.last_mut(), id) {
            (Some((last, n)), ValueRef::Text(id)) if last.as_bytes() == id => *n += 1,
            _ => self.videos.push((id_of(id).map_err(|error| place.not_text(error))?, 1)),
        }
        let video = || self.videos.last().map_or("", |(id, _)| id.as_str());
        let at = time_of(raw(0)?).map_err(|value| place.not_a_time(video(), value))?;
        let mut values = [f64::NAN; 6];
        for (column, value) in values.iter_mut().enumerate() {
            *value = number_of(raw(column + 2)?).map_err(|text| Error::NotACount {
                table: place.table.to_string(),
                column: COLUMNS[column + 2].to_owned(),
                video: video().to_owned(),
                at: time::text(at),
                value: format!("`{text}`"),
            })?;
        }
        let [a, b, c, d, e, f] = values;
        self.rows.push(Values { at, counts: [a, b, c], growth: [d, e, f] });
        Ok(())
    }

    /// Each id with its rows.
    fn videos(&self) -> impl Iterator<Item = (&str, &[Values])> {
        let mut rest = self.rows.as_slice();
        self.videos.iter().map(move |(id, n)| {
            let (rows, later) = rest.split_at(*n);
            rest = later;
            (id.as_str(), rows)
        })
    }

    pub(super) fn add_to(&self, arrivals: &mut Arrivals, place: &Place) -> Result<(), Error> {
        for (id, rows) in self.videos() {
            for &Values { at, counts, growth } in rows {
                let pushed = arrivals.push(id, at, counts, growth);
                pushed.map_err(|refused| place.not_a_count(id, at, &refused))?;
            }
        }
        Ok(())
    }
}

/// An id of any type as text; NULL is empty.
fn id_of(value: ValueRef<'_>) -> Result<String, std::str::Utf8Error> {
    Ok(match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(id) => id.to_string(),
        ValueRef::Real(id) => id.to_string(),
        ValueRef::Text(id) | ValueRef::Blob(id) => std::str::from_utf8(id)?.to_owned(),
    })
}

/// Text in any form that is known, or a number of Unix seconds. Err: what stands there instead.
pub(super) fn time_of(value: ValueRef<'_>) -> Result<i64, String> {
    let seconds = match value {
        ValueRef::Null => return Err("NULL".to_owned()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            return time::parse(text).ok_or_else(|| String::from_utf8_lossy(text).into_owned());
        }
        ValueRef::Integer(seconds) => seconds as f64,
        ValueRef::Real(seconds) => seconds,
    };
    time::from_seconds(seconds).ok_or_else(|| seconds.to_string())
}

/// NULL is NaN; a text that is a number is one, as in a table whose columns have no types. Err: what stands there.
fn number_of(value: ValueRef<'_>) -> Result<f64, String> {
    match value {
        ValueRef::Null => Ok(f64::NAN),
        ValueRef::Integer(count) => Ok(count as f64),
        ValueRef::Real(number) => Ok(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = String::from_utf8_lossy(text);
            text.trim().parse().map_err(|_| text.into_owned())
        }
    }
}
