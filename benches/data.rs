//! Reading, importing, hashing, windowing: `cargo bench --bench data`.

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, reason = "a bench needs less of it than the tests")]
mod postgres;

use divan::Bencher;
use divan::counter::ItemsCount;
use retraind::data::{Series, Source, Target, read_csv, sample, write_csv};
use retraind::grid::{Grid, Settings};
use retraind::recipe::{Options, Recipe};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const TABLE: &str = "video_stats_processed";
const LIMIT: Duration = Duration::from_mins(10);
/// Copies of the sample's 7,708 rows, under ids of their own: 104,829 rows in 39 to 42 videos.
const COPIES: u64 = 14;

fn main() {
    divan::main();
}

/// Rows for every bench, in a file.
struct Rows {
    series: Series,
    csv: PathBuf,
    directory: TempDir,
}

impl Rows {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut text = String::new();
        for seed in 0..COPIES {
            let part = directory.path().join("part.csv");
            write_csv(&part, &sample(seed)).expect("a file");
            let part = std::fs::read_to_string(&part).expect("text").replace("smpl-", &format!("smpl{seed}-"));
            let from = if seed == 0 { 0 } else { part.find('\n').expect("a header") + 1 };
            text.push_str(&part[from..]);
        }
        let csv = directory.path().join("rows.csv");
        std::fs::write(&csv, text).expect("a file");
        let series = read_csv(std::slice::from_ref(&csv), false, |_| {}).expect("rows").0;
        Self { series, csv, directory }
    }

    fn count(&self) -> ItemsCount {
        ItemsCount::new(self.series.len())
    }

    fn sqlite(&self) -> String {
        format!("sqlite:{}", self.directory.path().join("data.db").display())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

async fn import(url: &str, series: &Series) {
    Source::import(url, TABLE, LIMIT, series, |_, _| {}).await.expect("an import");
}

fn read(bencher: Bencher<'_, '_>, url: &str, rows: &Rows) {
    let runtime = runtime();
    runtime.block_on(import(url, &rows.series));
    bencher.counter(rows.count()).bench_local(|| {
        runtime.block_on(async {
            let source = Source::connect(url, TABLE, LIMIT).await.expect("a table");
            source.read(|_| {}).await.expect("rows").0.len()
        })
    });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn read_postgres(bencher: Bencher<'_, '_>) {
    read(bencher, &postgres::Cluster::shared().url("bench"), &Rows::new());
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn read_sqlite(bencher: Bencher<'_, '_>) {
    let rows = Rows::new();
    read(bencher, &rows.sqlite(), &rows);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn read_csv_file(bencher: Bencher<'_, '_>) {
    let rows = Rows::new();
    let files = [rows.csv.clone()];
    bencher.counter(rows.count()).bench_local(|| read_csv(&files, false, |_| {}).expect("rows").0.len());
}

/// Into a new file each time: from the CSV file's first byte to the commit.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn import_sqlite(bencher: Bencher<'_, '_>) {
    let (rows, runtime) = (Rows::new(), runtime());
    let files = [rows.csv.clone()];
    bencher.counter(rows.count()).with_inputs(|| tempfile::tempdir().expect("a directory")).bench_local_refs(
        |directory| {
            let (series, _) = read_csv(&files, false, |_| {}).expect("rows");
            runtime.block_on(import(&format!("sqlite:{}", directory.path().join("data.db").display()), &series));
        },
    );
}

/// Into a new database each time.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn import_postgres(bencher: Bencher<'_, '_>) {
    let (rows, runtime) = (Rows::new(), runtime());
    let files = [rows.csv.clone()];
    let database = || postgres::Cluster::shared().url("bench");
    bencher.counter(rows.count()).with_inputs(database).bench_local_refs(|url| {
        let (series, _) = read_csv(&files, false, |_| {}).expect("rows");
        runtime.block_on(import(url, &series));
    });
}

#[divan::bench(sample_count = 10)]
fn hash(bencher: Bencher<'_, '_>) {
    let rows = Rows::new();
    bencher.counter(rows.count()).bench_local(|| rows.series.fingerprint());
}

/// Scaling and cutting: rows to windows.
#[divan::bench(sample_count = 10)]
fn windowing(bencher: Bencher<'_, '_>) {
    let rows = Rows::new();
    bencher.counter(rows.count()).with_inputs(|| rows.series.clone()).bench_local_values(|series| {
        Recipe::Level.prepare(series, &Settings::of(Grid::AsRecorded), &Options::default()).expect("windows")
    });
}

/// Copying windows into batches of 32, in order.
#[divan::bench(sample_count = 10)]
fn batches(bencher: Bencher<'_, '_>) {
    let prepared = Recipe::Level
        .prepare(Rows::new().series, &Settings::of(Grid::AsRecorded), &Options::default())
        .expect("windows");
    let windows = prepared.train(Target::Views);
    let mut batch = Vec::new();
    bencher.counter(ItemsCount::new(windows.len())).bench_local(|| {
        for begin in (0..windows.len()).step_by(32) {
            batch.clear();
            (begin..(begin + 32).min(windows.len())).for_each(|index| windows.copy_to(index, &mut batch));
        }
        batch.len()
    });
}
