//! The table that series are kept in: an embedded SQLite file, or the user's own PostgreSQL.
//!
//! Every call opens a connection of its own and closes it: calls are minutes apart, and a server that restarts in
//! between is then no matter.

mod copy;
mod postgres;
mod sqlite;
mod table;

use super::arrange::{Arrivals, NotACount};
use super::{COUNT_COLUMNS, Error, ReadReport, Series, time};
use chrono::{DateTime, Utc};
use postgres::Postgres;
use serde::Serialize;
use sqlite::Sqlite;
use std::future::Future;
use std::time::Duration;
use table::Table;

/// Rows between two reports of progress.
const PROGRESS_EVERY: u64 = 16_384;

/// A table of recorded rows: `timestamp`, `video_id`, three counts, three growth rates.
#[derive(Clone, Debug)]
pub struct Source {
    place: Place,
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Where the table is, and how long a statement may take there: what both backends and their messages need.
#[derive(Clone, Debug)]
struct Place {
    /// Without its password.
    url: String,
    table: Table,
    timeout: Duration,
}

/// What is at the other end, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// SQLite or PostgreSQL.
    pub backend: &'static str,
    /// Version of the library or the server.
    pub version: String,
    /// Rows in the table.
    pub rows: u64,
    /// Different videos in the table; 0 where that is not known.
    pub videos: u64,
    /// Whether the server estimated rows and videos: there are too many to count.
    pub estimated: bool,
    /// The newest row's time. None: there is none, or it would take too long to find.
    pub newest: Option<DateTime<Utc>>,
    /// Indexes that the table should have and has not.
    pub missing_indexes: Vec<MissingIndex>,
}

/// An index that a table lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingIndex {
    /// What takes long without it, as a clause.
    pub without: &'static str,
    /// The statement that makes it.
    pub create: String,
}

/// What an import did. Unit: rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Rows that were not there.
    pub inserted: u64,
    /// Rows that were there with other counts.
    pub updated: u64,
    /// Rows that were there just so.
    pub unchanged: u64,
    /// Videos that the rows belong to. Unit: videos.
    pub videos: u64,
}

impl Source {
    /// Opens the table for reading and checks that it has the columns.
    ///
    /// `url` is `sqlite:FILE` or `postgres://…`; `table` may have a schema before it. `statement_timeout` bounds each
    /// read; it must not be zero.
    ///
    /// Errors: a bad `url` or `table`, a missing file, table or column, a database that does not answer.
    pub async fn connect(url: &str, table: &str, statement_timeout: Duration) -> Result<Self, Error> {
        let source = Self::parse(url, table, statement_timeout)?;
        match &source.backend {
            Backend::Sqlite(sqlite) => sqlite.check(&source.place).await?,
            Backend::Postgres(postgres) => source.place.within(postgres.check(&source.place)).await?,
        }
        Ok(source)
    }

    /// Whether `url` and `table` could be an address at all; nothing is opened.
    pub fn check_address(url: &str, table: &str) -> Result<(), Error> {
        Self::parse(url, table, Duration::ZERO).map(|_| ())
    }

    /// Reads all rows. `progress` is told the number of rows so far.
    ///
    /// In PostgreSQL the rows are those of one instant, whatever is being written meanwhile.
    pub async fn read(&self, progress: impl FnMut(u64)) -> Result<(Series, ReadReport), Error> {
        self.read_until(None, progress).await
    }

    /// Reads the rows that are not later than `until`: those that an earlier read gave, unless the table was changed in
    /// another way than by new rows.
    pub async fn read_until(
        &self,
        until: Option<DateTime<Utc>>,
        mut progress: impl FnMut(u64),
    ) -> Result<(Series, ReadReport), Error> {
        let (place, mut arrivals) = (&self.place, Arrivals::until(until));
        match &self.backend {
            Backend::Sqlite(sqlite) => place.within(sqlite.read(place, &mut arrivals, &mut progress)).await?,
            Backend::Postgres(postgres) => place.within(postgres.read(place, &mut arrivals, &mut progress)).await?,
        }
        progress(arrivals.rows_read());
        Ok(arrivals.finish())
    }

    /// Reads the newest `rows_per_video` rows of each of the videos, or of every video where `videos` is empty.
    ///
    /// A video with fewer rows gives those it has; one that the table does not know gives none. Rows without all their
    /// counts are passed over.
    pub async fn tail(&self, rows_per_video: usize, videos: &[String]) -> Result<(Series, ReadReport), Error> {
        // Some to spare: those that repeat a time are left out, and the first one's growth may need the row before it.
        let rows = rows_per_video + rows_per_video / 4 + 8;
        let arrivals = match &self.backend {
            Backend::Sqlite(sqlite) => self.place.within(sqlite.tail(&self.place, rows, videos)).await?,
            Backend::Postgres(postgres) => self.place.within(postgres.tail(&self.place, rows, videos)).await?,
        };
        let (series, mut report) = arrivals.finish();
        let wanted = |id: &String| videos.is_empty() || videos.contains(id);
        report.videos.retain(|video| wanted(&video.id));
        Ok((series.newest(rows_per_video, wanted), report))
    }

    /// How many rows have a later time than `watermark`, or are there at all where it is none. Counting stops at
    /// `at_most`, so that the answer costs no more for a table of years.
    ///
    /// An index on the times answers, or else one on videos and times; [`Description::missing_indexes`] names what lacks.
    /// Rows that came late, with times before the watermark, are not among them.
    pub async fn count_since(&self, watermark: Option<DateTime<Utc>>, at_most: u64) -> Result<u64, Error> {
        let (place, since) = (&self.place, watermark.map(|at| at.timestamp_micros()));
        match &self.backend {
            Backend::Sqlite(sqlite) => place.within(sqlite.count_since(place, since, at_most)).await,
            Backend::Postgres(postgres) => place.within(postgres.count_since(place, since, at_most)).await,
        }
    }

    /// The newest row's time; none where there is no row. Answered by the same indexes as [`Source::count_since`].
    pub async fn newest(&self) -> Result<Option<DateTime<Utc>>, Error> {
        match &self.backend {
            Backend::Sqlite(sqlite) => self.place.within(sqlite.newest(&self.place)).await,
            Backend::Postgres(postgres) => self.place.within(postgres.newest(&self.place)).await,
        }
    }

    /// Says what is there.
    pub async fn describe(&self) -> Result<Description, Error> {
        match &self.backend {
            Backend::Sqlite(sqlite) => self.place.within(sqlite.describe(&self.place)).await,
            Backend::Postgres(postgres) => self.place.within(postgres.describe(&self.place)).await,
        }
    }

    /// Writes rows into the table, which is made first where there is none: all of them or, on any error, none.
    ///
    /// A row whose video and time the table has is left as it is, or gets the new counts. Growth rates of a video are
    /// computed anew from its first changed row on. Counts must be whole. `progress` is told the number of rows
    /// written so far and of all to write. `statement_timeout` bounds the wait for others' locks; the whole may take that
    /// and a millisecond a row.
    ///
    /// Errors: as for [`Source::connect`], and whatever the database objects to.
    pub async fn import(
        url: &str,
        table: &str,
        statement_timeout: Duration,
        series: &Series,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Imported, Error> {
        let source = Self::parse(url, table, statement_timeout)?;
        let place = &source.place;
        let limit = import_limit(statement_timeout, series.len());
        let work = async {
            match &source.backend {
                Backend::Sqlite(sqlite) => sqlite.import(place, series, &mut progress).await,
                Backend::Postgres(postgres) => postgres.import(place, limit, series, &mut progress).await,
            }
        };
        place.done_within(limit, place.importing(), work).await
    }

    fn parse(url: &str, table: &str, timeout: Duration) -> Result<Self, Error> {
        let table = Table::parse(table)?;
        let bad = |reason: String| Error::Url { url: redacted(url), reason };
        let (backend, shown) = match url.split_once(':') {
            Some(("sqlite", _)) => {
                let sqlite = Sqlite::parse(url).map_err(bad)?;
                table.without_schema()?;
                (Backend::Sqlite(sqlite), url.to_owned())
            }
            // the driver takes all after one slash for the database's name, a password in it included
            Some(("postgres" | "postgresql", rest)) if !rest.starts_with("//") => {
                return Err(bad("`//` is missing after `postgres:`".to_owned()));
            }
            Some(("postgres" | "postgresql", _)) => {
                (Backend::Postgres(Box::new(Postgres::parse(url).map_err(bad)?)), redacted(url))
            }
            Some((scheme, _)) => return Err(bad(format!("`{scheme}` is no kind of database that is known here"))),
            None => return Err(bad("it names no kind of database".to_owned())),
        };
        Ok(Self { place: Place { url: shown, table, timeout }, backend })
    }
}

impl Place {
    fn reading(&self) -> String {
        format!("read table {}", self.table)
    }

    fn importing(&self) -> String {
        format!("import into table {}", self.table)
    }

    /// Sorts an error of the driver met while reading.
    fn unread(&self, source: sqlx::Error) -> Error {
        Error::from_driver(source, &self.reading(), &self.url, self.timeout)
    }

    /// Sorts an error of the driver met while importing.
    fn unwritten(&self, source: sqlx::Error) -> Error {
        Error::from_driver(source, &self.importing(), &self.url, self.timeout)
    }

    /// The same of an embedded database.
    fn unread_file(&self, source: rusqlite::Error) -> Error {
        Error::Embedded { doing: self.reading(), source }
    }

    /// The same of an embedded database.
    fn unwritten_file(&self, source: rusqlite::Error) -> Error {
        Error::Embedded { doing: self.importing(), source }
    }

    fn not_text(&self, source: std::str::Utf8Error) -> Error {
        Error::Embedded { doing: self.reading(), source: rusqlite::Error::Utf8Error(1, source) }
    }

    fn not_a_count(&self, video: &str, at: i64, refused: &NotACount) -> Error {
        Error::NotACount {
            table: self.table.to_string(),
            column: COUNT_COLUMNS[refused.target.index()].to_owned(),
            video: video.to_owned(),
            at: time::text(at),
            value: refused.value.to_string(),
        }
    }

    fn not_a_time(&self, video: &str, value: String) -> Error {
        Error::NotATime { table: self.table.to_string(), video: video.to_owned(), value }
    }

    /// The name of a column that is not among those found.
    fn check_columns(&self, found: &[String]) -> Result<(), Error> {
        match table::COLUMNS.iter().find(|column| !found.iter().any(|name| name == *column)) {
            None => Ok(()),
            Some(column) => Err(Error::ColumnMissing {
                table: self.table.to_string(),
                column: (*column).to_owned(),
                found: found.to_vec(),
            }),
        }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.done_within(self.timeout, self.reading(), work).await
    }

    /// Gives up on a database that does not: a server ends its statements itself, but a network that went away says
    /// nothing, and SQLite knows no timeout.
    async fn done_within<T>(
        &self,
        limit: Duration,
        doing: String,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        const GRACE: Duration = Duration::from_secs(2);
        let late = |_| Error::Timeout { doing, limit };
        tokio::time::timeout(limit.saturating_add(GRACE), work).await.map_err(late)?
    }
}

/// How long an import of so many rows may take: a thousand rows a second is slow anywhere.
fn import_limit(statement_timeout: Duration, rows: usize) -> Duration {
    statement_timeout.saturating_add(Duration::from_millis(rows as u64))
}

/// The URL with `***` in place of its password, for messages and logs.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // what has no such form cannot be told from a password
        return if url.starts_with("sqlite:") { url.to_owned() } else { "***".to_owned() };
    };
    // Up to the last @, because a password that should have been escaped may hold one.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = user.map(|user| match user.split_once(':') {
        Some((name, _)) => format!("{name}:***@"),
        None => format!("{user}@"),
    });
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let query = query.map(|query| {
        let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}=***"),
            _ => parameter.to_owned(),
        });
        format!("?{}", parameters.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{}{rest}{}", user.unwrap_or_default(), query.unwrap_or_default())
}

/// Tells `progress` now and then.
fn tell(arrivals: &Arrivals, progress: &mut impl FnMut(u64)) {
    if arrivals.rows_read().is_multiple_of(PROGRESS_EVERY) {
        progress(arrivals.rows_read());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let check = |url: &str, expected: &str| assert_eq!(redacted(url), expected);
        check("sqlite:data.db", "sqlite:data.db");
        check("postgres:/u:secret@h/d", "***");
        check("secret", "***");
        check("postgres://h/d", "postgres://h/d");
        check("postgres://u@h:5432/d", "postgres://u@h:5432/d");
        check("postgres://u:secret@h/d", "postgres://u:***@h/d");
        check("postgres://u:se@cr/et@h/d", "postgres://u:***@h/d");
        check("postgres://u@h/d?password=secret&host=/run", "postgres://u@h/d?password=***&host=/run");
        check("postgres://u:secret@h/d?host=/a@b", "postgres://u:***@b");
    }

    #[test]
    fn addresses_are_checked() {
        let check = |url: &str, table: &str, expected: &str| {
            let error = Source::parse(url, table, Duration::ZERO).expect_err(url).to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        };
        check("data.db", "t", "it names no kind of database; known forms: sqlite:FILE, postgres://");
        check("mysql://u:secret@h/d", "t", "`mysql://u:***@h/d` as the data's address: `mysql` is no kind");
        check("postgres://u:secret@h:port/d", "t", "`postgres://u:***@h:port/d`");
        check("postgres:/u:secret@h/d", "t", "`//` is missing");
        check("sqlite::memory:", "t", "gone at once");
        check("sqlite:", "t", "it names no file");
        check("sqlite:a.db", "b; drop table x", "use `b; drop table x` as the data's table");
        check("sqlite:a.db", "public.t", "use `public.t` as the data's table");
        assert!(Source::parse("postgresql://h/d", "public.t", Duration::ZERO).is_ok());
    }
}
