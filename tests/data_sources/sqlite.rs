//! What only SQLite does.

use super::*;

#[tokio::test]
async fn reading_writes_nothing() {
    let place = Place::sqlite();
    assert!(Source::connect(&place.url, TABLE, LIMIT).await.is_err());
    assert!(!Path::new(place.url.trim_start_matches("sqlite:")).exists());
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
    assert!(matches!(error, Error::Embedded { .. }) && !error.is_transient(), "{error:?}");
}

/// In processes of their own they do just the same: each opens the file for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_first_imports_may_come_all_at_once() {
    for _ in 0..8 {
        let place = Place::sqlite();
        let imports: Vec<_> = ["a", "b", "c", "d", "e", "f"]
            .map(|video| {
                let url = place.url.clone();
                tokio::spawn(async move {
                    let rows = series(&[(video, 0, 1), (video, 1, 2)]);
                    Source::import(&url, TABLE, LIMIT, &rows, |_, _| {}).await.map(|imported| imported.inserted)
                })
            })
            .into();
        for import in imports {
            assert_eq!(import.await.expect("no panic").expect("an import"), 2);
        }
        assert_eq!(place.read().await.len(), 12);
    }
}

#[tokio::test]
async fn sqlite_readers_do_not_wait_for_a_writer_from_the_first_import_on() {
    let place = Place::sqlite();
    place.import(&series(&[("a", 0, 1)])).await;
    let mode = rusqlite::Connection::open(place.url.trim_start_matches("sqlite:"))
        .and_then(|file| file.query_row("PRAGMA journal_mode", (), |row| row.get::<_, String>(0)));
    assert_eq!(mode.expect("a mode"), "wal");
}

/// As a killed import into a table without write-ahead log leaves it: pages half written, and a journal to undo them.
#[tokio::test]
async fn sqlite_files_of_killed_imports_can_be_read() {
    let (place, killed) = (Place::sqlite(), Place::sqlite());
    place.import(&series(&[("a", 0, 1), ("a", 1, 2)])).await;
    let path = |place: &Place| place.url.trim_start_matches("sqlite:").to_owned();
    let file = rusqlite::Connection::open(path(&place)).expect("a file");
    file.execute_batch(&format!(
        "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 5; BEGIN;
         WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 20000)
         INSERT INTO {TABLE} SELECT '2030-01-01T00:00:00.000000Z', 'b' || k, 1, 1, 1, 0, 0, 0 FROM n"
    ))
    .expect("rows that are not committed");
    for end in ["", "-journal"] {
        std::fs::copy(path(&place) + end, path(&killed) + end).expect("a copy");
    }
    assert_eq!(killed.read().await, series(&[("a", 0, 1), ("a", 1, 2)]));
}
