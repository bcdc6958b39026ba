//! Opening: URL → connections to a database at this program's schema.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, SqlitePool};

use super::error::is_transient;
use super::{Backend, Error, Result, Store};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a writer waits for another process's transaction. Ours last milliseconds; what takes longer
/// is a backup tool or a person with a shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that takes longer than this is down as far as a scheduler is concerned.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the database at `url` (`sqlite://FILE` or `postgres://…`), creates an `SQLite` file that is
    /// not there yet, and applies the migrations that are missing.
    pub async fn open(url: &str) -> Result<Self> {
        match scheme(url) {
            Some("sqlite") => open_sqlite(url).await,
            Some("postgres" | "postgresql") => open_postgres(url).await,
            _ => Err(Error::BadUrl { problem: "the url is of no kind that this program knows".into() }),
        }
    }

    /// Whether `url` could be an address at all; nothing is opened.
    pub fn check_address(url: &str) -> Result<()> {
        match scheme(url) {
            // A state that is gone when the program ends would forget every run.
            Some("sqlite")
                if (url.contains(":memory:") || url.contains("mode=memory"))
                    || matches!(url, "sqlite:" | "sqlite://") =>
            {
                Err(Error::BadUrl { problem: "it names no file".into() })
            }
            Some("sqlite") => SqliteConnectOptions::from_str(url).map(|_| ()).map_err(|error| bad_url(&error)),
            Some("postgres" | "postgresql") => {
                PgConnectOptions::from_str(url).map(|_| ()).map_err(|error| bad_url(&error))
            }
            _ => Err(Error::BadUrl { problem: "the url is of no kind that this program knows".into() }),
        }
    }

    /// The file of an `SQLite` database. None: it is of another kind, or the url cannot be read.
    pub fn file_of(url: &str) -> Option<PathBuf> {
        let options = SqliteConnectOptions::from_str(url).ok().filter(|_| url.starts_with("sqlite:"))?;
        Some(options.get_filename().to_owned())
    }

    /// Opens the database at `url` unless it is an SQLite file that is not there: a command that only looks must not
    /// leave an empty database behind. `Ok(None)` then.
    pub async fn open_existing(url: &str) -> Result<Option<Self>> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(|error| bad_url(&error))?;
            if !options.get_filename().exists() && !url.contains(":memory:") {
                return Ok(None);
            }
        }
        Self::open(url).await.map(Some)
    }

    /// Waits for running queries and closes all connections.
    pub async fn close(&self) {
        on_pool!(self, |pool| pool.close().await);
    }
}

/// The part before `://`; `sqlite:FILE` needs no slashes. After `postgres:/` the driver takes all that follows for the
/// database's name, a password in it included.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    (scheme == "sqlite" || rest.starts_with("//")).then_some(scheme)
}

async fn open_sqlite(url: &str) -> Result<Store> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| bad_url(&error))?;
    let file = options.get_filename().to_owned();
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Error::NoDirectory { directory: directory.to_owned(), file });
    }

    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        // Readers and the one writer don't wait for each other.
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL, WAL commits may vanish in a power cut; a run that vanishes would run twice.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    // One connection a process: SQLite has one writer anyway, and a queue in memory is fairer than
    // polling for the file's lock. It is never retired, as there is no network that could lose it, and
    // a database in memory ends with its last connection.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(3 * BUSY_TIMEOUT)
        // On a full disk SQLite rolls back by itself and the driver goes on counting the transaction: such a connection
        // would refuse every later write, also when there is room again.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .idle_timeout(None)
        .max_lifetime(None);

    let location = format!("sqlite://{}", file.display());
    let deadline = tokio::time::Instant::now() + BUSY_TIMEOUT;
    loop {
        // Turning on WAL fails at once while somebody writes, whatever the busy timeout: so it happens when
        // two processes meet at a new file.
        match connect_sqlite(pool.clone(), options.clone(), &location).await {
            Ok(pool) => return Ok(Store { backend: Backend::Sqlite(pool), location }),
            Err(error) if error.is_transient() && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Error::Database(source)) => return Err(sqlite_problem(&file, source)),
            Err(error) => return Err(error),
        }
    }
}

async fn connect_sqlite(pool: SqlitePoolOptions, options: SqliteConnectOptions, location: &str) -> Result<SqlitePool> {
    let pool = pool.connect_with(options).await?;
    // The migrator of SQLite takes no lock of its own: without this transaction, two processes that
    // find the same empty file would both create its tables.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    SQLITE.run_direct(None, &mut *tx, false).await.map_err(|error| migration(error, &SQLITE, location))?;
    tx.commit().await?;
    Ok(pool)
}

fn sqlite_problem(file: &Path, source: sqlx::Error) -> Error {
    let file = PathBuf::from(file);
    let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // Source: sqlite.org/rescode.html; the low byte is the primary code.
    match code.map(|code| code & 0xff) {
        // PERM, READONLY, CANTOPEN
        Some(3 | 8 | 14) => Error::Unwritable { file, source },
        // NOTADB
        Some(26) => Error::NotADatabase { file, source },
        _ => Error::Database(source),
    }
}

async fn open_postgres(url: &str) -> Result<Store> {
    let options = PgConnectOptions::from_str(url).map_err(|error| bad_url(&error))?.application_name("retraind");
    let location = postgres_location(&options);

    migrate_postgres(&options, &location).await?;
    let pool: PgPool = PgPoolOptions::new()
        // A daemon and a handful of workers share a server that may allow a hundred connections in all.
        .max_connections(4)
        .acquire_timeout(CONNECT_TIMEOUT)
        // Firewalls forget idle connections and servers restart: an old connection is tested before use
        // and given up in time.
        .test_before_acquire(true)
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        .connect_lazy_with(options);
    Ok(Store { backend: Backend::Postgres(pool), location })
}

/// On a connection of its own: the pool would try again and again until its time is up and then report
/// only that; and the migrator's lock, which it keeps when it fails, ends with the connection.
async fn migrate_postgres(options: &PgConnectOptions, location: &str) -> Result<()> {
    let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(source)) if is_transient(&source) => {
            return Err(Error::Unreachable { location: location.to_owned(), source });
        }
        Ok(Err(source)) => return Err(Error::Refused { location: location.to_owned(), source }),
        Err(_) => {
            let source = std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs()),
            );
            return Err(Error::Unreachable { location: location.to_owned(), source: source.into() });
        }
    };
    // Otherwise each start logs that the table of migrations exists already.
    sqlx::query("SET client_min_messages = warning").execute(&mut connection).await?;
    POSTGRES.run_direct(None, &mut connection, false).await.map_err(|error| migration(error, &POSTGRES, location))?;
    connection.close().await?;
    Ok(())
}

/// Put together from its parts, as the URL itself may hold a password.
fn postgres_location(options: &PgConnectOptions) -> String {
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
    // The server's own rule: the database is named like the user unless said otherwise.
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
}

fn migration(error: MigrateError, known: &Migrator, location: &str) -> Error {
    let location = location.to_owned();
    match error {
        MigrateError::VersionMissing(found) => {
            let known = known.iter().map(|migration| migration.version).max().unwrap_or(0);
            Error::NewerSchema { location, found, known }
        }
        MigrateError::VersionMismatch(version) => Error::AlteredSchema { location, version },
        // A query between migrations: a lock or a lost connection, or a file that is no database.
        MigrateError::Execute(source) => Error::Database(source),
        source => Error::Migration { location, source: Box::new(source) },
    }
}

/// The driver's message says what is wrong with the URL; it names parts, but never the password.
fn bad_url(error: &sqlx::Error) -> Error {
    let problem = match error {
        sqlx::Error::Configuration(source) => source.to_string(),
        _ => "the url cannot be read".to_owned(),
    };
    Error::BadUrl { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_never_holds_the_password() {
        let check = |url: &str, expected: &str| {
            assert_eq!(postgres_location(&PgConnectOptions::from_str(url).unwrap()), expected);
        };
        check("postgres://ann:s3cret@db.example:5433/state", "postgres://ann@db.example:5433/state");
        check("postgres://ann:s3cret@db.example", "postgres://ann@db.example:5432/ann");
        check("postgres://db.example/state?user=ann&password=s3cret", "postgres://ann@db.example:5432/state");
        check("postgres://ann@%2Frun%2Fpostgresql/state", "postgres://ann@/run/postgresql:5432/state");
    }

    #[tokio::test]
    async fn urls_that_cannot_work_do_not_show_the_password() {
        for url in [
            "mysql://ann:s3cret@db/x",
            "postgres:/ann:s3cret@db/x",
            "s3cret",
            "",
            "postgres://ann:s3cret@db:port/x",
            "sqlite://a?s=s3cret",
        ] {
            let error = Store::open(url).await.unwrap_err();
            assert!(matches!(error, Error::BadUrl { .. }), "{url}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |migrator: &'static Migrator| {
            migrator.iter().map(|migration| (migration.version, &*migration.description)).collect::<Vec<_>>()
        };
        assert_eq!(names(&SQLITE), names(&POSTGRES));
    }
}
