//! Workers' logs, line by line into the journal. The file is the worker's own: it goes on when nobody reads it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use tracing::Level;

/// Bytes of one log passed on at a time: a worker that writes without end must not hold up the loop.
const CHUNK: u64 = 256 * 1024;
/// Bytes that are passed on when the worker is gone; of more, the end.
const LAST: u64 = 16 * CHUNK;

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
            let length = std::fs::metadata(&log.path).map_or(0, |found| found.len());
            if length.saturating_sub(log.at) > LAST {
                let (bytes, job) = (length - LAST - log.at, &log.job);
                tracing::warn!(%job, run_id, "{bytes} bytes of its log are not passed on; `retraind show {run_id} --log` has them");
                log.at = length - LAST;
                log.rest.clear();
            }
            while log.at < length && log.forward(run_id) {}
            log.rest.push(b'\n');
            log.lines(run_id);
        }
    }
}

impl Log {
    /// Whether there was anything.
    fn forward(&mut self, run_id: i64) -> bool {
        // a log that cannot be read is still where it was written
        let Ok(mut file) = File::open(&self.path) else { return false };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).and_then(|_| file.take(CHUNK).read_to_end(&mut new)).is_err() {
            return false;
        }
        self.at += new.len() as u64;
        let any = !new.is_empty();
        self.rest.extend(new);
        self.lines(run_id);
        any
    }

    fn lines(&mut self, run_id: i64) {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        for line in String::from_utf8_lossy(&whole).lines().filter(|line| !line.trim().is_empty()) {
            let (level, text) = level_of(line);
            let job = &self.job;
            match level {
                Level::ERROR => tracing::error!(target: "retraind::worker", %job, run_id, "{text}"),
                Level::WARN => tracing::warn!(target: "retraind::worker", %job, run_id, "{text}"),
                _ => tracing::info!(target: "retraind::worker", %job, run_id, "{text}"),
            }
        }
    }
}

/// Our own workers' lines begin with a time and a level, which the journal has fields for; what else is written has none.
fn level_of(line: &str) -> (Level, &str) {
    let text = line.trim_start();
    let text = match text.split_once(' ') {
        Some((time, rest)) if time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[0].is_ascii_digit() => {
            rest.trim_start()
        }
        _ => text,
    };
    for (word, level) in
        [("ERROR ", Level::ERROR), ("WARN ", Level::WARN), ("INFO ", Level::INFO), ("DEBUG ", Level::DEBUG)]
    {
        if let Some(rest) = text.strip_prefix(word) {
            return (level, rest);
        }
    }
    (Level::INFO, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_taken_from_our_own_lines_only() {
        let check = |line: &str, level: Level, text: &str| assert_eq!(level_of(line), (level, text), "{line}");
        check("2026-11-26T22:00:00.123456Z  WARN slow training", Level::WARN, "slow training");
        check(" INFO attempt begins run_id=1", Level::INFO, "attempt begins run_id=1");
        check("ERROR failed to read", Level::ERROR, "failed to read");
        check("hello there", Level::INFO, "hello there");
        check("  indented talk", Level::INFO, "  indented talk");
    }
}
