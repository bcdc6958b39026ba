//! kill -9 of a daemon and its workers, again and again, at random moments; then the registry is compared with what
//! undisturbed runs of the same jobs make.
//!
//! The choices follow from a seed, which is printed; the moments that they hit are the machine's. `CRASH_SEED=7` makes them
//! again, `CRASH_KILLS=1000` makes more of them.

#[path = "../daemon/place.rs"]
mod place;
mod plan;
mod processes;
mod small;
mod state;
mod verdict;
mod world;

use place::Place;
use state::State;
use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};
use verdict::Problems;
use world::World;

/// One blow in so many falls on a daemon that makes its database, and after one in so many the champions are loaded.
const BIRTHS: usize = 20;
const LOOKS: usize = 20;
/// From so many blows on, some run of the job with few attempts must have used them up.
const MANY: usize = 100;

#[test]
#[ignore = "takes minutes: `make test-crash`"]
fn killed_at_random_moments_it_ends_as_if_nothing_had_been() {
    let began = Instant::now();
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let kills = number("CRASH_KILLS").unwrap_or(200) as usize;
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");

    let births = plan::births(seed, kills / BIRTHS);
    births.iter().for_each(|delay| is_born_again(*delay));
    let mut world = World::new();
    for (k, blow) in plan::blows(seed, kills - births.len()).iter().enumerate() {
        world.strike(blow, k % LOOKS == LOOKS - 1);
    }
    let struck = began.elapsed();
    world.drain();

    let place = &world.place;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let state = runtime.block_on(State::read(place));
    let undisturbed = state::undisturbed(&state);
    let mut problems = Problems::default();
    verdict::check_runs(&state, &mut problems);
    verdict::check_registry(place, &state, &mut problems);
    verdict::check_leavings(place, &state, &mut problems);
    verdict::compare(place, &state, &mut problems, |whole, target| &undisturbed[&whole.run.job_toml][target]);

    let (states, attempts) = (state.states(), state.runs.values().map(|whole| whole.run.attempt).sum::<i64>());
    println!(
        "{kills} blows (at birth {}, {:?}) in {:.0} s; runs {states:?} in {attempts} attempts; {}; {} versions compared \
         with those of {} undisturbed runs; {:.0} s in all",
        births.len(),
        world.struck,
        struck.as_secs_f64(),
        verdict::moments(place, &state),
        state.versions.len(),
        undisturbed.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(problems.0.is_empty(), "{} problem(s):\n{}", problems.0.len(), problems.0.join("\n"));
    assert!(kills < MANY || states.contains_key("failed"), "no run used up its attempts: {states:?}");
}

/// A daemon dies while it makes its database, and the next one works on it.
fn is_born_again(delay: Duration) {
    let place = Place::new();
    place.job("nothing", "[exec]\ncommand = [\"true\"]\n");
    let daemon = place.start(&[]);
    sleep(delay);
    daemon.kill();
    let daemon = place.daemon();
    assert_eq!(place.json(&["trigger", "nothing", "--wait", "--json"], 0)["state"], "succeeded");
    daemon.stop();
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not `{text}`")))
}
