//! What `retraind doctor` says about the state database.

use std::path::{Path, PathBuf};

use super::{Backend, Result, Store};

/// The database at hand, in a few facts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// `SQLite` or `PostgreSQL`.
    pub backend: &'static str,
    /// Where it is, without a password.
    pub location: String,
    /// Of the `SQLite` library in this program, or of the server.
    pub server_version: String,
    /// The newest migration applied.
    pub schema_version: i64,
    /// Unit: bytes.
    pub size_bytes: i64,
    /// Runs recorded.
    pub n_runs: i64,
    /// Versions registered.
    pub n_versions: i64,
}

impl Store {
    /// `SQLite` or `PostgreSQL`.
    pub fn backend(&self) -> &'static str {
        match self.backend {
            Backend::Sqlite(_) => "SQLite",
            Backend::Postgres(_) => "PostgreSQL",
        }
    }

    /// Where the database is, without a password.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The file that holds the database, if one does.
    pub fn file(&self) -> Option<&Path> {
        match self.backend {
            Backend::Sqlite(_) => self.location.strip_prefix("sqlite://").map(Path::new),
            Backend::Postgres(_) => None,
        }
    }

    /// The file that a scheduler locks; none where the database itself can tell who schedules.
    pub fn lock_file(&self) -> Option<PathBuf> {
        self.file().map(|file| PathBuf::from(format!("{}.daemon", file.display())))
    }

    /// Whether this user may write here: a change of nothing, undone. A file or a role that can only read refuses it.
    pub async fn check_writable(&self) -> Result<()> {
        on_pool!(self, |pool| {
            let mut tx = pool.begin().await?;
            sqlx::query("UPDATE runs SET job = job WHERE id < 0").execute(&mut *tx).await?;
            tx.rollback().await?;
            Ok(())
        })
    }

    /// Asks the database for the facts; also the shortest way to see whether it answers.
    pub async fn describe(&self) -> Result<Description> {
        let (version, size) = match self.backend {
            Backend::Sqlite(_) => (
                "SELECT sqlite_version()",
                "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            ),
            Backend::Postgres(_) => {
                ("SELECT current_setting('server_version')", "SELECT pg_database_size(current_database())")
            }
        };
        on_pool!(self, |pool| {
            Ok(Description {
                backend: self.backend(),
                location: self.location.clone(),
                server_version: sqlx::query_scalar(version).fetch_one(pool).await?,
                schema_version: sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(pool).await?,
                size_bytes: sqlx::query_scalar(size).fetch_one(pool).await?,
                n_runs: sqlx::query_scalar("SELECT COUNT(*) FROM runs").fetch_one(pool).await?,
                n_versions: sqlx::query_scalar("SELECT COUNT(*) FROM versions").fetch_one(pool).await?,
            })
        })
    }
}
