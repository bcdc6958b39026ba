//! Why data did not come in or go out.

use super::csv::BadLine;
use std::path::PathBuf;
use std::time::Duration;

/// Completes "failed to …". No URL in here shows its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `[source] url` is of no known form.
    #[error("use `{url}` as the data's address: {reason}; known forms: sqlite:FILE, postgres://USER@HOST/DATABASE")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `[source] table` is no identifier, with or without a schema before it.
    #[error(
        "use `{table}` as the data's table: a table is letters, digits and underscores, with at most a schema and a \
         dot before it, like `video_stats_processed` or `public.video_stats_processed`"
    )]
    TableName {
        /// As given.
        table: String,
    },
    /// The embedded database has not been made yet.
    #[error("open {}: there is no such file; make it with `retraind import FILE.csv…`", path.display())]
    FileMissing {
        /// The database file.
        path: PathBuf,
    },
    /// The database answers but has no such table.
    #[error(
        "read table {table}: {url} has no such table (there: {}); correct `[source] table`, or make it with \
         `retraind import FILE.csv…`",
        list(found)
    )]
    TableMissing {
        /// As given.
        table: String,
        /// The database, without its password.
        url: String,
        /// Tables that it has.
        found: Vec<String>,
    },
    /// The table lacks a column.
    #[error("read table {table}: it has no column `{column}` (there: {})", list(found))]
    ColumnMissing {
        /// The table.
        table: String,
        /// The column it lacks.
        column: String,
        /// Columns it has.
        found: Vec<String>,
    },
    /// The database does not answer, or not now.
    #[error("reach the database {url}")]
    Unreachable {
        /// The database, without its password.
        url: String,
        /// What the driver met.
        source: sqlx::Error,
    },
    /// The database works, but not fast enough.
    #[error("{doing} within {limit:?}; an index on (video_id, timestamp) or a longer statement timeout helps")]
    Timeout {
        /// What took too long, as in "read table x".
        doing: String,
        /// The statement timeout.
        limit: Duration,
    },
    /// The database refused a statement.
    #[error("{doing}")]
    Database {
        /// What was being done, as in "read table x".
        doing: String,
        /// What the driver met.
        source: sqlx::Error,
    },
    /// The embedded database refused a statement.
    #[error("{doing}")]
    Embedded {
        /// What was being done, as in "read table x".
        doing: String,
        /// What the driver met.
        source: rusqlite::Error,
    },
    /// A count in the table is negative or no number.
    #[error(
        "read table {table}: `{column}` of video {video} at {at} is {value}, and counts are numbers from 0 up; \
         correct or delete that row"
    )]
    NotACount {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The video's id.
        video: String,
        /// The row's time.
        at: String,
        /// What stands there.
        value: String,
    },
    /// A time in the table is none.
    #[error(
        "read table {table}: `timestamp` of a row of video {video} is `{value}`, which is not a time such as \
         2023-12-04T13:05:31Z; correct or delete that row"
    )]
    NotATime {
        /// The table.
        table: String,
        /// The video's id.
        video: String,
        /// What stands there.
        value: String,
    },
    /// Times in an embedded table that was made elsewhere, in a form that can't be mixed with ours.
    #[error(
        "import into table {table}: its times have another form (`{value}`) than 2023-12-04T13:05:31.000000Z, and \
         mixed forms would not sort by time; import into another table with `[source] table`"
    )]
    ForeignTimes {
        /// The table.
        table: String,
        /// One of its times.
        value: String,
    },
    /// A line of a CSV file can't be taken in.
    #[error("import {0}; correct the line, or leave such lines out with --skip-bad")]
    Line(BadLine),
    /// A quoted field holds a line break.
    #[error(
        "import {}:{line}: a quoted field goes on into the next line, and would take the lines after it along; close or \
         remove its quote", file.display()
    )]
    OpenQuote {
        /// The file.
        file: PathBuf,
        /// Where the field's line starts, counted from 1.
        line: u64,
    },
    /// A CSV file has no first line.
    #[error(
        "import {}: it is empty; its first line must name the columns: timestamp,video_id,view_count,like_count,\
         comment_count", file.display()
    )]
    NoHeader {
        /// The file.
        file: PathBuf,
    },
    /// The first line of a CSV file lacks a column.
    #[error(
        "import {}:1: the first line names no column `{column}` (there: {})", file.display(), list(found)
    )]
    HeaderMissing {
        /// The file.
        file: PathBuf,
        /// The column it lacks.
        column: String,
        /// Columns it has.
        found: Vec<String>,
    },
    /// The first line of a CSV file names two columns for the same thing.
    #[error(
        "import {}:1: the first line names two columns for `{column}` ({}); leave one of them out",
        file.display(), found.join(", ")
    )]
    HeaderTwice {
        /// The file.
        file: PathBuf,
        /// What they are for.
        column: String,
        /// Their names.
        found: [String; 2],
    },
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the same call may work later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Database { source, .. } => is_transient(source),
            Self::Embedded { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
            ),
            _ => false,
        }
    }

    /// Whether the server does not let us in: a wrong password, user or database.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Database { source, .. } => {
                code(source).is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501")
            }
            _ => false,
        }
    }

    /// Sorts an error of the driver: gone, too slow, or refused.
    pub(super) fn from_driver(source: sqlx::Error, doing: &str, url: &str, limit: Duration) -> Self {
        if is_connection_lost(&source) {
            return Self::Unreachable { url: url.to_owned(), source };
        }
        if code(&source).as_deref() == Some("57014") {
            return Self::Timeout { doing: doing.to_owned(), limit };
        }
        Self::Database { doing: doing.to_owned(), source }
    }
}

fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        // A file that can't be opened comes as a database error; Io is a socket's.
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // Shutting down, starting up, crashed, too many clients, connection failures.
        _ => code(error).is_some_and(|code| {
            matches!(code.as_str(), "57P01" | "57P02" | "57P03" | "53300") || code.starts_with("08")
        }),
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    // Serialization failure, deadlock, lock timeout, out of memory, out of disk.
    code(error).is_some_and(|code| matches!(code.as_str(), "40001" | "40P01" | "55P03" | "53200" | "53100"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// At most ten names; a database may hold thousands.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_complete_failed_to() {
        let check = |error: Error, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            Error::FileMissing { path: "data.db".into() },
            "open data.db: there is no such file; make it with `retraind import FILE.csv…`",
        );
        check(
            Error::TableMissing {
                table: "stats".to_owned(),
                url: "postgres://u:***@h/d".to_owned(),
                found: vec!["a".to_owned(), "b".to_owned()],
            },
            "read table stats: postgres://u:***@h/d has no such table (there: a, b); correct `[source] table`, or make \
             it with `retraind import FILE.csv…`",
        );
        check(
            Error::Timeout { doing: "read table stats".to_owned(), limit: Duration::from_mins(1) },
            "read table stats within 60s; an index on (video_id, timestamp) or a longer statement timeout helps",
        );
        let names: Vec<String> = (0..12).map(|k| format!("c{k}")).collect();
        assert_eq!(list(&names), "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 2 more");
        assert_eq!(list(&[]), "none");
    }
}
