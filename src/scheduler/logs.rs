//! Workers' logs, line by line into the journal. The file is the worker's own: it goes on when nobody reads it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Bytes of one log passed on at a time: a worker that writes without end must not hold up the loop.
const CHUNK: u64 = 256 * 1024;

/// Logs that are being followed.
#[derive(Debug, Default)]
pub(super) struct Logs(BTreeMap<i64, Log>);

#[derive(Debug)]
struct Log {
    job: String,
    path: PathBuf,
    at: u64,
    /// A line that has no end yet.
    rest: Vec<u8>,
}

impl Logs {
    /// From its present end on.
    pub(super) fn follow(&mut self, run_id: i64, job: &str, path: PathBuf) {
        let at = std::fs::metadata(&path).map_or(0, |found| found.len());
        self.0.insert(run_id, Log { job: job.to_owned(), path, at, rest: Vec::new() });
    }

    /// Passes on what was written since.
    pub(super) fn forward(&mut self) {
        for (run_id, log) in &mut self.0 {
            log.forward(*run_id);
        }
    }

    /// The same for the last time.
    pub(super) fn finish(&mut self, run_id: i64) {
        if let Some(mut log) = self.0.remove(&run_id) {
            log.forward(run_id);
            log.rest.push(b'\n');
            log.lines(run_id);
        }
    }
}

impl Log {
    fn forward(&mut self, run_id: i64) {
        // a log that cannot be read is still where it was written
        let Ok(mut file) = File::open(&self.path) else { return };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).and_then(|_| file.take(CHUNK).read_to_end(&mut new)).is_err() {
            return;
        }
        self.at += new.len() as u64;
        self.rest.extend(new);
        self.lines(run_id);
    }

    fn lines(&mut self, run_id: i64) {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        for line in String::from_utf8_lossy(&whole).lines().filter(|line| !line.trim().is_empty()) {
            tracing::info!(target: "retraind::worker", job = %self.job, run_id, "{line}");
        }
    }
}
