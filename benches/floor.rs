//! The `gemm` crate's rate, with which the floor of an epoch is reckoned.
//!
//! `cargo bench --bench floor -- THREADS SECONDS`: every thread multiplies matrices of its own for so long. Prints one JSON
//! object: the GFLOP/s of all threads together, of the shape that is fastest.

#[allow(dead_code)]
#[path = "../src/model/gemm.rs"]
mod product;

use product::{View, multiply};
use std::time::{Duration, Instant};

/// `[m, k] · [k, n]`: products of a step for 16 windows, a weight's gradient, and a large one.
const SHAPES: [[usize; 3]; 4] = [[16, 50, 200], [16, 200, 50], [50, 320, 200], [512, 512, 512]];

fn main() {
    // cargo adds a flag of its own
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let threads = numbers.first().map_or(1, |&threads| threads as usize);
    let seconds = Duration::from_secs_f64(numbers.get(1).copied().unwrap_or(1.0));
    let rates = SHAPES.map(|shape| rate(shape, threads, seconds / SHAPES.len() as u32));
    let (best, shape) = rates.into_iter().zip(SHAPES).max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are shapes");
    println!("{}", serde_json::json!({ "threads": threads, "gflops": best, "shape": shape }));
}

/// GFLOP/s of all threads together.
fn rate(shape: [usize; 3], threads: usize, time: Duration) -> f64 {
    let one = || {
        let [m, k, n] = shape;
        let (a, b, mut c) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0.0f32; m * n]);
        let (began, mut products) = (Instant::now(), 0);
        while began.elapsed() < time {
            // a look at the clock costs nothing beside so many
            for _ in 0..(1_000_000 / (m * k * n)).max(1) {
                multiply(&mut c, View::new(&a, m, k), View::new(&b, k, n), false);
                products += 1;
            }
        }
        (2 * m * k * n * products) as f64 / began.elapsed().as_secs_f64() / 1e9
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(one)).collect();
        let ours = one();
        ours + helpers.into_iter().map(|helper| helper.join().expect("a rate")).sum::<f64>()
    })
}
