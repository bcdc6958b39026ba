//! What only PostgreSQL does.

use super::*;

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
async fn postgres_rows_too_many_to_count_are_estimated() {
    let place = Place::postgres();
    place.make("timestamptz", "text", "bigint", "double precision").await;
    place.insert("('a', '2024-01-01', 1, 1, 1, 0, 0, 0), ('b', '2024-01-02', 1, 1, 1, 0, 0, 0)").await;
    let describe = async || place.source().await.describe().await.expect("a description");
    place.execute(&format!("ANALYZE {TABLE}")).await;
    let counted = describe().await;
    assert_eq!((counted.rows, counted.videos, counted.estimated), (2, 2, false));
    let large = format!("UPDATE pg_class SET reltuples = 1e8 WHERE oid = '{TABLE}'::regclass");
    place.execute(&large).await;
    // each of two rows had a video of its own: so would each of the others
    let estimated = describe().await;
    assert_eq!((estimated.rows, estimated.videos, estimated.newest), (100_000_000, 100_000_000, None));
    assert!(estimated.estimated);
    place.execute(&estimated.missing_indexes[0].create).await;
    place.execute(&large).await;
    // an index finds videos and the newest row without counting
    let found = describe().await;
    assert_eq!((found.rows, found.videos, found.newest), (100_000_000, 2, counted.newest));
}

#[tokio::test]
async fn postgres_partitions_are_estimated_together() {
    let place = Place::postgres();
    place.make("timestamptz", "text", "bigint", "double precision").await;
    place
        .execute(&format!(
            "ALTER TABLE {TABLE} RENAME TO kept; CREATE TABLE {TABLE} (LIKE kept) PARTITION BY RANGE (timestamp);
             CREATE TABLE early PARTITION OF {TABLE} FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
             CREATE TABLE late PARTITION OF {TABLE} FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
             UPDATE pg_class SET reltuples = 6e7 WHERE relname IN ('early', 'late')"
        ))
        .await;
    let description = place.source().await.describe().await.expect("a description");
    assert_eq!((description.rows, description.estimated), (120_000_000, true));
}

/// `infinity` is the newest of all times, and no calendar has the year 290000.
#[tokio::test]
async fn postgres_times_that_no_calendar_has_are_passed_over_by_what_asks_for_the_newest() {
    for index in ["", "CREATE INDEX ON video_stats_processed (video_id, timestamp)"] {
        let place = Place::postgres();
        place.make("timestamptz", "text", "bigint", "double precision").await;
        place.execute(index).await;
        place
            .insert(
                "('a', 'infinity', 1, 1, 1, 0, 0, 0), ('a', '-infinity', 1, 1, 1, 0, 0, 0),
                 ('a', '290000-01-01', 1, 1, 1, 0, 0, 0), ('b', '2024-01-01 00:00:00+00', 1, 1, 1, 0, 0, 0)",
            )
            .await;
        let source = place.source().await;
        let newest = source.newest().await.expect("a time").expect("a row");
        assert_eq!(newest.to_rfc3339(), "2024-01-01T00:00:00+00:00");
        assert_eq!(source.describe().await.expect("a description").newest, Some(newest));
        let error = source.read(|_| {}).await.expect_err("no time");
        assert!(error.to_string().contains("infinity"), "{error}");
    }
}

#[tokio::test]
async fn postgres_indexes_are_advised_where_they_can_be_made() {
    let place = Place::postgres();
    place.make("timestamptz", "text", "bigint", "double precision").await;
    place.execute(&format!("ALTER TABLE {TABLE} RENAME TO kept; CREATE VIEW {TABLE} AS SELECT * FROM kept")).await;
    assert_eq!(place.source().await.describe().await.expect("a view").missing_indexes, vec![]);
    place
        .execute(&format!(
            "DROP VIEW {TABLE}; CREATE TABLE {TABLE} (LIKE kept) PARTITION BY RANGE (timestamp);
             CREATE TABLE part PARTITION OF {TABLE} DEFAULT"
        ))
        .await;
    let missing = place.source().await.describe().await.expect("a table").missing_indexes;
    assert_eq!(missing.len(), 2);
    for index in &missing {
        place.execute(&index.create).await;
    }
    assert_eq!(place.source().await.describe().await.expect("a table").missing_indexes, vec![]);
}
