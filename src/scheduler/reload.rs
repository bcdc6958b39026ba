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
                // of a file that is broken nothing is in force
                after = job.is_ok().then(|| job::starts_after(&file, &job)).flatten();
                read.push((file.clone(), job));
            }
        }
        loaded.known.0.insert(file, (print, after));
    }
    let after: Vec<(PathBuf, String)> =
        loaded.known.0.iter().filter_map(|(file, (_, after))| Some((file.clone(), after.clone()?))).collect();
    let together = job::check_together(&after, &loaded.names);
    for (file, mut job) in read {
        if let Some(problem) = together.iter().find(|problem| problem.file == file) {
            job = Err(vec![problem.clone()]);
            // read again with whatever changes next: the files that it has to do with may change
            if let Some(known) = loaded.known.0.get_mut(&file) {
                known.0 = Print::default();
            }
        }
        loaded.changed.push((job::stem(&file), job));
    }
    loaded
}
