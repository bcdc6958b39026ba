//! One suite over every place that a table of series can be in.

mod importing;
mod newer;
mod postgres;
mod reading;
mod sqlite;
#[path = "../support/mod.rs"]
mod support;

use proptest::prelude::*;
use retraind::data::{Error, Imported, Series, Source, growth_rate, read_csv, sample, write_csv};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use support::postgres::Cluster;
use tempfile::TempDir;

const TABLE: &str = "video_stats_processed";
const LIMIT: Duration = Duration::from_secs(30);

/// A place for a table, empty at first.
struct Place {
    url: String,
    _directory: TempDir,
}

impl Place {
    /// One of each kind.
    fn all() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()]
    }

    fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { url: format!("sqlite:{}", directory.path().join("data.db").display()), _directory: directory }
    }

    fn postgres() -> Self {
        Self { url: Cluster::shared().url("data"), _directory: tempfile::tempdir().expect("a directory") }
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// Runs statements as whoever owns the database would.
    async fn execute(&self, statements: &str) {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
        if self.is_postgres() {
            let mut connection = self.postgres_connection().await;
            statements.execute(&mut connection).await.expect("statements");
        } else {
            let options: sqlx::sqlite::SqliteConnectOptions = self.url.parse().expect("a url");
            let options = options.create_if_missing(true);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("a file");
            statements.execute(&mut connection).await.expect("statements");
        }
    }

    async fn postgres_connection(&self) -> sqlx::PgConnection {
        <sqlx::PgConnection as sqlx::Connection>::connect(&self.url).await.expect("a server")
    }

    /// A table as people make it, with the given types for times, ids, counts and rates, and no key.
    async fn make(&self, times: &str, ids: &str, counts: &str, rates: &str) {
        self.execute(&format!(
            "CREATE TABLE {TABLE} (view_count {counts}, like_count {counts}, comment_count {counts}, note text,
             views_growth_rate {rates}, likes_growth_rate {rates}, comments_growth_rate {rates},
             video_id {ids}, timestamp {times})"
        ))
        .await;
    }

    async fn insert(&self, rows: &str) {
        self.execute(&format!(
            "INSERT INTO {TABLE} (video_id, timestamp, view_count, like_count, comment_count, views_growth_rate,
             likes_growth_rate, comments_growth_rate) VALUES {rows}"
        ))
        .await;
    }

    async fn import(&self, series: &Series) -> Imported {
        Source::import(&self.url, TABLE, LIMIT, series, |_, _| {}).await.expect("an import")
    }

    async fn source(&self) -> Source {
        Source::connect(&self.url, TABLE, LIMIT).await.expect("a table")
    }

    async fn connect_error(&self) -> Error {
        Source::connect(&self.url, TABLE, LIMIT).await.expect_err("no table")
    }

    async fn read(&self) -> Series {
        self.source().await.read(|_| {}).await.expect("rows").0
    }
}

/// Series of rows of (video, second, views), by way of a CSV file.
fn series(rows: &[(&str, i64, u64)]) -> Series {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("rows.csv");
    let mut text = "timestamp,video_id,view_count,like_count,comment_count\n".to_owned();
    for (video, second, views) in rows {
        writeln!(text, "{},{video},{views},{},2", 1_700_000_000 + second, views / 10).expect("room");
    }
    std::fs::write(&path, text).expect("a file");
    read_csv(&[path], false, |_| {}).expect("rows").0
}

fn imported(inserted: u64, updated: u64, unchanged: u64, videos: u64) -> Imported {
    Imported { inserted, updated, unchanged, videos }
}

/// Growth rates follow from the counts everywhere.
fn assert_growth_is_right(series: &Series) {
    for video in &series.videos {
        for row in video.rows.clone() {
            for (counts, growth) in series.counts.iter().zip(&series.growth) {
                let previous = (row > video.rows.start).then(|| counts[row - 1]);
                assert_eq!(
                    growth[row].to_bits(),
                    growth_rate(previous, counts[row]).to_bits(),
                    "row {row} of {}",
                    video.id
                );
            }
        }
    }
}
