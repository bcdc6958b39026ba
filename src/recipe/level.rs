//! Recipe `level`: the reference pipeline, number for number.
//!
//! Six features (three counts, three growth rates), min-max scaled per video over all its rows; windows of 20 steps
//! within a video; the target is the scaled count at the next step; the first 80 % of all windows train. The scalers
//! see the future and validation is the last videos only: known faults, kept so that figures can be compared.

use super::split::Split;
use super::{Error, Prepared, Table};
use crate::data::{Series, Target};
use crate::grid::{self, Grid, Settings, VideoReport};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Steps a window holds.
pub const STEPS: usize = 20;

/// Names of the features, in the order the network sees them.
pub const FEATURES: [&str; 6] =
    ["views", "likes", "comments", "views_growth_rate", "likes_growth_rate", "comments_growth_rate"];

/// The scaler of one video: feature `k` becomes `(value - low[k]) / (high[k] - low[k])`, or 0 where it is constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// Smallest value of each feature.
    pub low: [f64; FEATURES.len()],
    /// Largest value of each feature.
    pub high: [f64; FEATURES.len()],
}

impl Scaler {
    fn fit(columns: [&[f64]; FEATURES.len()]) -> Self {
        let extreme =
            |from: f64, pick: fn(f64, f64) -> f64| columns.map(|column| column.iter().copied().fold(from, pick));
        Self { low: extreme(f64::INFINITY, f64::min), high: extreme(f64::NEG_INFINITY, f64::max) }
    }

    /// What one scaled unit of feature `k` is; 1 where the feature is constant.
    pub fn range(&self, k: usize) -> f64 {
        let range = self.high[k] - self.low[k];
        if range > 0.0 { range } else { 1.0 }
    }

    /// One feature, scaled. In 64 bits until here, so that counts of 10^10 keep their steps.
    pub fn scale(&self, k: usize, value: f64) -> f32 {
        ((value - self.low[k]) / self.range(k)) as f32
    }

    /// A scaled value of feature `k` in its own units again.
    pub fn unscale(&self, k: usize, scaled: f32) -> f64 {
        self.low[k] + f64::from(scaled) * self.range(k)
    }
}

/// The scalers of all videos, in the order of their ids; the contents of `scaler.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalers {
    /// `min-max`, per video over all its rows.
    pub method: String,
    /// What stands at each place of `low` and `high`.
    pub features: Vec<String>,
    /// Video id and its scaler, sorted by id.
    pub videos: Vec<(String, Scaler)>,
}

impl Scalers {
    /// The scaler of a video, if it was there at training.
    pub fn of(&self, video: &str) -> Option<&Scaler> {
        let at = self.videos.binary_search_by(|(id, _)| id.as_str().cmp(video)).ok()?;
        Some(&self.videos[at].1)
    }
}

/// Scaled features of every row.
#[derive(Clone, Debug)]
pub struct Rows {
    /// A column each, as long as there are rows.
    features: [Vec<f32>; FEATURES.len()],
    /// Rows of each video, in the order of [`Scalers::videos`].
    pub(super) videos: Vec<Range<usize>>,
    /// How to get counts back.
    pub scalers: Scalers,
}

impl Rows {
    /// The scaled count of `target` in a row.
    pub(super) fn value(&self, target: Target, row: usize) -> f32 {
        self.features[target.index()][row]
    }

    /// Appends the features of these rows, `[rows, features]`.
    pub(super) fn copy_to(&self, rows: Range<usize>, into: &mut Vec<f32>) {
        let columns = self.features.each_ref().map(|column| &column[rows.clone()]);
        into.extend((0..rows.len()).flat_map(|row| columns.map(|column| column[row])));
    }

    /// The video a row belongs to.
    pub(super) fn video(&self, row: usize) -> usize {
        self.videos.partition_point(|rows| rows.end <= row)
    }
}

/// Scales, cuts windows and splits them. Each column is let go as soon as it is scaled.
pub(super) fn prepare(series: Series, data: &Settings) -> Result<Prepared, Error> {
    if series.is_empty() {
        return Err(Error::NoRows);
    }
    let (series, mut reports) = if data.grid == Grid::AsRecorded {
        let reports = series.videos.iter().map(|video| VideoReport::recorded(&series, video, data)).collect::<Vec<_>>();
        (series, reports)
    } else {
        let (gridded, reports) = grid::lay(&series, data);
        (gridded.to_series(), reports)
    };
    let mut starts = Vec::with_capacity(series.len());
    let mut videos = Vec::with_capacity(series.videos.len());
    let mut scalers = Vec::with_capacity(series.videos.len());
    let mut remarks = Vec::new();
    for video in &series.videos {
        let scaler = Scaler::fit(columns(&series).map(|column| &column[video.rows.clone()]));
        // A window needs a row after its last; `saturating_sub`, since a video may be shorter than that.
        starts.extend((video.rows.start..video.rows.end.saturating_sub(STEPS)).map(|row| row as u32));
        if video.rows.len() <= STEPS {
            let (id, rows) = (&video.id, video.rows.len());
            remarks.push(format!("video {id}: {rows} rows give no window (a window and its target are 21)"));
        }
        for (k, name) in FEATURES.iter().enumerate().take(3).filter(|&(k, _)| scaler.low[k] >= scaler.high[k]) {
            remarks.push(format!("video {}: {name} is {} in every row and was scaled to 0", video.id, scaler.low[k]));
        }
        videos.push(video.rows.clone());
        scalers.push((video.id.clone(), scaler));
    }
    let n_train = starts.len() * 8 / 10;
    if n_train == 0 || n_train == starts.len() {
        return Err(Error::TooFewWindows {
            rows: series.len(),
            videos: series.videos.len(),
            windows: starts.len(),
            longest: series.videos.iter().map(|v| v.rows.len()).max().unwrap_or(0),
        });
    }
    let Series { at, counts: [views, likes, comments], growth: [views_growth, likes_growth, comments_growth], .. } =
        series;
    drop(at);
    let mut columns = [views, likes, comments, views_growth, likes_growth, comments_growth];
    let features = std::array::from_fn(|k| {
        scaled(
            k,
            &std::mem::take(&mut columns[k]),
            videos.iter().zip(&scalers).map(|(rows, (_, scaler))| (rows.clone(), Some(scaler))),
        )
    });
    let scalers = Scalers {
        method: "min-max, per video over all its rows; a constant feature becomes 0".to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
        videos: scalers,
    };
    for (report, rows) in reports.iter_mut().zip(&videos) {
        // starts ascend: two searches instead of a look at every window for every video
        let before = |starts: &[u32], row: usize| starts.partition_point(|&start| (start as usize) < row);
        let of_video = |starts: &[u32]| before(starts, rows.end) - before(starts, rows.start);
        (report.train, report.validation) = (of_video(&starts[..n_train]), of_video(&starts[n_train..]));
    }
    let validation = starts.split_off(n_train);
    let split = Split { train: starts, validation, calibration: Vec::new() };
    let table = Table::Level(Rows { features, videos, scalers });
    Ok(Prepared { table, split, folds: Vec::new(), pools: Vec::new(), reports, remarks })
}

/// All windows of `series` whose next row is later than `after`, scaled as a version was: by its scalers, which have not seen
/// these rows. Videos that it has no scaler for are left out, and said.
pub fn unseen(series: &Series, scalers: &Scalers, after: Option<i64>) -> Prepared {
    let (mut starts, mut videos, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    for video in &series.videos {
        if scalers.of(&video.id).is_none() {
            remarks.push(format!("video {}: was not there when the version was trained, and has no scaler", video.id));
            continue;
        }
        videos.push(video.rows.clone());
        let unseen = |start: &usize| after.is_none_or(|after| series.at[start + STEPS] > after);
        let all = video.rows.start..video.rows.end.saturating_sub(STEPS);
        starts.extend(all.filter(unseen).map(|row| row as u32));
    }
    let of_videos = || series.videos.iter().map(|video| (video.rows.clone(), scalers.of(&video.id)));
    let columns = columns(series);
    let features = std::array::from_fn(|k| scaled(k, columns[k], of_videos()));
    let known = series.videos.iter().filter_map(|video| Some((video.id.clone(), scalers.of(&video.id)?.clone())));
    let scalers = Scalers { videos: known.collect(), ..scalers.clone() };
    let split = Split { validation: starts, ..Split::default() };
    let table = Table::Level(Rows { features, videos, scalers });
    Prepared { table, split, folds: Vec::new(), pools: Vec::new(), reports: Vec::new(), remarks }
}

/// The last [`STEPS`] rows of a video as the network sees them, `[steps, features]`; `rows` must be that many.
pub fn scale_window(series: &Series, rows: std::ops::Range<usize>, scaler: &Scaler) -> Vec<f32> {
    assert_eq!(rows.len(), STEPS, "rows of a window");
    let columns = columns(series);
    rows.flat_map(|row| (0..FEATURES.len()).map(move |k| scaler.scale(k, columns[k][row]))).collect()
}

/// The columns of [`FEATURES`].
fn columns(series: &Series) -> [&[f64]; FEATURES.len()] {
    let ([views, likes, comments], [views_growth, likes_growth, comments_growth]) = (&series.counts, &series.growth);
    [views, likes, comments, views_growth, likes_growth, comments_growth]
}

/// Feature `k` of videos that follow one another without gaps; 0 where one has no scaler.
fn scaled<'a>(k: usize, column: &[f64], videos: impl Iterator<Item = (Range<usize>, Option<&'a Scaler>)>) -> Vec<f32> {
    let mut features = Vec::with_capacity(column.len());
    for (rows, scaler) in videos {
        let scale = |&value: &f64| scaler.map_or(0.0, |scaler| scaler.scale(k, value));
        features.extend(column[rows].iter().map(scale));
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Video, growth_rate};
    use proptest::prelude::*;

    fn prepare(series: &Series) -> Result<Prepared, Error> {
        super::prepare(series.clone(), &Settings::of(Grid::AsRecorded))
    }

    fn rows(prepared: &Prepared) -> &Rows {
        match &prepared.table {
            Table::Level(rows) => rows,
            Table::Increment(_) => panic!("the recipe is `level`"),
        }
    }

    fn starts(prepared: &Prepared) -> Vec<u32> {
        [prepared.split.train.as_slice(), &prepared.split.validation].concat()
    }

    /// Series of the given counts (the same for all targets, shifted), a minute apart.
    fn series(videos: &[Vec<f64>]) -> Series {
        let mut out = Series::default();
        for (index, counts) in videos.iter().enumerate() {
            let begin = out.at.len();
            for (minute, &count) in counts.iter().enumerate() {
                out.at.push(minute as i64 * 60_000_000);
                for (k, column) in out.counts.iter_mut().enumerate() {
                    column.push(count + k as f64);
                }
                for (k, column) in out.growth.iter_mut().enumerate() {
                    let previous = (minute > 0).then(|| counts[minute - 1] + k as f64);
                    column.push(growth_rate(previous, count + k as f64));
                }
            }
            out.videos.push(Video { id: format!("video-{index}"), rows: begin..out.at.len() });
        }
        out
    }

    #[test]
    fn windows_are_cut_as_in_the_reference() {
        let ramp = |n: usize| (0..n).map(|k| k as f64).collect::<Vec<_>>();
        let prepared = prepare(&series(&[ramp(20), ramp(25), ramp(31)])).expect("enough");
        assert_eq!(starts(&prepared).len(), 5 + 11, "none, 5 and 11 windows");
        let (train, validation) = (prepared.train(Target::Views), prepared.validation(Target::Views));
        assert_eq!((train.len(), validation.len()), (12, 4), "int(0.8 * 16)");
        let close = |value: Option<f64>, expected: f64| (value.expect("known") - expected).abs() < 1e-7;
        assert!(close(train.before(0, 19), 0.0) && train.before(0, 20).is_none());
        assert!(close(Some(train.truth(0, 0)), 20.0 / 24.0));
        assert!(close(train.before(0, 0), 19.0 / 24.0));
        assert!(close(Some(validation.truth(3, 0)), 1.0));
        assert_eq!(validation.range(3), 30.0);
        assert_eq!(prepared.remarks.len(), 1, "{:?}", prepared.remarks);
    }

    #[test]
    fn too_little_is_said() {
        assert_eq!(prepare(&Series::default()).expect_err("nothing"), Error::NoRows);
        for (rows, windows) in [(1, 0), (20, 0), (21, 1)] {
            let error = prepare(&series(&[vec![1.0; rows]])).expect_err("too few");
            assert_eq!(error, Error::TooFewWindows { rows, videos: 1, windows, longest: rows });
        }
        assert!(prepare(&series(&[vec![1.0; 22]])).is_ok());
    }

    #[test]
    fn constant_counts_become_zero() {
        let prepared = prepare(&series(&[vec![5.0; 40]])).expect("enough");
        assert!(rows(&prepared).features.iter().flatten().all(|&f| f == 0.0));
        assert_eq!(prepared.remarks.len(), 3);
        assert_eq!(rows(&prepared).scalers.videos[0].1.unscale(0, 0.0), 5.0);
    }

    proptest! {
        #[test]
        fn windows_never_span_two_videos_and_end_before_their_target(
            lengths in prop::collection::vec(1usize..60, 1..6)
        ) {
            let videos: Vec<Vec<f64>> = lengths.iter().map(|&n| (0..n).map(|k| (k * k) as f64).collect()).collect();
            let series = series(&videos);
            if let Ok(prepared) = prepare(&series) {
                for start in starts(&prepared) {
                    let rows = start as usize..start as usize + STEPS + 1;
                    let video = series.videos.iter().find(|v| v.rows.contains(&rows.start)).expect("some video");
                    prop_assert!(rows.end <= video.rows.end, "{rows:?} leaves {:?}", video.rows);
                    prop_assert!(series.at[rows.end - 2] < series.at[rows.end - 1], "the target lies after the window");
                }
                let expected: usize = lengths.iter().map(|n| n.saturating_sub(STEPS)).sum();
                prop_assert_eq!(starts(&prepared).len(), expected);
                prop_assert_eq!(prepared.split.train.len(), (0.8 * expected as f64) as usize);
            }
        }

        #[test]
        fn windows_never_see_the_future(
            counts in prop::collection::vec(10u32..1000, 40..90), later in 0.0f64..1.0, other in 10u32..1000
        ) {
            // The scalers do see it, as in the reference. So the extremes of counts and growth come first, and stay.
            let mut counts: Vec<f64> = [1, 1_000_000, 1].into_iter().chain(counts).map(f64::from).collect();
            let before = prepare(&series(&[counts.clone()])).expect("enough");
            let row = 3 + ((counts.len() - 3) as f64 * later) as usize;
            counts[row] = f64::from(other);
            let after = prepare(&series(&[counts])).expect("enough");
            for start in starts(&before).into_iter().filter(|&start| start as usize + STEPS <= row) {
                let window = |prepared: &Prepared| prepared.at(Target::Likes, &[start]).batch(0..1);
                prop_assert_eq!(window(&before), window(&after), "the window at {} changed with row {}", start, row);
            }
        }

        #[test]
        fn scaling_is_undone(counts in prop::collection::vec(0u64..100_000_000_000, 2..50)) {
            let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
            let scaler = Scaler::fit([&counts; 6]);
            for count in &counts {
                let scaled = scaler.scale(0, *count);
                prop_assert!((0.0..=1.0).contains(&scaled));
                let tolerance = scaler.range(0) * f64::from(f32::EPSILON);
                prop_assert!((scaler.unscale(0, scaled) - count).abs() <= tolerance);
            }
        }
    }
}
