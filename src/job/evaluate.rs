//! Kind `evaluate`: score the versions in service on the newest rows.

use super::retrain::all_targets;
use super::spec::positive;
use crate::data::Target;
use crate::document::Flaw;
use serde::{Deserialize, Serialize};

/// `[evaluate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// Whose versions in service are scored. Default: all three.
    #[serde(default = "all_targets")]
    pub targets: Vec<Target>,
    /// Newest rows of each video that forecasts are made for; 1 to 1000000. Default: 1440, a day of minutes.
    #[serde(default = "rows", deserialize_with = "positive::<_, 1_000_000>")]
    pub rows_per_video: u32,
}

fn rows() -> u32 {
    1_440
}

impl Evaluate {
    pub(super) fn check(&self) -> Vec<Flaw> {
        super::retrain::check_targets(&self.targets)
    }
}

#[cfg(test)]
mod tests {
    use crate::job::{Job, Kind};
    use std::path::Path;

    #[test]
    fn a_day_of_all_targets_is_the_default() {
        let job = Job::parse(Path::new("e.toml"), "[evaluate]\n", &[]).expect("a job");
        let Kind::Evaluate(evaluate) = job.kind else { panic!("an evaluation") };
        assert_eq!((evaluate.targets.len(), evaluate.rows_per_video), (3, 1_440));
    }
}
