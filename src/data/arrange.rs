//! Rows in the order in which they arrive become [`Series`].
//!
//! Sorting happens here and not in the database: its order of texts depends on its locale, and the order of videos
//! decides which of them a model is trained on. What becomes of rows that are not as they should be is decided here too,
//! so that every database and every file is treated alike.

use super::{ReadReport, Series, Target, Video, VideoReport, growth_rate};
use chrono::{DateTime, Utc};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

/// Rows as they come.
#[derive(Default)]
pub(super) struct Arrivals {
    /// In order of arrival; rows name videos by their place here.
    videos: Vec<Arrived>,
    known: HashMap<String, u32>,
    /// The video of the last row: rows of one video tend to come together.
    current: u32,
    /// The video of the last row that was added.
    behind: u32,
    /// Later rows are passed over.
    until: i64,
    rows_read: u64,
    without_id: u64,
    /// Empty as long as videos came one after the other: their rows are told by their numbers then.
    video: Vec<u32>,
    at: Vec<i64>,
    counts: [Vec<f64>; 3],
    growth: [Vec<f64>; 3],
}

/// What came of one video.
struct Arrived {
    report: VideoReport,
    rows: usize,
    /// The time of its last row.
    last: i64,
    /// Whether each of its rows was later than the one before it.
    in_order: bool,
    /// The video whose row came after this one's: a table stored by time names them in the same order again and again.
    follower: u32,
}

/// A count that is no count: which one, and what it is.
#[derive(Debug, PartialEq)]
pub(super) struct NotACount {
    pub(super) target: Target,
    pub(super) value: f64,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self::until(None)
    }

    /// Passes over rows that are later.
    pub(super) fn until(until: Option<DateTime<Utc>>) -> Self {
        Self { until: until.map_or(i64::MAX, |at| at.timestamp_micros()), ..Self::default() }
    }

    pub(super) fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Adds a row. NaN stands for NULL: a row without all its counts is left out, a growth rate is computed later. An
    /// empty id stands for NULL, too.
    ///
    /// Errors: a count is negative or infinite.
    pub(super) fn push(&mut self, id: &str, at: i64, counts: [f64; 3], growth: [f64; 3]) -> Result<(), NotACount> {
        if at > self.until {
            return Ok(());
        }
        self.rows_read += 1;
        if id.is_empty() {
            self.without_id += 1;
            return Ok(());
        }
        let current = self.video(id);
        for (target, value) in Target::ALL.into_iter().zip(counts) {
            if value < 0.0 || value.is_infinite() {
                return Err(NotACount { target, value });
            }
        }
        let video = &mut self.videos[current as usize];
        if counts.iter().any(|count| count.is_nan()) {
            video.report.null_counts += 1;
            return Ok(());
        }
        video.in_order &= video.rows == 0 || video.last < at;
        video.last = at;
        video.rows += 1;
        if !self.video.is_empty() {
            self.video.push(current);
        } else if current < self.behind {
            // Back to a video that others came after: from here on every row says whose it is.
            self.name_rows(current);
        }
        self.behind = current;
        self.at.push(at);
        for (column, count) in self.counts.iter_mut().zip(counts) {
            // Turns -0 into 0, which is the same count in other bytes.
            column.push(count + 0.0);
        }
        for (column, rate) in self.growth.iter_mut().zip(growth) {
            column.push(if rate.is_finite() { rate + 0.0 } else { f64::NAN });
        }
        Ok(())
    }

    fn video(&mut self, id: &str) -> u32 {
        if self.videos.get(self.current as usize).is_some_and(|video| video.report.id == id) {
            return self.current;
        }
        let before = self.current as usize;
        let guess = self.videos.get(before).map_or(0, |video| video.follower);
        if self.videos.get(guess as usize).is_some_and(|video| video.report.id == id) {
            self.current = guess;
            return guess;
        }
        self.current = self.known.get(id).copied().unwrap_or_else(|| {
            let video = self.videos.len() as u32;
            self.known.insert(id.to_owned(), video);
            let report = VideoReport { id: id.to_owned(), ..VideoReport::default() };
            self.videos.push(Arrived { report, rows: 0, last: i64::MIN, in_order: true, follower: 0 });
            video
        });
        self.videos[before].follower = self.current;
        self.current
    }

    /// Notes for each row so far whose it is, and that one of `last` follows.
    fn name_rows(&mut self, last: u32) {
        for (place, video) in self.videos.iter().enumerate() {
            let rows = video.rows - usize::from(place as u32 == last);
            self.video.extend(std::iter::repeat_n(place as u32, rows));
        }
        self.video.push(last);
    }

    /// Sorts the rows, leaves out those that repeat a time, and computes the growth rates that are missing.
    pub(super) fn finish(mut self) -> (Series, ReadReport) {
        let mut by_id: Vec<u32> = (0..self.videos.len() as u32).collect();
        by_id.sort_unstable_by(|&a, &b| self.videos[a as usize].report.id.cmp(&self.videos[b as usize].report.id));
        if !self.video.is_empty() || !by_id.is_sorted() {
            self.group(&by_id);
        }
        self.sort_within(&by_id);
        let mut series = Series { videos: Vec::new(), at: self.at, counts: self.counts, growth: self.growth };
        let mut reports = Vec::new();
        let mut videos: Vec<Option<Arrived>> = self.videos.into_iter().map(Some).collect();
        for video in by_id.into_iter().filter_map(|video| videos[video as usize].take()) {
            let (mut report, start) = (video.report, series.videos.last().map_or(0, |last| last.rows.end));
            if video.rows > 0 {
                let rows = start..start + video.rows;
                report.growth_computed = fill_growth(&series.counts, &mut series.growth, rows.clone());
                series.videos.push(Video { id: report.id.clone(), rows });
            }
            if report.null_counts + report.duplicates + report.conflicts + report.growth_computed > 0 {
                reports.push(report);
            }
        }
        (series, ReadReport { rows_read: self.rows_read, without_id: self.without_id, videos: reports })
    }

    /// Brings each video's rows together, in the order of `by_id`; among themselves they stay as they came.
    ///
    /// One column after the other, so that no more than one is there twice.
    fn group(&mut self, by_id: &[u32]) {
        if self.video.is_empty() {
            let rows = self.videos.iter().enumerate();
            self.video = rows.flat_map(|(place, video)| std::iter::repeat_n(place as u32, video.rows)).collect();
        }
        let (mut next, mut start) = (vec![0u32; self.videos.len()], 0);
        for &video in by_id {
            next[video as usize] = start;
            start += self.videos[video as usize].rows as u32;
        }
        let mut places = std::mem::take(&mut self.video);
        for place in &mut places {
            let next = &mut next[*place as usize];
            *place = *next;
            *next += 1;
        }
        scatter(&mut self.at, &places);
        for column in self.counts.iter_mut().chain(&mut self.growth) {
            scatter(column, &places);
        }
    }

    /// Sorts the rows of each video whose rows are not in order, and keeps one of those with the same time.
    fn sort_within(&mut self, by_id: &[u32]) {
        if self.videos.iter().all(|video| video.in_order) {
            return;
        }
        let (mut from, mut to) = (0, 0);
        for &video in by_id {
            let rows = from..from + self.videos[video as usize].rows;
            from = rows.end;
            let kept: Vec<u32> = if self.videos[video as usize].in_order {
                rows.map(|row| row as u32).collect()
            } else {
                self.in_order(video, rows)
            };
            self.videos[video as usize].rows = kept.len();
            move_rows(&mut self.at, to, &kept);
            for column in self.counts.iter_mut().chain(&mut self.growth) {
                move_rows(column, to, &kept);
            }
            to += kept.len();
        }
        self.at.truncate(to);
        self.counts.iter_mut().chain(&mut self.growth).for_each(|column| column.truncate(to));
    }

    /// The rows of a video by time, one a time.
    fn in_order(&mut self, video: u32, rows: Range<usize>) -> Vec<u32> {
        // Times in the keys: sorting row numbers alone would jump through the column at each comparison.
        let mut order: Vec<(i64, u32)> = rows.map(|row| (self.at[row], row as u32)).collect();
        order.sort_unstable();
        let mut kept = Vec::with_capacity(order.len());
        for same_time in order.chunk_by(|a, b| a.0 == b.0) {
            kept.push(match same_time {
                [(_, row)] => *row,
                rows => self.best_of(video, rows),
            });
        }
        kept
    }

    /// Of rows with the same video and time the one with the highest counts, whatever the order they came in. The rest
    /// are noted.
    fn best_of(&mut self, video: u32, rows: &[(i64, u32)]) -> u32 {
        // Of equal counts the lowest rates win, and so any rate over a missing one, which is NaN.
        let order = |&a: &u32, &b: &u32| compare(&self.counts, a, b).then_with(|| compare(&self.growth, b, a));
        let best = rows.iter().map(|key| key.1).max_by(order).unwrap_or(0);
        let report = &mut self.videos[video as usize].report;
        for &(_, row) in rows.iter().filter(|key| key.1 != best) {
            let same = compare(&self.counts, row, best) == Ordering::Equal;
            *if same { &mut report.duplicates } else { &mut report.conflicts } += 1;
        }
        best
    }
}

/// Computes the growth rates that are not finite, from the counts of the rows before. Returns how many.
fn fill_growth(counts: &[Vec<f64>; 3], growth: &mut [Vec<f64>; 3], rows: Range<usize>) -> u64 {
    let mut computed = 0;
    for (counts, growth) in counts.iter().zip(growth) {
        for row in rows.clone() {
            if !growth[row].is_finite() {
                let previous = (row > rows.start).then(|| counts[row - 1]);
                growth[row] = growth_rate(previous, counts[row]);
                computed += 1;
            }
        }
    }
    computed
}

fn compare(columns: &[Vec<f64>; 3], a: u32, b: u32) -> Ordering {
    columns.iter().map(|column| column[a as usize].total_cmp(&column[b as usize])).fold(Ordering::Equal, Ordering::then)
}

/// Puts every row in its place.
fn scatter<T: Copy + Default>(column: &mut Vec<T>, places: &[u32]) {
    let mut placed = vec![T::default(); column.len()];
    for (&value, &place) in column.iter().zip(places) {
        placed[place as usize] = value;
    }
    *column = placed;
}

/// Moves rows of one video to `to` and on, not further back than any of them lies.
fn move_rows<T: Copy>(column: &mut [T], to: usize, rows: &[u32]) {
    if let (Some(&first), true) = (rows.first(), rows.is_sorted_by(|a, b| a + 1 == *b)) {
        return column.copy_within(first as usize..first as usize + rows.len(), to);
    }
    let moved: Vec<T> = rows.iter().map(|&row| column[row as usize]).collect();
    column[to..to + moved.len()].copy_from_slice(&moved);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NULL: f64 = f64::NAN;

    fn arrange(rows: &[(&str, i64, [f64; 3], [f64; 3])]) -> (Series, ReadReport) {
        let mut arrivals = Arrivals::new();
        for &(id, at, counts, growth) in rows {
            arrivals.push(id, at, counts, growth).expect("counts");
        }
        arrivals.finish()
    }

    /// Checks the views and their growth, in order, and what is reported.
    fn check(rows: &[(&str, i64, f64, f64)], expected: &[(&str, i64, f64, f64)], reported: &[&str]) {
        let rows: Vec<_> =
            rows.iter().map(|&(id, at, views, rate)| (id, at, [views, 1.0, 1.0], [rate, 0.0, 0.0])).collect();
        let (series, report) = arrange(&rows);
        let found: Vec<_> = series
            .videos
            .iter()
            .flat_map(|v| {
                v.rows.clone().map(|row| (v.id.as_str(), series.at[row], series.counts[0][row], series.growth[0][row]))
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(report.sentences(), reported);
        assert_eq!(report.rows_read, rows.len() as u64);
    }

    #[test]
    fn rows_are_sorted_by_id_bytes_and_time() {
        check(&[], &[], &[]);
        check(&[("a", 1, 5.0, 0.0), ("b", 1, 6.0, 0.5)], &[("a", 1, 5.0, 0.0), ("b", 1, 6.0, 0.5)], &[]);
        check(
            &[("b", 2, 6.0, 1.0), ("a", 1, 5.0, 2.0), ("b", 1, 4.0, 3.0), ("_", 9, 1.0, 4.0), ("Z", 1, 2.0, 5.0)],
            &[("Z", 1, 2.0, 5.0), ("_", 9, 1.0, 4.0), ("a", 1, 5.0, 2.0), ("b", 1, 4.0, 3.0), ("b", 2, 6.0, 1.0)],
            &[],
        );
    }

    #[test]
    fn missing_counts_leave_the_row_out() {
        check(
            &[("a", 1, NULL, 0.0), ("a", 2, 4.0, NULL), ("a", 3, NULL, 0.0), ("a", 4, 5.0, f64::INFINITY)],
            &[("a", 2, 4.0, 0.0), ("a", 4, 5.0, 25.0)],
            &[
                "video a: 2 rows have an empty count and were left out",
                "video a: 2 growth rates were missing and were computed from the counts",
            ],
        );
        check(&[("", 1, 5.0, 0.0)], &[], &["1 row without a video id was left out"]);
        check(&[("a", 1, NULL, 0.0)], &[], &["video a: 1 row has an empty count and was left out"]);
    }

    #[test]
    fn one_row_a_time_is_kept() {
        check(&[("a", 1, 5.0, 0.0), ("a", 1, 5.0, 0.0)], &[("a", 1, 5.0, 0.0)], &[]);
        check(&[("a", 1, 5.0, NULL), ("a", 1, 5.0, 7.0)], &[("a", 1, 5.0, 7.0)], &[]);
        let conflict = ["video a: 1 row gives other counts for a time that is recorded already; the highest were kept"];
        check(&[("a", 1, 5.0, 0.0), ("a", 1, 6.0, 1.0)], &[("a", 1, 6.0, 1.0)], &conflict);
        check(&[("a", 1, 6.0, 1.0), ("a", 1, 5.0, 0.0)], &[("a", 1, 6.0, 1.0)], &conflict);
    }

    #[test]
    fn impossible_counts_are_refused() {
        for value in [-1.0, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = Arrivals::new().push("a", 1, [1.0, value, 1.0], [0.0; 3]);
            assert_eq!(refused, Err(NotACount { target: Target::Likes, value }));
        }
        assert_eq!(
            arrange(&[("a", 1, [-0.0; 3], [-0.0; 3])]).0.fingerprint(),
            arrange(&[("a", 1, [0.0; 3], [0.0; 3])]).0.fingerprint()
        );
    }

    proptest! {
        /// Few values in small ranges, so that times and counts collide.
        #[test]
        fn order_of_arrival_does_not_matter(
            rows in prop::collection::vec((0..4u8, 0..12i64, 0..4u8, prop::option::of(0..3u8)), 0..60),
            swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(id, at, count, rate)| {
                    let count = if count == 3 { NULL } else { f64::from(count) };
                    (["b", "a", "B", "aa"][usize::from(id)], at, [count, 1.0, 2.0], [rate.map_or(NULL, f64::from); 3])
                })
                .collect();
            let mut shuffled = rows.clone();
            for (a, b) in swaps {
                if !rows.is_empty() {
                    shuffled.swap(a.index(rows.len()), b.index(rows.len()));
                }
            }
            let (series, report) = arrange(&rows);
            prop_assert_eq!((&series, &report), (&arrange(&shuffled).0, &arrange(&shuffled).1));
            prop_assert!(series.videos.is_sorted_by(|a, b| a.id < b.id && a.rows.end == b.rows.start));
            prop_assert_eq!(series.videos.last().map_or(0, |video| video.rows.end), series.len());
            for video in &series.videos {
                prop_assert!(!video.rows.is_empty() && series.at[video.rows.clone()].is_sorted_by(|a, b| a < b));
                for row in video.rows.clone() {
                    let (counts, at) = (series.counts_of(row), series.at[row]);
                    prop_assert!(rows.iter().any(|r| (r.0, r.1, r.2) == (video.id.as_str(), at, counts)));
                }
            }
            let left_out = report.null_counts_left_out() + report.duplicate_rows_left_out();
            prop_assert_eq!(series.len() as u64 + left_out, report.rows_read);
            prop_assert!(series.growth.iter().flatten().all(|rate| rate.is_finite()));
        }
    }
}
