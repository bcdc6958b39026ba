//! What is killed, and when: a list that follows from one seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Jobs of [`crate::world`] that people ask for, too.
const WISHED: [&str; 3] = ["often", "skipping", "wished"];

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Daemon,
    Worker,
    Both,
}

/// What its delay counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The blow before, and with it the start of a daemon that this one killed: settings, migrations, jobs, adoption, fires.
    Before,
    /// The sight of a worker: claim, reading, training.
    Worker,
    /// The sight of a version being written: judging, publishing. It hits all workers.
    Staging,
    /// The sight of a version that was not there before: registering, promotion, the run's end. It hits all workers.
    Version,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blow {
    pub(crate) whom: Whom,
    pub(crate) when: When,
    pub(crate) delay: Duration,
    /// Which worker, of however many there are.
    pub(crate) which: usize,
    /// The worker's whole group, or its leader alone.
    pub(crate) group: bool,
    /// Of both, who dies first.
    pub(crate) daemon_first: bool,
    /// A job that a person asks for just before, and its seed.
    pub(crate) wish: Option<(&'static str, u64)>,
}

/// The blows of a seed.
pub(crate) fn blows(seed: u64, n: usize) -> Vec<Blow> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| blow(&mut random)).collect()
}

/// When daemons die that make their database.
pub(crate) fn births(seed: u64, n: usize) -> Vec<Duration> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(1);
    (0..n).map(|_| Duration::from_micros(random.random_range(0..60_000))).collect()
}

fn blow(random: &mut ChaCha8Rng) -> Blow {
    let whom = match random.random_range(0..5) {
        0 | 1 => Whom::Daemon,
        2 | 3 => Whom::Worker,
        _ => Whom::Both,
    };
    let (when, longest) = match random.random_range(0..10) {
        0..3 => (When::Before, 500_000.0),
        3..7 => (When::Worker, 2_000_000.0),
        7 => (When::Staging, 150_000.0),
        _ => (When::Version, 40_000.0),
    };
    // early moments are short ones: half of the blows fall into the first quarter
    let share: f64 = random.random_range(0.0..1.0);
    let delay = Duration::from_micros((longest * share * share) as u64);
    let wish = random.random_bool(0.4).then(|| (WISHED[random.random_range(0..3)], random.random_range(1..4)));
    Blow {
        whom,
        when,
        delay,
        which: random.random_range(0..60),
        group: random.random_bool(0.5),
        daemon_first: random.random_bool(0.5),
        wish,
    }
}

#[test]
fn a_seed_makes_the_same_choices_again() {
    assert_eq!(blows(7, 300), blows(7, 300));
    assert_ne!(blows(7, 300), blows(8, 300));
    let blows = blows(7, 300);
    for whom in [Whom::Daemon, Whom::Worker, Whom::Both] {
        for when in [When::Before, When::Worker, When::Staging, When::Version] {
            assert!(blows.iter().any(|blow| (blow.whom, blow.when) == (whom, when)), "{whom:?} {when:?}");
        }
    }
}
