//! All that the state database says when the blows are over, and what undisturbed runs of the same jobs make.

use crate::place::Place;
use crate::small::{self, Made};
use retraind::job::Job;
use retraind::store::{Attempt, Epoch, Promotion, Run, RunTarget, Store, Version};
use std::collections::BTreeMap;
use std::path::Path;

/// The whole of it.
pub(crate) struct State {
    pub(crate) runs: BTreeMap<i64, Whole>,
    pub(crate) versions: Vec<Version>,
    /// Newest first.
    pub(crate) promotions: Vec<Promotion>,
}

/// A run with all that belongs to it.
pub(crate) struct Whole {
    pub(crate) run: Run,
    pub(crate) job: Job,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) targets: Vec<RunTarget>,
    /// By target.
    pub(crate) epochs: BTreeMap<String, Vec<Epoch>>,
}

impl State {
    pub(crate) async fn read(place: &Place) -> Self {
        let url = format!("sqlite://{}", place.path("retraind.db").display());
        let store = Store::open(&url).await.expect("opened");
        let mut runs = BTreeMap::new();
        for run in store.runs(None, 1_000_000).await.expect("read") {
            let job = Job::parse(&Path::new(&run.job).with_extension("toml"), &run.job_toml, &[]);
            let job = job.unwrap_or_else(|problems| panic!("run {}: {}", run.id, problems[0]));
            let targets = store.targets(run.id).await.expect("read");
            let mut epochs = BTreeMap::new();
            for target in &targets {
                epochs.insert(target.target.clone(), store.epochs(run.id, &target.target).await.expect("read"));
            }
            let attempts = store.attempts(run.id).await.expect("read");
            runs.insert(run.id, Whole { run, job, attempts, targets, epochs });
        }
        let versions = store.versions(None).await.expect("read");
        let promotions = store.promotions(None).await.expect("read");
        store.close().await;
        Self { runs, versions, promotions }
    }

    /// How many runs ended in each state.
    pub(crate) fn states(&self) -> BTreeMap<&'static str, usize> {
        let mut states = BTreeMap::new();
        for whole in self.runs.values() {
            *states.entry(whole.run.state.as_str()).or_default() += 1;
        }
        states
    }
}

/// What each job file that made a version makes of each target when nobody disturbs it, in a directory of its own.
pub(crate) fn undisturbed(state: &State) -> BTreeMap<String, BTreeMap<String, Made>> {
    let place = Place::new();
    small::import(&place);
    let mut made = BTreeMap::new();
    for version in &state.versions {
        let Some(Whole { run, .. }) = version.run_id.and_then(|id| state.runs.get(&id)) else { continue };
        made.entry(run.job_toml.clone()).or_insert_with(|| {
            place.job(&run.job, &run.job_toml);
            let report = place.json(&["run", &run.job, "--json"], 0);
            let targets = report["targets"].as_array().expect("a list").iter();
            targets
                .map(|one| {
                    let [target, version] = ["target", "version"].map(|key| one[key].as_str().expect("text"));
                    (target.to_owned(), Made::read(&place.path(&format!("models/{target}/{version}"))))
                })
                .collect()
        });
    }
    made
}
