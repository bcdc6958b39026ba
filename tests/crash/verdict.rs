//! What must hold when all is quiet: every run ended as its policy says, registry and state database agree, and each version
//! is the one that an undisturbed run makes. Whatever does not hold is told, not only the first of it.

use crate::place::Place;
use crate::small::Made;
use crate::state::{State, Whole};
use crate::world::{is_left_over, names};
use retraind::data::Target;
use retraind::job::Kind;
use retraind::registry::{self, Registry};
use retraind::store::{Attempt, Ending, Epoch, Promotion, PromotionState, Run, RunState, TargetState, Version};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// What does not hold, a sentence each.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, say: impl FnOnce() -> String) {
        if !holds {
            self.0.push(say());
        }
    }
}

/// Run keys and due instants are used once; every run has ended, in the state that its policy says, with every attempt
/// accounted for.
pub(crate) fn check_runs(state: &State, problems: &mut Problems) {
    let runs = || state.runs.values().map(|whole| &whole.run);
    let keys: BTreeSet<&str> = runs().map(|run| run.run_key.as_str()).collect();
    problems.unless(keys.len() == runs().count(), || "a run key was used twice".to_owned());
    let due = runs().filter_map(|run| Some((run.job.as_str(), run.scheduled_for?)));
    let distinct: BTreeSet<_> = due.clone().collect();
    problems.unless(distinct.len() == due.count(), || "a due instant was used twice".to_owned());
    for whole in state.runs.values() {
        if let Err(problem) = check_run(whole) {
            let Whole { run, attempts, targets, .. } = whole;
            let error = run.error.as_deref().unwrap_or_default();
            problems.0.push(format!("{}: {problem}: {error}; attempts {attempts:?}, targets {targets:?}", name(run)));
        }
    }
}

fn check_run(Whole { run, job, attempts, targets, .. }: &Whole) -> Result<(), &'static str> {
    let cut_short: Vec<&Attempt> = attempts.iter().filter(|one| one.attempt < run.attempt).collect();
    if !cut_short.iter().map(|one| one.attempt).eq(1..run.attempt) {
        return Err("nobody knows how each attempt before the last one ended");
    }
    let n_failures = cut_short.iter().filter(|one| matches!(one.ending, Ending::Died | Ending::Transient)).count();
    let counted = (run.n_failures as usize, run.n_interruptions as usize);
    if counted != (n_failures, cut_short.len() - n_failures) {
        return Err("failures and interruptions are not those of its attempts");
    }
    if targets.iter().any(|target| target.state == TargetState::Running) {
        return Err("a target did not end with its run");
    }
    let error = run.error.as_deref().unwrap_or_default();
    match run.state {
        RunState::Succeeded => {
            let wanted = match &job.kind {
                Kind::Retrain(settings) => settings.targets.iter().map(ToString::to_string).collect(),
                _ => BTreeSet::new(),
            };
            let done = targets.iter().filter(|one| one.state == TargetState::Succeeded && one.version.is_some());
            let done: BTreeSet<String> = done.map(|one| one.target.clone()).collect();
            if done == wanted { Ok(()) } else { Err("it succeeded without all of its versions") }
        }
        RunState::Failed => {
            let failed = counted.0 + 1 == job.policy.attempts as usize && error.contains("(attempt ");
            let interrupted = counted.1 == job.policy.interruptions as usize && error.contains("(interruption ");
            if failed || interrupted { Ok(()) } else { Err("its policy allows another attempt") }
        }
        RunState::Cancelled => {
            let refused = run.cause == "person" && run.attempt == 0 && error.starts_with("not started: ");
            if refused { Ok(()) } else { Err("nobody cancelled it") }
        }
        _ => Err("that is no end"),
    }
}

/// Versions, champions and promotions are the same in the registry and in the state database.
pub(crate) fn check_registry(place: &Place, state: &State, problems: &mut Problems) {
    let models = place.json(&["models", "--json"], 0);
    let models = models.as_array().expect("a list");
    problems.unless(models.iter().all(|one| one["damaged"].is_null()), || format!("damaged versions: {models:#?}"));
    for target in Target::ALL {
        check_versions(place, state, target, problems);
        let name = target.to_string();
        let champions = models.iter().filter(|one| one["target"] == name.as_str() && one["champion"] == true);
        let champions: Vec<&str> = champions.filter_map(|one| one["version"].as_str()).collect();
        let done = |one: &&Promotion| one.target == name && one.state == PromotionState::Done;
        let last = state.promotions.iter().find(done).map(|one| one.version.as_str());
        let same = champions.len() == 1 && champions.first().copied() == last;
        problems.unless(same, || format!("{name}: {champions:?} in service, and {last:?} promoted last"));
        let pending = state.promotions.iter().any(|one| one.target == name && one.state == PromotionState::Pending);
        problems.unless(!pending, || format!("{name}: a promotion was left in the middle"));
        let left = names(&place.path(&format!("models/{name}")));
        let left: Vec<&String> = left.iter().filter(|name| is_left_over(name)).collect();
        problems.unless(left.is_empty(), || format!("{name}: left over: {left:?}"));
    }
    let findings = place.json(&["doctor", "--json"], 0);
    let ill = findings.as_array().expect("a list").iter().find(|one| one["state"] == "missing");
    problems.unless(ill.is_none(), || format!("doctor says {ill:?}"));
}

fn check_versions(place: &Place, state: &State, target: Target, problems: &mut Problems) {
    let registry = Registry::at(&place.path("models"));
    let rows = state.versions.iter().filter(|row| row.target == target.to_string());
    let rows: BTreeMap<registry::Version, &Version> =
        rows.map(|row| (row.version.parse().expect("a version"), row)).collect();
    let (found, known) = (registry.versions(target).expect("read"), rows.keys().copied().collect::<Vec<_>>());
    problems.unless(found == known, || format!("{target}: {found:?} in the registry, {known:?} in the state database"));
    for (version, row) in rows.iter().filter(|(version, _)| found.contains(version)) {
        let sha256 = registry.metadata_sha256(target, *version).expect("read");
        problems.unless(sha256 == row.metadata_sha256, || format!("{target} {version}: not what was registered"));
        let metadata = registry.metadata(target, *version).expect("read");
        let run = row.run_id.and_then(|id| state.runs.get(&id)).map(|whole| &whole.run);
        let its_own = run.is_some_and(|run| run.id == metadata.run_id && metadata.attempt <= run.attempt);
        problems.unless(its_own, || {
            let run = run.map(name).unwrap_or_default();
            format!("{target} {version} says run {}, attempt {}, and is of {run}", metadata.run_id, metadata.attempt)
        });
    }
    for whole in state.runs.values().filter(|whole| whole.run.state == RunState::Succeeded) {
        for row in whole.targets.iter().filter(|row| row.target == target.to_string()) {
            let version = row.version.as_deref().unwrap_or_default();
            let registered = rows.values().find(|one| one.version == version).and_then(|one| one.run_id);
            problems
                .unless(registered == Some(whole.run.id), || format!("{row:?} is registered for run {registered:?}"));
            let served = |one: &&Promotion| one.target == row.target && one.version == version;
            let ends: Vec<PromotionState> = state.promotions.iter().filter(served).map(|one| one.state).collect();
            problems.unless(ends.contains(&PromotionState::Done), || {
                format!("run {}: {target} {version} passed, and its promotions were {ends:?}", whole.run.id)
            });
        }
    }
}

/// Runs leave their logs and nothing else, and no program beside another one of the same job.
pub(crate) fn check_leavings(place: &Place, state: &State, problems: &mut Problems) {
    for id in state.runs.keys() {
        let entries = fs::read_dir(place.path(&format!("runs/{id}"))).into_iter().flatten().flatten();
        let left: Vec<_> = entries.map(|entry| entry.file_name()).filter(|name| name != "worker.log").collect();
        problems.unless(left.is_empty(), || format!("run {id} left {left:?}"));
    }
    problems
        .unless(!place.path("twice").exists(), || "a program ran beside what was left of another attempt".to_owned());
    for (log, text) in logs(place, state) {
        let defect = text.lines().find(|line| line.contains("panicked") || line.contains("defect of retraind"));
        problems.unless(defect.is_none(), || format!("{}: {defect:?}", log.display()));
    }
}

/// How often that came about which only a kill at the right moment brings about.
pub(crate) fn moments(place: &Place, state: &State) -> String {
    let logs = logs(place, state);
    // daemons repeat what their workers say, with the run's number
    let said = |what: &str, by_worker: bool| {
        let own = |line: &&str| line.contains(what) && (by_worker || !line.contains(" run_id="));
        let logs = logs.iter().filter(|(path, _)| path.ends_with("worker.log") == by_worker);
        logs.map(|(_, text)| text.lines().filter(own).count()).sum::<usize>()
    };
    let by_anybody = |what: &str| said(what, false) + said(what, true);
    let distinct: BTreeSet<_> = state.versions.iter().map(|row| (&row.target, row.run_id)).collect();
    let abandoned = state.promotions.iter().filter(|one| one.state == PromotionState::Abandoned).count();
    format!(
        "{} trainings went on, {} targets were found done, {} versions were made again, {} registered later, {} set aside, \
         {abandoned} promotions abandoned",
        said(": goes on after ", true),
        said(" from an earlier attempt", true),
        state.versions.len() - distinct.len(),
        by_anybody("registered a version that a crash had left out"),
        by_anybody("an attempt that was given up had published it"),
    )
}

/// What daemons and workers said, and where.
fn logs(place: &Place, state: &State) -> Vec<(PathBuf, String)> {
    let daemons = fs::read_dir(place.path(".")).expect("read").flatten().map(|entry| entry.path());
    let daemons = daemons.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let workers = state.runs.keys().map(|id| place.path(&format!("runs/{id}/worker.log")));
    let logs = daemons.chain(workers).filter(|path| path.exists());
    logs.map(|path| (path.clone(), fs::read_to_string(path).expect("read"))).collect()
}

/// Every version is what an undisturbed run of the same job makes, those of runs that failed afterwards included; and every
/// epoch of it was written down.
pub(crate) fn compare<'a>(
    place: &Place,
    state: &State,
    problems: &mut Problems,
    mut undisturbed: impl FnMut(&Whole, &str) -> &'a Made,
) {
    for version in &state.versions {
        let Some(whole) = version.run_id.and_then(|id| state.runs.get(&id)) else { continue };
        let Version { target, version, .. } = version;
        let expected = undisturbed(whole, target);
        let made = Made::read(&place.path(&format!("models/{target}/{version}")));
        let difference = expected.difference(&made);
        problems.unless(difference.is_none(), || format!("{target} {version} of {}: {difference:?}", name(&whole.run)));
        check_epochs(whole, target, expected, problems);
    }
}

fn check_epochs(whole: &Whole, target: &str, made: &Made, problems: &mut Problems) {
    let (id, rows) = (whole.run.id, &whole.epochs[target]);
    let differs = |row: &&Epoch| {
        let expected = &made.epochs[row.epoch as usize - 1];
        !is_near(&expected["loss"], row.loss) || !is_near(&expected["val_loss"], row.val_loss)
    };
    let first = rows.iter().find(differs);
    problems.unless(first.is_none(), || {
        format!("run {id}, {target}: not what an undisturbed training measures: {first:?}")
    });
    if whole.run.state == RunState::Succeeded {
        let written: BTreeSet<usize> = rows.iter().map(|row| row.epoch as usize).collect();
        let lost: Vec<usize> = (1..=made.epochs.len()).filter(|epoch| !written.contains(epoch)).collect();
        problems
            .unless(lost.is_empty(), || format!("run {id}, {target}: epochs {lost:?} are not in the state database"));
    }
}

/// Equal but for the last bit, which a reader of JSON may round in another way.
fn is_near(expected: &Value, found: f64) -> bool {
    expected.as_f64().is_some_and(|expected| (expected - found).abs() <= 1e-15 * expected.abs())
}

/// Which run, in words.
fn name(run: &Run) -> String {
    format!("run {} ({}, {} after attempt {})", run.id, run.run_key, run.state, run.attempt)
}
