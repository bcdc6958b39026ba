//! The job files on their way into force: watched, read elsewhere, compared with what was known, written down.

use super::core::{Event, Notice};
use super::reload::{self, Known, Loaded};
use super::wake::{self, Wake};
use super::{Error, LONGEST, QUIET, Scheduler, TICK, look, now, status};
use crate::alert;
use crate::store::JobRow;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// The directory of job files.
pub(super) struct Files {
    pub(super) known: Known,
    pub(super) watcher: Option<notify::RecommendedWatcher>,
    /// When it will have been quiet long enough.
    pub(super) read_at: Option<Instant>,
    /// When the first change came that nobody has read.
    changed_at: Option<Instant>,
    pub(super) reading: bool,
    /// SIGHUP asked for all files, and systemd waits for the answer.
    pub(super) asked: bool,
    /// Jobs without a file, and that was written down.
    pub(super) removed: BTreeSet<String>,
    /// It cannot be read, and that was said.
    pub(super) unreadable: bool,
    pub(super) last_scan: Instant,
}

impl Files {
    /// To be read at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: Known::default(),
            watcher: None,
            read_at: Some(now),
            changed_at: None,
            reading: false,
            asked: false,
            removed: BTreeSet::new(),
            unreadable: false,
            last_scan: now,
        }
    }

    /// Something changed: it is read when nothing more follows, or after a while in any case.
    pub(super) fn change(&mut self, now: Instant) {
        let first = *self.changed_at.get_or_insert(now);
        self.read_at = Some((now + QUIET).min(first + LONGEST));
    }
}

impl Scheduler {
    pub(super) fn read_files(&mut self, asked: bool) {
        (self.files.read_at, self.files.changed_at) = (None, None);
        self.files.asked |= asked;
        if self.files.reading {
            // what changes while it is read is read afterwards
            self.files.read_at = Some(Instant::now() + QUIET);
            return;
        }
        self.files.reading = true;
        let asked = self.files.asked;
        let (dir, known, send) = (self.context.settings.jobs.dir.clone(), self.files.known.clone(), self.send.clone());
        if self.files.watcher.is_none() {
            self.files.watcher = wake::on_files(&dir, send.clone()).ok();
        }
        tokio::task::spawn_blocking(move || {
            // the loop is gone only when the daemon ends
            drop(send.send(Wake::Loaded(reload::load(&dir, &known, asked))));
        });
    }

    /// Puts into force what was read.
    pub(super) async fn take_jobs(&mut self, mut loaded: Loaded) -> Result<(), Error> {
        self.files.reading = false;
        if let Some(problem) = &loaded.unreadable {
            // one that is replaced by another directory is watched anew
            self.files.watcher = None;
            if !self.files.unreadable {
                tracing::error!("{problem}");
            }
        }
        self.files.unreadable = loaded.unreadable.is_some();
        let taken = self.put_into_force(&mut loaded).await;
        if !self.or_later(taken)? {
            self.files.read_at = Some(Instant::now() + 2 * TICK);
            return Ok(());
        }
        self.files.known = loaded.known;
        if !self.ready || loaded.asked {
            self.ready = true;
            self.files.asked = false;
            let looked = self.look().await;
            self.or_later(looked)?;
            self.act().await?;
            status::ready();
        }
        Ok(())
    }

    async fn put_into_force(&mut self, loaded: &mut Loaded) -> Result<(), Error> {
        let now = now();
        let (mut rows, mut jobs) = (Vec::new(), Vec::new());
        // when it cannot be written down, the files are read again
        for (name, read) in std::mem::take(&mut loaded.changed) {
            let row = self.rows.get(&name).cloned();
            let was_broken = row.as_ref().is_some_and(|row| row.file_problem.is_some());
            let mut row = row.unwrap_or_else(|| JobRow::new(&name));
            match read {
                Ok(job) => {
                    look::take_job(&mut row, &job, now.wall);
                    if was_broken {
                        self.core.notice(Notice::Mended { job: name });
                    }
                    jobs.push((job, row.clone()));
                }
                Err(problems) => {
                    let problem = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                    if row.file_problem.as_ref() != Some(&problem) || !self.ready {
                        self.core.notice(Notice::Broken { job: name.clone(), problem: problem.clone() });
                    }
                    row.file_problem = Some(problem);
                    // after a restart the last whole version is in the row only
                    if self.core.job(&name).is_none()
                        && let Some(job) = look::job_of(&row)
                    {
                        jobs.push((job, row.clone()));
                    }
                }
            }
            rows.push(row);
        }
        let names: BTreeSet<&String> = loaded.names.iter().collect();
        let gone = |name: &&String| loaded.unreadable.is_none() && !names.contains(name);
        let removed: Vec<String> = self.core.job_names().filter(gone).cloned().collect();
        // broken ones that were never in force have a row and no job
        let removed_rows: BTreeSet<String> = self.rows.keys().filter(gone).cloned().collect();
        if !rows.is_empty() {
            self.context.store.save_jobs(self.place.lead, &rows).await?;
        }
        if removed_rows != self.files.removed {
            self.context.store.remove_jobs(self.place.lead, &Vec::from_iter(&removed_rows)).await?;
            alert::forget_jobs(&self.context.store, &removed_rows).await?;
            self.files.removed = removed_rows;
        }
        if !jobs.is_empty() {
            alert::forget_rules(&self.context.store, jobs.iter().map(|(job, _)| job)).await?;
        }
        let n = (jobs.len(), removed.len());
        rows.into_iter().for_each(|row| drop(self.rows.insert(row.name.clone(), row)));
        for (job, row) in jobs {
            self.core.apply(Event::Job(Box::new(job), Box::new(row)), now);
        }
        removed.into_iter().for_each(|name| self.core.apply(Event::JobRemoved(name), now));
        if n != (0, 0) {
            tracing::info!(changed = n.0, removed = n.1, jobs = self.core.n_jobs(), "job files read");
        }
        Ok(())
    }
}
