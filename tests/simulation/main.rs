//! The scheduler's decisions under a virtual clock: thousands of weeks of due times, crashes between any two steps, clocks that
//! jump, files that are edited, runs that fail, hang and take their time, jobs that are paused, models that become worse.
//!
//! A seed makes the whole story; one that fails is printed and replays:
//!
//! ```text
//! RETRAIND_SIMULATION_SEED=42 cargo test --test simulation
//! ```

mod world;

use std::sync::Mutex;
use std::thread;
use world::World;

/// Stories a test run tells, and weeks in each.
const STORIES: u64 = 20;
const WEEKS: u32 = 100;

#[test]
fn whatever_happens_the_invariants_hold() {
    let one = std::env::var("RETRAIND_SIMULATION_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let first = std::env::var("RETRAIND_SIMULATION_FIRST").map_or(1, |seed| seed.parse::<u64>().expect("a number"));
    let stories = std::env::var("RETRAIND_SIMULATION_STORIES").map_or(STORIES, |n| n.parse().expect("a number"));
    let seeds = Mutex::new(one.map_or(first..first + stories, |seed| seed..seed + 1));
    let told = Mutex::new(world::Told::default());
    let tell = || {
        loop {
            let Some(seed) = seeds.lock().expect("seeds").next() else { return };
            match std::panic::catch_unwind(|| World::new(seed).live(WEEKS)) {
                Ok(more) => told.lock().expect("told").add(&more),
                Err(panic) => {
                    eprintln!("the story of seed {seed} went wrong: RETRAIND_SIMULATION_SEED={seed} tells it again");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(tell);
        }
    });
    let told = told.into_inner().expect("told");
    println!("{told:?}");
    // a story in which nothing happens proves nothing
    if one.is_none() {
        assert!(told.runs > 1_000 && told.crashes > 500 && told.publications > 500, "{told:?}");
        assert!(told.paused > 20 && told.degraded > 50, "{told:?}");
        let spared: Vec<_> = world::points().filter(|point| !told.points.contains_key(point)).collect();
        assert!(spared.is_empty(), "the scheduler never died at {spared:?}: {told:?}");
        assert!(told.adopted > 50 && told.requeued > 200 && told.timed_out > 10 && told.skipped > 50, "{told:?}");
    }
}
