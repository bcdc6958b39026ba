//! How many rows are newer than a time, and what a read up to a time gives.

use super::*;
use chrono::{DateTime, Utc};

/// The time of the second that [`series`] counts from.
fn second(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a time")
}

/// Three videos, 60 rows, the newest at second 38.
fn rows() -> Vec<(&'static str, i64, u64)> {
    (0..20).flat_map(|k| [("a", k, 1), ("b", 2 * k, 1), ("c", k - 5, 1)]).collect()
}

async fn check(source: &Source, what: &str) {
    assert_eq!(source.newest().await.expect("a time"), Some(second(38)), "{what}");
    for (watermark, expected) in [(-6, 60), (-5, 59), (19, 10), (20, 9), (22, 8), (38, 0), (99, 0)] {
        for at_most in [0, 1, 8, 9, 58, 60, 1_000, u64::MAX >> 1] {
            let n = source.count_since(Some(second(watermark)), at_most).await.expect("a number");
            assert_eq!(n, at_most.min(expected), "{what}: since {watermark}, at most {at_most}");
        }
    }
    assert_eq!(source.count_since(None, 1_000).await.expect("a number"), 60, "{what}");
    assert_eq!(source.count_since(None, 7).await.expect("a number"), 7, "{what}");
}

#[tokio::test]
async fn newer_rows_are_counted() {
    for place in Place::all() {
        place.import(&series(&rows())).await;
        let source = place.source().await;
        assert_eq!(source.describe().await.expect("a description").missing_indexes, vec![]);
        check(&source, &place.url).await;
        if place.is_postgres() {
            place.execute("DROP INDEX video_stats_processed_timestamp_idx").await;
            let missing = source.describe().await.expect("a description").missing_indexes;
            assert_eq!(
                missing.iter().map(|index| index.create.as_str()).collect::<Vec<_>>(),
                ["CREATE INDEX CONCURRENTLY ON \"video_stats_processed\" (\"timestamp\")"]
            );
            check(&source, "by the key").await;
        }
    }
}

#[tokio::test]
async fn newer_rows_are_counted_in_tables_of_any_make() {
    for place in Place::all() {
        for times in ["timestamp", "text"] {
            place.make(times, "text", "bigint", "double precision").await;
            let source = place.source().await;
            assert_eq!(source.newest().await.expect("no time"), None);
            assert_eq!(source.count_since(Some(second(0)), 5).await.expect("a number"), 0);
            let values: Vec<_> = rows()
                .iter()
                .map(|&(video, at, _)| {
                    format!("('{video}', '{}', 1, 1, 1, 0, 0, 0)", second(at).format("%Y-%m-%d %H:%M:%S"))
                })
                .collect();
            place.insert(&values.join(", ")).await;
            check(&source, times).await;
            // What doctor says is missing, made as doctor says.
            for index in source.describe().await.expect("a description").missing_indexes {
                place.execute(&index.create).await;
            }
            assert_eq!(source.describe().await.expect("a description").missing_indexes, vec![]);
            check(&source, times).await;
            place.execute(&format!("DROP TABLE {TABLE}")).await;
        }
    }
}

#[tokio::test]
async fn a_read_up_to_a_time_gives_the_rows_of_then() {
    for place in Place::all() {
        let (whole, before) = (rows(), rows().into_iter().filter(|row| row.1 <= 19).collect::<Vec<_>>());
        place.import(&series(&before)).await;
        let then = place.read().await.fingerprint();
        place.import(&series(&whole)).await;
        let source = place.source().await;
        let (again, report) = source.read_until(then.last, |_| {}).await.expect("rows");
        assert_eq!((again.fingerprint(), report.rows_read), (then, before.len() as u64));
        assert_eq!(source.read_until(Some(second(-99)), |_| {}).await.expect("rows").0.len(), 0);
        assert_eq!(source.read_until(None, |_| {}).await.expect("rows").0, place.read().await);
    }
}
