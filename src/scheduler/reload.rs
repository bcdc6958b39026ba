//! Job files → what changed since they were read last.

use crate::document::Problem;
use crate::job::{self, Job};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another without reading it: editors that replace files change the inode.
type Print = (u64, u64, i64, i64, i64, i64);

/// The files as they were read last, and after which job each job starts.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(BTreeMap<PathBuf, (Print, Option<String>)>);

/// What is different now.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The files as they are now.
    pub(super) known: Known,
    /// Jobs whose files are new or changed, by name: whole, or what is wrong.
    pub(super) changed: Vec<(String, Result<Job, Vec<Problem>>)>,
    /// All names that files have now.
    pub(super) names: Vec<String>,
    /// The directory itself cannot be read: nothing is known of any file.
    pub(super) unreadable: Option<Problem>,
    /// Whether it was asked for by SIGHUP.
    pub(super) asked: bool,
}

/// Reads what is new or changed in `dir` since `known`. Takes as long as reading takes: not for the loop's thread.
pub(super) fn load(dir: &Path, known: &Known, asked: bool) -> Loaded {
    let files = match job::files(dir) {
        Ok(files) => files,
        Err(problem) => return Loaded { known: known.clone(), unreadable: Some(problem), asked, ..Loaded::default() },
    };
    let names = files.iter().map(|file| job::stem(file)).collect();
    let mut loaded = Loaded { names, asked, ..Loaded::default() };
    let mut read = Vec::new();
    for file in files {
        // gone between two looks, or a link to nowhere: the next look or the reading says so
        let print = fs::metadata(&file)
            .map(|m| (m.dev(), m.ino(), m.size() as i64, m.mtime(), m.mtime_nsec(), m.ctime_nsec() ^ m.ctime()))
            .unwrap_or_default();
        let mut after = None;
        match known.0.get(&file) {
            Some(known) if !asked && known.0 == print => after.clone_from(&known.1),
            _ => {
                let job = Job::read(&file, &[]);
                let before = |job: &Job| job.triggers.after.as_ref().map(|after| after.job.clone());
                after = job.as_ref().ok().and_then(before);
                read.push((file.clone(), job));
            }
        }
        loaded.known.0.insert(file, (print, after));
    }
    let upstream: BTreeMap<String, String> =
        loaded.known.0.iter().filter_map(|(file, (_, after))| Some((job::stem(file), after.clone()?))).collect();
    for (file, mut job) in read {
        let name = job::stem(&file);
        let before = upstream.get(&name);
        let problem = before.and_then(|before| {
            job::misses_another(&file, before, &loaded.names).or_else(|| job::is_in_a_circle(&file, &name, &upstream))
        });
        if let Some(problem) = problem {
            job = Err(vec![problem]);
            // read again with whatever changes next: the files that it has to do with may change
            if let Some(known) = loaded.known.0.get_mut(&file) {
                known.0 = Print::default();
            }
        }
        loaded.changed.push((name, job));
    }
    loaded
}
