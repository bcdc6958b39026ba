//! What no file alone can tell: whether the jobs of a directory fit together.

use super::Job;
use crate::document::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml_edit::Document;

/// A job that is to start after one that no file is named for.
fn misses_another(file: &Path, before: &str, names: &[String]) -> Problem {
    let message = format!("`[trigger.after] job` names `{before}`, and there is no such job");
    Problem::general(file, message).help(format!("there is: {}", names.join(", ")))
}

/// A job that starts after itself by way of others. `upstream` says of each job after which one it starts.
fn is_in_a_circle(file: &Path, name: &str, upstream: &BTreeMap<String, String>) -> Option<Problem> {
    let mut way = vec![name];
    let mut at = upstream.get(name)?.as_str();
    while !way.contains(&at) {
        way.push(at);
        at = upstream.get(at)?;
    }
    let message = format!("starts after itself: {} → {at}", way.join(" → "));
    (at == name).then(|| Problem::general(file, message).help("take one of the `[trigger.after]` away"))
}

/// Problems of jobs that name each other: a job that is not there, a circle. Of each file, after which job its job starts;
/// `names` are those of all files.
pub fn check_together(after: &[(PathBuf, String)], names: &[String]) -> Vec<Problem> {
    let upstream = after.iter().map(|(file, before)| (super::stem(file), before.clone())).collect();
    let known: BTreeSet<&String> = names.iter().collect();
    let found = |(file, before): &(PathBuf, String)| {
        if known.contains(before) {
            is_in_a_circle(file, &super::stem(file), &upstream)
        } else {
            Some(misses_another(file, before, names))
        }
    };
    after.iter().filter_map(found).collect()
}

/// After which job that of a file starts, also where other things are wrong with the file.
pub fn starts_after(file: &Path, read: &Result<Job, Vec<Problem>>) -> Option<String> {
    if let Ok(job) = read {
        return job.triggers.after.as_ref().map(|after| after.job.clone());
    }
    let document = Document::parse(super::text_of(file).ok()?).ok()?;
    Some(document.get("trigger")?.get("after")?.get("job")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(jobs: &[(&str, Option<&str>)], expected: &[&str]) {
        let names: Vec<String> = jobs.iter().map(|(name, _)| (*name).to_owned()).collect();
        let file = |name: &str| Path::new(name).with_extension("toml");
        let after = jobs.iter().filter_map(|(name, before)| Some((file(name), (*before)?.to_owned())));
        let found: Vec<String> =
            check_together(&after.collect::<Vec<_>>(), &names).iter().map(ToString::to_string).collect();
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
