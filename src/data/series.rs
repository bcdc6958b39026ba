//! All rows of one read, in columns.

use super::Target;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The recorded rows of all videos: one arena of columns, videos as ranges of it.
///
/// Videos are sorted by the bytes of their ids, the rows of one video by time, and no two rows of a video share one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Sorted by id; their ranges follow one another without gaps.
    pub videos: Vec<Video>,
    /// When each row was recorded. Unit: microseconds since 1970, UTC.
    pub at: Vec<i64>,
    /// Cumulative counts of each target, finite and not negative.
    pub counts: [Vec<f64>; 3],
    /// Growth since the video's previous row of each target, finite; see [`growth_rate`]. Unit: percent.
    pub growth: [Vec<f64>; 3],
}

/// One video's part of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// As the platform gives it.
    pub id: String,
    /// Rows of the arena.
    pub rows: Range<usize>,
}

/// Which rows a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataVersion {
    /// Hash of every id, time, count and growth rate. Unit: hexadecimal digits.
    pub sha256: String,
    /// Number of rows.
    pub rows: u64,
    /// Number of videos.
    pub videos: u64,
    /// Time of the oldest row.
    pub first: Option<DateTime<Utc>>,
    /// Time of the newest row.
    pub last: Option<DateTime<Utc>>,
}

/// Growth since the previous row, in percent: 0 for the first row, the count itself where the previous is 0.
///
/// The order of operations is the reference pipeline's, so that results agree to the last bit.
pub fn growth_rate(previous: Option<f64>, now: f64) -> f64 {
    match previous {
        None => 0.0,
        Some(0.0) => now,
        Some(previous) => (now - previous) / previous * 100.0,
    }
}

impl Series {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The video with this id.
    pub fn video(&self, id: &str) -> Option<&Video> {
        let at = self.videos.binary_search_by(|video| video.id.as_str().cmp(id)).ok()?;
        Some(&self.videos[at])
    }

    /// The three counts of a row.
    pub fn counts_of(&self, row: usize) -> [f64; 3] {
        Target::ALL.map(|target| self.counts[target.index()][row])
    }

    /// The three growth rates of a row. Unit: percent.
    pub fn growth_of(&self, row: usize) -> [f64; 3] {
        Target::ALL.map(|target| self.growth[target.index()][row])
    }

    /// Identifies the rows: the same rows give the same value whatever database, order or locale they came from.
    pub fn fingerprint(&self) -> DataVersion {
        let mut hash = Sha256::new();
        for video in &self.videos {
            hash.update((video.id.len() as u64).to_le_bytes());
            hash.update(&video.id);
            hash.update((video.rows.len() as u64).to_le_bytes());
        }
        hash_column(&mut hash, &self.at, i64::to_le_bytes);
        for column in self.counts.iter().chain(&self.growth) {
            hash_column(&mut hash, column, f64::to_le_bytes);
        }
        let time = |at: Option<&i64>| at.and_then(|&at| DateTime::from_timestamp_micros(at));
        DataVersion {
            sha256: hex::encode(hash.finalize()),
            rows: self.len() as u64,
            videos: self.videos.len() as u64,
            first: time(self.at.iter().min()),
            last: time(self.at.iter().max()),
        }
    }

    /// Leaves the first `rows` rows and gives the memory of the others back: for those who turn the columns into others,
    /// from the back, without room for both.
    ///
    /// Videos keep their ranges, since those say what the rows were.
    pub fn shrink(&mut self, rows: usize) {
        self.at.truncate(rows);
        self.at.shrink_to_fit();
        for column in self.counts.iter_mut().chain(&mut self.growth) {
            column.truncate(rows);
            column.shrink_to_fit();
        }
    }

    /// The newest `n` rows of each video whose id is wanted.
    pub(super) fn newest(&self, n: usize, wanted: impl Fn(&String) -> bool) -> Self {
        let mut newest = Self::default();
        for Video { id, rows } in self.videos.iter().filter(|video| wanted(&video.id)) {
            for row in rows.end - rows.len().min(n)..rows.end {
                newest.push(id, self.at[row], self.counts_of(row), self.growth_of(row));
            }
        }
        newest
    }

    /// Adds a row behind all others, of a new video where the id differs from the last one's.
    pub(super) fn push(&mut self, video: &str, at: i64, counts: [f64; 3], growth: [f64; 3]) {
        let row = self.len();
        match self.videos.last_mut().filter(|last| last.id == video) {
            Some(last) => last.rows.end = row + 1,
            None => self.videos.push(Video { id: video.to_owned(), rows: row..row + 1 }),
        }
        self.at.push(at);
        for (column, value) in self.counts.iter_mut().chain(&mut self.growth).zip(counts.into_iter().chain(growth)) {
            column.push(value);
        }
    }
}

/// Gives the hash a column in pieces: one call a value would cost more than the hashing.
fn hash_column<T: Copy>(hash: &mut Sha256, column: &[T], bytes: impl Fn(T) -> [u8; 8]) {
    const PIECE: usize = 1024;
    let mut piece = [0; 8 * PIECE];
    for values in column.chunks(PIECE) {
        for (place, &value) in piece.chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&bytes(value));
        }
        hash.update(&piece[..8 * values.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn growth_is_the_references() {
        let check = |previous, now, expected: f64| assert_eq!(growth_rate(previous, now).to_bits(), expected.to_bits());
        check(None, 5.0, 0.0);
        check(Some(0.0), 5.0, 5.0);
        check(Some(0.0), 0.0, 0.0);
        check(Some(200.0), 201.0, 0.5);
        check(Some(200.0), 150.0, -25.0);
        check(Some(7.0), 7.0, 0.0);
        check(Some(7.0), 0.0, -100.0);
        check(Some(3.0), 10.0, 7.0 / 3.0 * 100.0);
        check(Some(1e10), 1e10 + 1.0, 1.0 / 1e10 * 100.0);
    }

    #[test]
    fn every_part_of_a_row_counts() {
        let series = |id, at, count, growth| {
            let mut series = Series::default();
            series.push(id, at, [count, 1.0, 2.0], [growth, 0.0, 0.0]);
            series.push(id, at + 1, [count, 1.0, 2.0], [growth, 0.0, 0.0]);
            series.fingerprint()
        };
        let version = series("a", 0, 1.0, 0.0);
        assert_eq!(version, series("a", 0, 1.0, 0.0));
        assert_eq!((version.rows, version.videos), (2, 1));
        assert_eq!(version.last.map(|at| at.timestamp_micros()), Some(1));
        for other in
            [series("b", 0, 1.0, 0.0), series("a", 1, 1.0, 0.0), series("a", 0, 2.0, 0.0), series("a", 0, 1.0, 1.0)]
        {
            assert_ne!(version.sha256, other.sha256);
        }
        let empty = Series::default().fingerprint();
        assert_eq!((empty.rows, empty.first, empty.last), (0, None, None));
    }

    proptest! {
        #[test]
        fn growth_gives_the_count_back(previous in 1u64..1 << 40, now in 0u64..1 << 40) {
            let (previous, now) = (previous as f64, now as f64);
            let back = previous * (1.0 + growth_rate(Some(previous), now) / 100.0);
            prop_assert!((back - now).abs() <= 1e-9 * previous.max(now));
        }
    }
}
