//! Recorded rows on an even grid: the last value known at each grid time, repaired without looking ahead.
//!
//! In: [`Series`] and [`Settings`]. Out: [`Gridded`], one arena of columns with segments that no long gap interrupts,
//! and a report of what was found in each video. Whatever stands at a time follows from rows recorded until then alone.
//! Never knows what the counts are used for.

mod report;
mod rows;
mod settings;

pub use report::VideoReport;
pub use settings::{Dropouts, Grid, Revisions, Settings, Validation};

use crate::data::{Series, Video, growth_rate};
use rows::Rows;
use std::ops::Range;

/// Counts on a grid; segments as ranges of one arena.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gridded {
    /// Seconds between two points.
    pub step: i64,
    /// Video ids, sorted.
    pub ids: Vec<String>,
    /// Stretches without a long gap, in the order of their videos, then of time.
    pub segments: Vec<Segment>,
    /// Counts of each target.
    pub counts: [Vec<f64>; 3],
    /// How old the observation is that a point repeats. Unit: seconds.
    pub age: Vec<u32>,
}

/// One stretch of one video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Place of the video in [`Gridded::ids`].
    pub video: usize,
    /// Time of the first point. Unit: seconds since 1970, a multiple of the step unless the grid is shifted.
    pub first: i64,
    /// Points of the arena.
    pub points: Range<usize>,
}

impl Gridded {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.age.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.age.is_empty()
    }

    /// The segment a point belongs to.
    pub fn segment_of(&self, point: usize) -> &Segment {
        &self.segments[self.segments.partition_point(|segment| segment.points.end <= point)]
    }

    /// The time of a point of `segment`. Unit: seconds since 1970.
    pub fn time(&self, segment: &Segment, point: usize) -> i64 {
        segment.first + (point - segment.points.start) as i64 * self.step
    }

    /// Column `k` of the `n` points up to `point`, oldest first, and when each count was recorded (seconds since 1970),
    /// appended; before the segment's first point, that one is repeated. Returns the time of `point`.
    pub fn history(&self, point: usize, k: usize, n: usize, counts: &mut Vec<f64>, seen: &mut Vec<i64>) -> i64 {
        let segment = self.segment_of(point);
        for lag in (0..n).rev() {
            let at = point.saturating_sub(lag).max(segment.points.start);
            counts.push(self.counts[k][at]);
            seen.push(self.time(segment, at) - i64::from(self.age[at]));
        }
        self.time(segment, point)
    }

    /// The points as rows, growth rates computed anew; where a gap was, rows are missing.
    pub fn to_series(&self) -> Series {
        let mut series = Series::default();
        for segment in &self.segments {
            for point in segment.points.clone() {
                let row = series.at.len();
                let id = &self.ids[segment.video];
                match series.videos.last_mut().filter(|last| &last.id == id) {
                    Some(last) => last.rows.end = row + 1,
                    None => series.videos.push(Video { id: id.clone(), rows: row..row + 1 }),
                }
                let first = series.videos.last().is_none_or(|video| video.rows.start == row);
                series.at.push(self.time(segment, point) * 1_000_000);
                for ((counts, growth), column) in series.counts.iter_mut().zip(&mut series.growth).zip(&self.counts) {
                    let previous = (!first).then(|| counts[row - 1]);
                    growth.push(growth_rate(previous, column[point]));
                    counts.push(column[point]);
                }
            }
        }
        series
    }
}

/// Lays rows on the grid. Panics when the settings name no grid: rows as recorded are not for this.
pub fn lay(series: &Series, settings: &Settings) -> (Gridded, Vec<VideoReport>) {
    lay_shifted(series, settings, 0)
}

/// The same on a grid that is `shift` seconds later.
pub fn lay_shifted(series: &Series, settings: &Settings, shift: i64) -> (Gridded, Vec<VideoReport>) {
    let step = settings.grid.seconds().expect("a grid");
    let mut gridded = Gridded { step, ..Gridded::default() };
    let mut reports = Vec::with_capacity(series.videos.len());
    for video in &series.videos {
        let mut report = VideoReport::of(series, video, settings);
        let mut rows = Rows::new(series, video.rows.clone(), settings);
        let place = gridded.ids.len();
        gridded.ids.push(video.id.clone());
        let mut begin = video.rows.start;
        while begin < video.rows.end {
            let end = (begin + 1..video.rows.end)
                .find(|&row| series.at[row] - series.at[row - 1] > settings.longest_gap.as_micros() as i64)
                .unwrap_or(video.rows.end);
            lay_segment(series, begin..end, place, shift, &mut rows, &mut gridded);
            begin = end;
        }
        report.repaired(&rows);
        report.points = gridded.segments.iter().rev().take_while(|s| s.video == place).map(|s| s.points.len()).sum();
        reports.push(report);
    }
    (gridded, reports)
}

fn lay_segment(
    series: &Series,
    range: Range<usize>,
    video: usize,
    shift: i64,
    rows: &mut Rows<'_>,
    into: &mut Gridded,
) {
    let micros = into.step * 1_000_000;
    let since = |row: usize| series.at[row] - shift * 1_000_000;
    let first = since(range.start).div_euclid(micros) + i64::from(since(range.start).rem_euclid(micros) != 0);
    let last = since(range.end - 1).div_euclid(micros);
    let begin = into.len();
    let mut next = range.start;
    let mut value = None;
    for place in first..=last {
        let time = place * micros + shift * 1_000_000;
        // the rows up to this time, each seen once and in order
        while next < range.end && series.at[next] <= time {
            value = Some((series.at[next], rows.next(next)));
            next += 1;
        }
        let Some((seen, counts)) = value else { continue };
        for (column, count) in into.counts.iter_mut().zip(counts) {
            column.push(count);
        }
        // whole seconds, rounded up: an observation is never younger than it is said to be
        into.age.push(u32::try_from((time - seen + 999_999) / 1_000_000).unwrap_or(u32::MAX));
    }
    for row in next..range.end {
        rows.next(row);
    }
    if into.len() > begin {
        into.segments.push(Segment { video, first: first * into.step + shift, points: begin..into.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn settings() -> Settings {
        Settings { longest_gap: Duration::from_hours(2), ..Settings::of(Grid::TenMinutes) }
    }

    /// One video of `(minute, views)`; likes and comments go along.
    fn series(rows: &[(i64, f64)]) -> Series {
        let mut series = Series::default();
        for &(minute, views) in rows {
            series.at.push(minute * 60_000_000);
            for (k, column) in series.counts.iter_mut().enumerate() {
                column.push(if views == 0.0 && k > 0 { 5.0 } else { views + k as f64 });
            }
            series.growth.iter_mut().for_each(|column| column.push(0.0));
        }
        series.videos.push(Video { id: "v".to_owned(), rows: 0..rows.len() });
        series
    }

    #[test]
    fn the_last_value_known_stands_at_each_point() {
        let (g, reports) = lay(&series(&[(3, 1.0), (9, 2.0), (20, 3.0), (41, 4.0), (49, 5.0)]), &settings());
        // points at 10, 20, 30, 40; 50 is after the last row
        assert_eq!(g.counts[0], [2.0, 3.0, 3.0, 3.0]);
        assert_eq!(g.counts[2], [4.0, 5.0, 5.0, 5.0]);
        assert_eq!(g.age, [60, 0, 600, 1200]);
        assert_eq!(g.segments, [Segment { video: 0, first: 600, points: 0..4 }]);
        assert_eq!((reports[0].rows, reports[0].points), (5, 4));
    }

    #[test]
    fn a_long_gap_begins_a_new_segment() {
        let (g, reports) = lay(&series(&[(0, 1.0), (10, 2.0), (131, 3.0), (145, 4.0)]), &settings());
        assert_eq!(g.segments.len(), 2);
        assert_eq!(g.counts[0], [1.0, 2.0, 3.0], "nothing stands in the gap");
        assert_eq!(g.time(&g.segments[1], 2), 140 * 60);
        assert_eq!(reports[0].long_gaps, 1);
        let again = g.to_series();
        assert_eq!(again.videos, [Video { id: "v".to_owned(), rows: 0..3 }]);
        assert_eq!(again.growth[0], [0.0, 100.0, 50.0]);
    }

    #[test]
    fn a_single_zero_is_held_and_a_second_one_believed() {
        let rows = [(0, 7.0), (10, 0.0), (20, 9.0), (30, 0.0), (40, 0.0), (50, 0.0)];
        let (g, reports) = lay(&series(&rows), &settings());
        assert_eq!(g.counts[0], [7.0, 7.0, 9.0, 9.0, 0.0, 0.0]);
        assert_eq!(reports[0].dropouts, [2, 0, 0]);
        let keep = Settings { dropouts: Dropouts::Keep, ..settings() };
        assert_eq!(lay(&series(&rows), &keep).0.counts[0], [7.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn revisions_are_kept_or_held() {
        let rows = [(0, 7.0), (10, 5.0), (20, 6.0), (30, 9.0)];
        let (g, reports) = lay(&series(&rows), &settings());
        assert_eq!(g.counts[0], [7.0, 5.0, 6.0, 9.0]);
        assert_eq!(reports[0].revisions, [1, 1, 1]);
        let hold = Settings { revisions: Revisions::Hold, ..settings() };
        assert_eq!(lay(&series(&rows), &hold).0.counts[0], [7.0, 7.0, 7.0, 9.0]);
    }

    proptest! {
        #[test]
        fn nothing_at_a_point_follows_from_later_rows(
            rows in prop::collection::vec((1i64..200, 0u32..30), 3..60), cut in 0usize..60, other in 0u32..30,
            hold in any::<bool>(), shift in 0i64..90,
        ) {
            let mut minute = 0;
            let rows: Vec<(i64, f64)> = rows.iter().map(|&(gap, v)| { minute += gap; (minute, f64::from(v)) }).collect();
            let revisions = if hold { Revisions::Hold } else { Revisions::Keep };
            let settings = Settings { revisions, ..settings() };
            let cut = cut.min(rows.len() - 1);
            let before = lay(&series(&rows), &settings).0;
            // every row from `cut` on becomes another one, later or earlier but still after the row before it
            let changed: Vec<(i64, f64)> = rows.iter().enumerate().map(|(k, &(minute, value))| {
                if k < cut { (minute, value) } else { (minute + shift, value + f64::from(other)) }
            }).collect();
            let after = lay(&series(&changed), &settings).0;
            let until = rows[cut].0 * 60;
            let known = |g: &Gridded| -> Vec<(i64, [f64; 3], u32)> {
                g.segments.iter().flat_map(|s| s.points.clone().map(|p| (g.time(s, p), [0, 1, 2].map(|k| g.counts[k][p]), g.age[p]))
                    .collect::<Vec<_>>()).filter(|point| point.0 < until).collect()
            };
            let (before, mut after) = (known(&before), known(&after));
            // how far the grid goes on from the last row before the change depends on whether a row follows at all
            after.truncate(before.len());
            prop_assert_eq!(&before[..after.len()], &after[..]);
        }
    }
}
