//! One suite over every place that a table of series can be in.

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
    read_csv(&[path], false, |_, _| {}).expect("rows").0
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

#[tokio::test]
async fn what_was_imported_is_read() {
    let sample = sample(7);
    for place in Place::all() {
        assert_eq!(place.import(&sample).await, imported(7_708, 0, 0, 3));
        let (series, report) = place.source().await.read(|_| {}).await.expect("rows");
        assert_eq!(series, sample);
        assert_eq!(series.fingerprint(), sample.fingerprint());
        assert_eq!((report.rows_read, report.videos), (7_708, vec![]));
        assert_eq!(place.import(&sample).await, imported(0, 0, 7_708, 3), "once more");
        assert_eq!(place.read().await, sample);
    }
}

#[tokio::test]
async fn growth_is_right_after_rows_between_others() {
    for place in Place::all() {
        place.import(&series(&[("a", 0, 100), ("a", 20, 300), ("a", 30, 330), ("b", 5, 7)])).await;
        assert_eq!(
            place.import(&series(&[("a", 10, 150), ("a", 20, 300), ("a", 30, 360)])).await,
            imported(1, 1, 1, 1)
        );
        let after = place.read().await;
        assert_eq!(after.counts[0], [100.0, 150.0, 300.0, 360.0, 7.0]);
        assert_eq!(after.growth[0], [0.0, 50.0, 100.0, 20.0, 0.0]);
        place.import(&series(&[("a", -10, 50), ("b", 0, 0)])).await;
        let after = place.read().await;
        assert_eq!(after.growth[0], [0.0, 100.0, 50.0, 100.0, 20.0, 0.0, 7.0]);
        assert_growth_is_right(&after);
    }
}

#[tokio::test]
async fn the_tail_is_the_newest_rows() {
    for place in Place::all() {
        let rows: Vec<_> = (0..200).flat_map(|k| [("a", k, 100 + k as u64), ("b", k * 2, 5)]).collect();
        place.import(&series(&[rows.as_slice(), &[("c", 3, 1), ("c", 4, 2)]].concat())).await;
        let (whole, source) = (place.read().await, place.source().await);
        let (tail, _) = source.tail(20, &[]).await.expect("rows");
        assert_eq!(
            tail.videos.iter().map(|v| (v.id.as_str(), v.rows.len())).collect::<Vec<_>>(),
            [("a", 20), ("b", 20), ("c", 2)]
        );
        assert_eq!(tail.growth[0][..20], whole.growth[0][180..200], "growth of the first row, too");
        assert_eq!(tail.at[20..40], whole.at[380..400]);
        let (one, _) = source.tail(5, &["b".to_owned(), "it's missing".to_owned()]).await.expect("rows");
        assert_eq!((one.videos.len(), one.len(), one.at.last()), (1, 5, whole.at.get(399)));
    }
}

#[tokio::test]
async fn the_tail_needs_neither_key_nor_order() {
    for place in Place::all() {
        place.make("timestamp", "text", "bigint", "double precision").await;
        place.insert("('a', '2024-01-01 00:00:03', 30, 1, 1, NULL, NULL, NULL), ('b', '2024-01-01 00:00:01', 10, 1, 1, 0, 0, 0),
            ('a', '2024-01-01 00:00:01', 10, 1, 1, 0, 0, 0), ('a', '2024-01-01 00:00:04', NULL, 1, 1, 0, 0, 0),
            ('a', '2024-01-01 00:00:02', 20, 1, 1, 100, 0, 0), ('a', '2024-01-01 00:00:02', 20, 1, 1, 100, 0, 0)").await;
        let (tail, _) = place.source().await.tail(1, &["a".to_owned()]).await.expect("rows");
        assert_eq!((tail.len(), tail.counts[0][0], tail.growth[0][0]), (1, 30.0, 50.0));
        assert_eq!(place.source().await.tail(2, &[]).await.expect("rows").0.len(), 3);
    }
}

#[tokio::test]
async fn a_description_says_what_is_there() {
    for place in Place::all() {
        place.import(&series(&[("a", 0, 1), ("a", 1, 2), ("b", 1, 2)])).await;
        let description = place.source().await.describe().await.expect("a description");
        assert_eq!(description.backend, if place.is_postgres() { "PostgreSQL" } else { "SQLite" });
        assert_eq!((description.rows, description.videos, description.indexed), (3, 2, true));
        assert_eq!(description.newest.map(|at| at.timestamp()), Some(1_700_000_001));
        assert!(description.version.starts_with(|c: char| c.is_ascii_digit()), "{}", description.version);
        place.execute(&format!("DROP TABLE {TABLE}")).await;
        place.make("timestamp", "text", "bigint", "double precision").await;
        let description = place.source().await.describe().await.expect("a description");
        assert_eq!((description.rows, description.newest, description.indexed), (0, None, false));
        place.execute(&format!("CREATE INDEX i ON {TABLE} (video_id, timestamp)")).await;
        assert!(place.source().await.describe().await.expect("a description").indexed);
    }
}

#[tokio::test]
async fn an_empty_table_is_no_error() {
    for place in Place::all() {
        assert_eq!(place.import(&Series::default()).await, Imported::default());
        let (series, report) = place.source().await.read(|_| {}).await.expect("nothing");
        assert!(series.is_empty() && report.rows_read == 0);
        assert!(place.source().await.tail(20, &[]).await.expect("nothing").0.is_empty());
    }
}

#[tokio::test]
async fn bad_rows_are_left_out_and_reported() {
    for place in Place::all() {
        place.make("timestamp", "text", "double precision", "double precision").await;
        let infinite = if place.is_postgres() { "'infinity', '-infinity', 'nan'" } else { "9e999, -9e999, NULL" };
        place
            .insert(&format!(
                "('v', '2024-01-01 00:00:04', 40, 1, 1, {infinite}), ('v', '2024-01-01 00:00:01', 10000000000, 1, 1, 0, 0, 0),
                 ('v', '2024-01-01 00:00:02', 1, NULL, 1, 0, 0, 0), ('v', '2024-01-01 00:00:03', 20, 1, 1, 7, 8, 9),
                 ('v', '2024-01-01 00:00:03', 20, 1, 1, 7, 8, 9), ('v', '2024-01-01 00:00:01', 9, 1, 1, 0, 0, 0),
                 ('only null', '2024-01-01 00:00:01', NULL, 1, 1, 0, 0, 0)"
            ))
            .await;
        let (series, report) = place.source().await.read(|_| {}).await.expect("rows");
        assert_eq!(series.counts[0], [1e10, 20.0, 40.0]);
        assert_eq!(series.growth[0], [0.0, 7.0, 100.0]);
        assert_eq!(series.videos.len(), 1);
        assert_eq!(
            report.sentences(),
            [
                "video only null: 1 row has an empty count and was left out",
                "video v: 1 row has an empty count and was left out",
                "video v: 1 row gives other counts for a time that is recorded already; the highest were kept",
                "video v: 3 growth rates were missing and were computed from the counts",
            ]
        );
        assert_eq!((report.rows_read, report.duplicate_rows_left_out()), (7, 2));
    }
}

#[tokio::test]
async fn impossible_counts_and_times_are_named() {
    for place in Place::all() {
        place.make("timestamp", "text", "double precision", "double precision").await;
        place.insert("('v', '2024-01-01 00:00:04', 40, -3, 1, 0, 0, 0)").await;
        let error = place.source().await.read(|_| {}).await.expect_err("a negative count");
        let expected = "read table video_stats_processed: `like_count` of video v at 2024-01-01T00:00:04.000000Z is -3, and \
            counts are numbers from 0 up; correct or delete that row";
        assert_eq!(error.to_string(), expected);
        assert!(!error.is_transient());
        place.execute(&format!("DELETE FROM {TABLE}")).await;
        place.insert("('v', 'infinity', 40, 3, 1, 0, 0, 0)").await;
        let error = place.source().await.read(|_| {}).await.expect_err("no time");
        assert!(matches!(&error, Error::NotATime { value, .. } if value == "infinity"), "{error}");
    }
}

#[tokio::test]
async fn missing_tables_and_columns_are_named() {
    for place in Place::all() {
        if !place.is_postgres() {
            let error = place.connect_error().await;
            assert!(matches!(error, Error::FileMissing { .. }), "{error}");
            assert!(error.to_string().ends_with("make it with `retraind import FILE.csv…`"));
        }
        place.execute("CREATE TABLE other (a bigint)").await;
        let error = place.connect_error().await;
        assert!(matches!(&error, Error::TableMissing { found, .. } if found == &["other"]), "{error}");
        place.execute(&format!("CREATE TABLE {TABLE} (timestamp text, video_id text, view_count bigint)")).await;
        let error = place.connect_error().await;
        assert_eq!(
            error.to_string(),
            "read table video_stats_processed: it has no column `like_count` (there: timestamp, video_id, view_count)"
        );
        let refused = Source::import(&place.url, TABLE, LIMIT, &sample(1), |_, _| {}).await.expect_err("no column");
        assert!(matches!(refused, Error::ColumnMissing { .. }), "{refused}");
    }
}

#[tokio::test]
async fn reading_writes_nothing() {
    let place = Place::sqlite();
    assert!(Source::connect(&place.url, TABLE, LIMIT).await.is_err());
    assert!(!Path::new(place.url.trim_start_matches("sqlite:")).exists());
}

#[tokio::test]
async fn a_failed_import_leaves_the_table_as_it_was() {
    for place in Place::all() {
        place.import(&series(&[("a", 0, 1)])).await;
        let refuse = if place.is_postgres() {
            "ALTER TABLE video_stats_processed ADD CHECK (view_count <> 4999)"
        } else {
            "CREATE TRIGGER refuse BEFORE INSERT ON video_stats_processed WHEN new.view_count = 4999
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        };
        place.execute(refuse).await;
        let rows: Vec<_> = (0..5_000).map(|k| ("a", k + 1, k as u64)).collect();
        let error = Source::import(&place.url, TABLE, LIMIT, &series(&rows), |_, _| {}).await.expect_err("refused");
        assert_eq!(error.to_string(), "import into table video_stats_processed");
        assert_eq!(place.read().await, series(&[("a", 0, 1)]));
    }
}

#[tokio::test]
async fn an_import_that_dies_half_way_leaves_the_table_as_it_was() {
    for place in Place::all() {
        place.import(&series(&[("a", 0, 1)])).await;
        let url = place.url.clone();
        let dies = |done, total| assert!(done <= total / 2, "the import dies here");
        let import = async move { Source::import(&url, TABLE, LIMIT, &sample(1), dies).await };
        assert!(tokio::spawn(import).await.is_err_and(|died| died.is_panic()));
        assert_eq!(place.read().await, series(&[("a", 0, 1)]));
        assert_eq!(place.import(&sample(1)).await.inserted, 7_708, "and the next one works");
    }
}

#[tokio::test]
async fn ids_are_any_text() {
    let ids = ["", "it's", "video_id", "\\", "ä", "a b"];
    for place in Place::all() {
        place.make("timestamp", "text", "bigint", "double precision").await;
        for id in ids {
            place.insert(&format!("('{}', '2024-01-01 00:00:00', 1, 1, 1, 0, 0, 0)", id.replace('\'', "''"))).await;
        }
        place.insert("(NULL, '2024-01-01 00:00:00', 1, 1, 1, 0, 0, 0)").await;
        let (series, report) = place.source().await.read(|_| {}).await.expect("rows");
        assert_eq!((series.len(), report.without_id), (5, 2));
        for indexed in [false, true] {
            if indexed {
                place.execute(&format!("CREATE INDEX i ON {TABLE} (video_id, timestamp)")).await;
            }
            assert_eq!(place.source().await.tail(1, &[]).await.expect("rows").0.len(), 5);
            for id in &ids[1..] {
                let (tail, _) = place.source().await.tail(1, &[(*id).to_owned()]).await.expect("rows");
                assert_eq!(tail.videos.iter().map(|video| video.id.as_str()).collect::<Vec<_>>(), [*id]);
            }
        }
    }
}

/// Every type that counts and times are kept in.
#[tokio::test]
async fn columns_of_many_types() {
    let expected = series(&[("a", 0, 100), ("a", 10, 150), ("b", 0, 3)]);
    let place = Place::postgres();
    for times in ["timestamp", "timestamptz", "timestamp(3)"] {
        for counts in ["integer", "bigint", "numeric", "numeric(20,0)", "real", "double precision"] {
            for (ids, rates) in [("text", "double precision"), ("varchar(11)", "numeric"), ("char(4)", "real")] {
                place.make(times, ids, counts, rates).await;
                assert_eq!(place.import(&expected).await, imported(3, 0, 0, 2));
                assert_eq!(place.read().await, expected, "{times} {counts} {ids} {rates}");
                assert_eq!(place.import(&expected).await, imported(0, 0, 3, 2), "{times} {counts} {ids} {rates}");
                place.execute(&format!("DROP TABLE {TABLE}")).await;
            }
        }
    }
    let place = Place::sqlite();
    for (times, counts) in [("text", "integer"), ("timestamp", "int"), ("datetime", "real"), ("", "")] {
        place.make(times, "", counts, "").await;
        assert_eq!(place.import(&expected).await, imported(3, 0, 0, 2));
        assert_eq!(place.read().await, expected, "{times} {counts}");
        assert_eq!(place.import(&expected).await, imported(0, 0, 3, 2));
        place.execute(&format!("DROP TABLE {TABLE}")).await;
    }
}

#[tokio::test]
async fn postgres_counts_that_do_not_fit_are_refused() {
    let place = Place::postgres();
    place.make("timestamptz", "text", "integer", "real").await;
    let error = Source::import(&place.url, TABLE, LIMIT, &series(&[("a", 0, 1 << 33)]), |_, _| {})
        .await
        .expect_err("too large");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("out of range"), "{cause}");
}

#[tokio::test]
async fn postgres_tables_may_be_in_a_schema_and_any_time_zone() {
    let place = Place::postgres();
    place.execute("CREATE SCHEMA stats; ALTER DATABASE template1 SET TimeZone = 'Asia/Tokyo'").await;
    let database = place.url.split(['/', '?']).nth(3).expect("a database");
    place.execute(&format!("ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")).await;
    place.execute("CREATE TABLE stats.rows AS SELECT timestamp '2024-01-01 00:00:00.123456' AS timestamp, 'a'::text AS video_id,
        1 AS view_count, 1 AS like_count, 1 AS comment_count, 0 AS views_growth_rate, 0 AS likes_growth_rate,
        0 AS comments_growth_rate").await;
    let source = Source::connect(&place.url, "stats.rows", LIMIT).await.expect("a table");
    let first = source.read(|_| {}).await.expect("rows").0.fingerprint().first.expect("a row");
    assert_eq!(first.to_rfc3339(), "2024-01-01T00:00:00.123456+00:00");
    let missing = Source::connect(&place.url, "stats.row", LIMIT).await.expect_err("no table");
    assert!(matches!(&missing, Error::TableMissing { found, .. } if found == &["stats.rows"]), "{missing}");
}

#[tokio::test]
async fn postgres_reads_one_snapshot() {
    let place = Place::postgres();
    place.import(&sample(1)).await;
    let source = place.source().await;
    let delete = format!("DELETE FROM {TABLE}");
    let (reading, ()) = tokio::join!(source.read(|_| {}), place.execute(&delete));
    let rows = reading.expect("rows").0.len();
    assert!(rows == 0 || rows == 7_708, "{rows} rows");
}

#[tokio::test]
async fn postgres_that_is_slow_down_or_refuses() {
    let place = Place::postgres();
    place.import(&series(&[("a", 0, 1)])).await;
    place
        .execute(&format!(
            "ALTER TABLE {TABLE} RENAME TO kept;
             CREATE VIEW {TABLE} AS SELECT kept.* FROM kept, pg_sleep(5)"
        ))
        .await;
    let source = Source::connect(&place.url, TABLE, Duration::from_millis(200)).await.expect("a view");
    let error = source.read(|_| {}).await.expect_err("slow");
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");

    place.execute("CREATE ROLE stranger LOGIN").await;
    let url = place.url.replace("postgres@", "stranger@");
    let error = Source::connect(&url, TABLE, LIMIT).await.expect("sees it").read(|_| {}).await.expect_err("may not");
    assert!(matches!(error, Error::Database { .. }) && !error.is_transient(), "{error}");

    let error = Source::connect("postgres://u:secret@127.0.0.1:1/d", TABLE, LIMIT).await.expect_err("down");
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn sqlite_times_in_other_forms() {
    let place = Place::sqlite();
    place.make("", "text", "integer", "real").await;
    place
        .insert(
            "('a', '2023-11-14 22:13:25', 5, 0, 0, 0, 0, 0), ('a', 1700000003, 3, 0, 0, 0, 0, 0),
             ('a', '2023-11-14T23:13:24+01:00', '4', 0, 0, 0, 0, 0), ('a', 1700000002.5, 2.0, 0, 0, 0, 0, 0),
             ('a', '2023-11-14T22:13:21.000001Z', 1, 0, 0, 0, 0, 0)",
        )
        .await;
    let series = place.read().await;
    assert_eq!(series.counts[0], [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(series.at[0], 1_700_000_001_000_001);
    let error = Source::import(&place.url, TABLE, LIMIT, &series, |_, _| {}).await.expect_err("mixed forms");
    assert!(matches!(error, Error::ForeignTimes { .. }), "{error}");
    place.insert("('a', 'soon', 1, 0, 0, 0, 0, 0)").await;
    let error = place.source().await.read(|_| {}).await.expect_err("no time");
    assert!(matches!(&error, Error::NotATime { value, .. } if value == "soon"), "{error}");
}

#[tokio::test]
async fn sqlite_is_read_while_it_is_written() {
    let place = Place::sqlite();
    place.import(&sample(1)).await;
    let mut writer = {
        let options: sqlx::sqlite::SqliteConnectOptions = place.url.parse().expect("a url");
        sqlx::ConnectOptions::connect(&options).await.expect("a file")
    };
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN IMMEDIATE; DELETE FROM {TABLE}")))
        .execute(&mut writer)
        .await
        .expect("a lock");
    assert_eq!(place.read().await.len(), 7_708);
    let error =
        Source::import(&place.url, TABLE, Duration::from_millis(50), &sample(2), |_, _| {}).await.expect_err("locked");
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn sqlite_file_that_is_none() {
    let place = Place::sqlite();
    std::fs::write(place.url.trim_start_matches("sqlite:"), "timestamp,video_id\n".repeat(100)).expect("a file");
    let error = place.connect_error().await;
    assert!(matches!(error, Error::Database { .. }) && !error.is_transient(), "{error:?}");
}

#[test]
fn imports_in_any_order_and_split_make_the_same_table() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let rows = prop::collection::btree_map((0..3usize, 0..30i64), (0..1000u64, 0..3usize), 1..40);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    runner
        .run(&(rows, any::<bool>()), |(rows, backwards)| {
            let whole: Vec<_> = rows.iter().map(|(&(v, at), &(views, _))| (["b", "a", "_"][v], at, views)).collect();
            let expected = series(&whole);
            let mut files = vec![Vec::new(); 3];
            for (row, &(_, file)) in whole.iter().zip(rows.values()) {
                files[file].push(*row);
            }
            if backwards {
                files.reverse();
                for file in &mut files {
                    file.reverse();
                }
            }
            for place in Place::all() {
                runtime.block_on(async {
                    for file in &files {
                        place.import(&series(file)).await;
                    }
                    assert_eq!(place.read().await, expected);
                });
            }
            Ok(())
        })
        .expect("the same table");
}

#[test]
fn a_file_gives_back_the_sample() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sample.csv");
    write_csv(&path, &sample(3)).expect("written");
    let (series, report) = read_csv(&[path], false, |_, _| {}).expect("rows");
    assert_eq!(series.fingerprint(), sample(3).fingerprint());
    assert_growth_is_right(&series);
    assert_eq!((report.lines, report.n_bad), (7_708, 0));
}
