//! What a read, a tail and a description give, whatever the database.

use super::*;

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
        assert_eq!((description.rows, description.videos, description.missing_indexes.len()), (3, 2, 0));
        assert_eq!(description.newest.map(|at| at.timestamp()), Some(1_700_000_001));
        assert!(description.version.starts_with(|c: char| c.is_ascii_digit()), "{}", description.version);
        place.execute(&format!("DROP TABLE {TABLE}")).await;
        place.make("timestamp", "text", "bigint", "double precision").await;
        let description = place.source().await.describe().await.expect("a description");
        assert_eq!((description.rows, description.newest), (0, None));
        assert_eq!(description.missing_indexes.len(), if place.is_postgres() { 2 } else { 1 });
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
