//! What no file alone can tell: whether the jobs of a directory fit together.

use super::Job;
use crate::document::Problem;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A job that is to start after one that no file is named for.
pub fn misses_another(file: &Path, job: &Job, names: &[String]) -> Option<Problem> {
    let before = &job.triggers.after.as_ref()?.job;
    let message = format!("`[trigger.after] job` names `{before}`, and there is no such job");
    let missing = !names.contains(before);
    missing.then(|| Problem::general(file, message).help(format!("there is: {}", names.join(", "))))
}

/// Problems of jobs that name each other: a job that is not there, a circle. `names` are those of all files, broken ones too.
pub fn check_together(jobs: &[(PathBuf, Job)], names: &[String]) -> Vec<Problem> {
    let upstream: BTreeMap<&str, &str> = jobs
        .iter()
        .filter_map(|(_, job)| Some((job.name.as_str(), job.triggers.after.as_ref()?.job.as_str())))
        .collect();
    let mut problems = Vec::new();
    for (file, job) in jobs {
        let Some(&before) = upstream.get(job.name.as_str()) else { continue };
        if let Some(problem) = misses_another(file, job, names) {
            problems.push(problem);
            continue;
        }
        let mut way = vec![job.name.as_str()];
        let mut at = before;
        while !way.contains(&at) {
            way.push(at);
            let Some(&next) = upstream.get(at) else { break };
            at = next;
        }
        if at == job.name {
            let message = format!("starts after itself: {} → {at}", way.join(" → "));
            problems.push(Problem::general(file, message).help("take one of the `[trigger.after]` away"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(jobs: &[(&str, Option<&str>)], expected: &[&str]) {
        let jobs: Vec<(PathBuf, Job)> = jobs
            .iter()
            .map(|(name, after)| {
                let file = Path::new(name).with_extension("toml");
                let after = after.map_or_else(String::new, |job| format!("[trigger.after]\njob = \"{job}\"\n"));
                let job = Job::parse(&file, &format!("[predict]\n{after}"), &[]).expect("a job");
                (file, job)
            })
            .collect();
        let names: Vec<String> = jobs.iter().map(|(_, job)| job.name.clone()).collect();
        let found: Vec<String> = check_together(&jobs, &names).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        found.iter().zip(expected).for_each(|(found, expected)| assert!(found.contains(expected), "{found}"));
    }

    #[test]
    fn jobs_that_name_each_other_must_fit() {
        check(&[("a", None), ("b", Some("a")), ("c", Some("b"))], &[]);
        check(&[("a", None), ("b", Some("x"))], &["b.toml: `[trigger.after] job` names `x`"]);
        check(&[("a", Some("b")), ("b", Some("a"))], &["starts after itself: a → b → a", "b → a → b"]);
        // outside of the circle it is not one's own fault
        check(&[("a", Some("b")), ("b", Some("a")), ("c", Some("a"))], &["a → b → a", "b → a → b"]);
    }
}
