//! One read of a table as a retrain does it: rows, their hash, windows ready to train; then one epoch over all windows.
//! Prints JSON. `make bench-data` runs it beside others; a process of its own, since it measures memory.
//!
//! Arguments: address, table.

use rand::SeedableRng;
use retraind::data::{Source, Target};
use retraind::grid::{Grid, Settings};
use retraind::recipe::{Options, Recipe};
use std::time::{Duration, Instant};

/// Windows of a batch.
const BATCH: usize = 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [url, table] = arguments.as_slice() else {
        // `cargo bench` starts every bench.
        eprintln!("usage: read URL TABLE");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let resting = peak_memory();
    let seconds = |since: Instant| since.elapsed().as_secs_f64();
    let began = Instant::now();
    let (series, report) = runtime.block_on(async {
        let source = Source::connect(url, table, Duration::from_hours(1)).await.expect("the table");
        source.read(|_| {}).await.expect("rows")
    });
    let read_seconds = seconds(began);
    let hashing = Instant::now();
    let version = series.fingerprint();
    let hash_seconds = seconds(hashing);
    let preparing = Instant::now();
    let (rows, videos) = (series.len(), series.videos.len());
    let prepared =
        Recipe::Level.prepare(series, &Settings::of(Grid::AsRecorded), &Options::default()).expect("windows");
    let (prepare_seconds, ready_seconds) = (seconds(preparing), seconds(began));
    let peak = peak_memory();

    let epoch = Instant::now();
    let windows = prepared.train(Target::Views);
    let mut order: Vec<u32> = (0..windows.len() as u32).collect();
    let mut random = rand_chacha::ChaCha8Rng::from_seed([7; 32]);
    rand::seq::SliceRandom::shuffle(order.as_mut_slice(), &mut random);
    let (mut batch, mut sum) = (Vec::new(), 0.0);
    for indices in order.chunks(BATCH) {
        batch.clear();
        indices.iter().for_each(|&index| windows.copy_to(index as usize, &mut batch));
        sum += f64::from(batch[0]);
    }
    println!(
        "{}",
        serde_json::json!({
            "rows": rows, "rows_read": report.rows_read, "videos": videos, "sha256": version.sha256,
            "windows": windows.len() + prepared.validation(Target::Views).len(),
            "read_seconds": read_seconds, "hash_seconds": hash_seconds, "prepare_seconds": prepare_seconds,
            "ready_seconds": ready_seconds, "epoch_seconds": seconds(epoch), "first_values_sum": sum,
            "resting_bytes": resting, "peak_bytes": peak, "peak_bytes_with_epoch": peak_memory(),
            // Eight bytes a value: a time, three counts, three growth rates.
            "column_bytes": rows * 7 * 8,
        })
    );
}

/// The most memory this process has had at once. Unit: bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
