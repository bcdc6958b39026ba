//! What no file alone can tell: whether the jobs of a directory fit together.

use super::Job;
use crate::document::Problem;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Problems of jobs that name each other: a job that is not there, a circle.
pub fn check_together(jobs: &[(PathBuf, Job)]) -> Vec<Problem> {
    let upstream: BTreeMap<&str, &str> = jobs
        .iter()
        .filter_map(|(_, job)| Some((job.name.as_str(), job.triggers.after.as_ref()?.job.as_str())))
        .collect();
    let mut problems = Vec::new();
    for (file, job) in jobs {
        let Some(&before) = upstream.get(job.name.as_str()) else { continue };
        if !jobs.iter().any(|(_, other)| other.name == before) {
            let message = format!("`[trigger.after] job` names `{before}`, and there is no such job");
            let names: Vec<&str> = jobs.iter().map(|(_, other)| other.name.as_str()).collect();
            problems.push(Problem::general(file, message).help(format!("there is: {}", names.join(", "))));
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
    use std::path::Path;

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
        let found: Vec<String> = check_together(&jobs).iter().map(ToString::to_string).collect();
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
