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
    assert!(matches!(error, Error::Database { .. }) && !error.is_transient(), "{error:?}");
}
