//! What an import leaves behind.

use super::*;

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

/// Also of the names that an import has for what it needs meanwhile.
#[tokio::test]
async fn tables_of_any_name_take_rows() {
    let rows = series(&[("a", 0, 1), ("a", 1, 2), ("b", 1, 2)]);
    for name in ["retraind_incoming_rows", "retraind_incoming", "Retraind_Since", "order"] {
        for made in [false, true] {
            for place in Place::all() {
                if made {
                    let times = if place.is_postgres() { "timestamptz" } else { "text" };
                    place.make(times, "text", "bigint", "double precision").await;
                    place.execute(&format!("ALTER TABLE {TABLE} RENAME TO \"{name}\"")).await;
                }
                for expected in [imported(3, 0, 0, 2), imported(0, 0, 3, 2)] {
                    let done = Source::import(&place.url, name, LIMIT, &rows, |_, _| {}).await.expect("an import");
                    assert_eq!(done, expected, "{name}");
                }
                let source = Source::connect(&place.url, name, LIMIT).await.expect("a table");
                assert_eq!(source.read(|_| {}).await.expect("rows").0, rows, "{name}");
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
    let (series, report) = read_csv(&[path], false, |_| {}).expect("rows");
    assert_eq!(series.fingerprint(), sample(3).fingerprint());
    assert_growth_is_right(&series);
    assert_eq!((report.lines, report.n_bad), (7_708, 0));
}
