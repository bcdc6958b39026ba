//! Recipe `increment`: the growth to come is a mixture of simple forecasts of it.
//!
//! Counts on a grid, with the times at which they were really recorded. Candidates are the growth of the same hours of
//! the last three days and the pace of the last hours; a network says how to mix them for the next steps, from how
//! growth has gone lately. It can do no worse than its candidates. All is scaled by the window's own last day, so that
//! one network serves views, likes and comments of any video, also of one it never saw. Nothing at a point follows from
//! later rows.

mod features;
mod intervals;
mod linear;
mod plan;
mod pool;

pub use intervals::Intervals;
pub use linear::Blend;
pub use plan::{CANDIDATES, DAYS, LARGE, PRIOR, Plan, SATURDAY, SEQUENCE_WIDTH, SINCE_MONDAY, STRETCH, WEEK};
pub use pool::{Pool, standardise};

pub(super) use plan::FEATURE_VERSION;

use super::split::{Borders, Part, Split};
use super::{Error, Prepared, Table};
use crate::data::{Series, Target};
use crate::grid::{self, Gridded, Segment, Settings, Validation, VideoReport};
use features::Past;

/// Fewer windows to judge on than these are remarked on.
const FEW: usize = 50;

/// What a job may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Steps the network reads.
    pub sequence: usize,
    /// Steps forecast at once.
    pub horizon: usize,
    /// Whether the day of the week and the weekend are features.
    pub day_of_week: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { sequence: 48, horizon: 1, day_of_week: false }
    }
}

/// Counts on the grid with what belongs to each video.
#[derive(Clone, Debug)]
pub struct Counts {
    grid: Gridded,
    plan: Plan,
    /// How old an observation may be where a forecast is made or judged. Unit: seconds.
    stale: u32,
    /// Range of each video's counts, the unit of the scaled errors.
    ranges: Vec<[f64; 3]>,
}

/// Windows as the network takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `[windows, sequence, 3]`
    pub sequence: Vec<f32>,
    /// Not standardised, `[windows, statics]`.
    pub statics: Vec<f32>,
    /// Candidate growths, `[windows, horizon, candidates]`. Unit: counts.
    pub candidates: Vec<f64>,
    /// Pace of each window's last day. Unit: counts a step.
    pub paces: Vec<f64>,
}

/// One target's counts up to a point.
struct Before<'a> {
    grid: &'a Gridded,
    segment: &'a Segment,
    column: usize,
    point: usize,
}

impl<'a> Before<'a> {
    fn at(grid: &'a Gridded, column: usize, point: usize) -> Self {
        Self { grid, segment: grid.segment_of(point), column, point }
    }

    /// Before the first point nothing is known: it stands there, as the graph's callers are told to do.
    fn place(&self, lag: usize) -> usize {
        self.point.saturating_sub(lag).max(self.segment.points.start)
    }
}

impl Past for Before<'_> {
    fn count(&self, lag: usize) -> f64 {
        self.grid.counts[self.column][self.place(lag)]
    }

    fn seen(&self, lag: usize) -> i64 {
        let place = self.place(lag);
        self.grid.time(self.segment, place) - i64::from(self.grid.age[place])
    }

    fn time(&self) -> i64 {
        self.grid.time(self.segment, self.point)
    }
}

/// Lays rows on the grid, splits time, cuts windows.
pub(super) fn prepare(series: &Series, data: &Settings, options: &Options) -> Result<Prepared, Error> {
    if series.is_empty() {
        return Err(Error::NoRows);
    }
    let (grid, mut reports) = grid::lay(series, data);
    let plan = Plan::new(grid.step, options);
    let stale = u32::try_from(data.stale_after.as_secs()).unwrap_or(u32::MAX);
    let ranges = ranges(&grid);
    let counts = Counts { grid, plan, stale, ranges };
    let holdout = |n: usize| Borders::holdout(n, data.validation_share);
    let split = counts.split(&holdout, Some(&mut reports));
    if split.train.is_empty() || split.validation.is_empty() {
        return Err(Error::TooShort {
            grid: data.grid.to_string(),
            train: split.train.len(),
            validation: split.validation.len(),
            least: counts.least_points(data.validation_share),
            longest: reports.iter().map(|report| report.points).max().unwrap_or(0),
        });
    }
    let is_observed = |&point: &u32| (0..options.horizon).any(|h| counts.is_fresh(point as usize, h));
    if !split.validation.iter().any(is_observed) {
        let stale_after = humantime::format_duration(data.stale_after).to_string();
        return Err(Error::NothingObserved { windows: split.validation.len(), stale_after });
    }
    let mut pools = vec![Pool::of(series, data, &counts, &holdout)];
    let mut folds = Vec::new();
    if data.validation == Validation::Rolling {
        let n_splits = data.n_splits as usize;
        for k in 0..n_splits {
            // within what trains: the newest part stays unseen
            let rolling = |n: usize| Borders::rolling(holdout(n).validation, k, n_splits);
            let fold = counts.split(&rolling, None);
            if !fold.train.is_empty() && !fold.validation.is_empty() {
                folds.push(fold);
                pools.push(Pool::of(series, data, &counts, &rolling));
            }
        }
    }
    let mut remarks: Vec<String> = reports.iter().flat_map(|report| report.sentences(data)).collect();
    if split.validation.len() < FEW {
        remarks.push(format!(
            "only {} window(s) to judge on: what so few show may be luck; record longer, or raise `[data] validation_share`",
            split.validation.len()
        ));
    }
    for report in reports.iter().filter(|report| report.train + report.validation == 0) {
        let (id, points, least) = (&report.id, report.points, counts.plan.least_history());
        remarks.push(format!("video {id}: {points} grid points give no window (one needs {least} and its horizon)"));
    }
    Ok(Prepared { table: Table::Increment(counts), split, folds, pools, reports, remarks })
}

/// All windows whose origin is later than `after` (microseconds since 1970): they validate, and nothing trains.
pub fn unseen(series: &Series, data: &Settings, options: &Options, after: Option<i64>) -> Prepared {
    let (grid, reports) = grid::lay(series, data);
    let plan = Plan::new(data.grid.seconds().unwrap_or(1), options);
    let stale = u32::try_from(data.stale_after.as_secs()).unwrap_or(u32::MAX);
    let ranges = ranges(&grid);
    let counts = Counts { grid, plan, stale, ranges };
    let mut split = Split::default();
    for segment in &counts.grid.segments {
        let later = |&point: &usize| after.is_none_or(|after| counts.grid.time(segment, point) * 1_000_000 > after);
        let origins = counts.origins(&counts.grid, segment).filter(later);
        split.validation.extend(origins.map(|point| point as u32));
    }
    let remarks = reports.iter().flat_map(|report| report.sentences(data)).collect();
    let table = Table::Increment(counts);
    Prepared { table, split, folds: Vec::new(), pools: Vec::new(), reports, remarks }
}

fn ranges(grid: &Gridded) -> Vec<[f64; 3]> {
    let mut ends = vec![([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]); grid.ids.len()];
    for segment in &grid.segments {
        let (low, high) = &mut ends[segment.video];
        for k in 0..3 {
            for &count in &grid.counts[k][segment.points.clone()] {
                low[k] = low[k].min(count);
                high[k] = high[k].max(count);
            }
        }
    }
    ends.iter().map(|(low, high)| [0, 1, 2].map(|k| (high[k] - low[k]).max(1.0))).collect()
}

impl Counts {
    /// Where is looked, and what is forecast.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The counts on the grid.
    pub fn grid(&self) -> &Gridded {
        &self.grid
    }

    /// Windows of `target` that end at these points, as the network takes them.
    pub fn batch(&self, target: Target, points: &[u32]) -> Batch {
        let mut batch = Batch::default();
        for &point in points {
            let before = Before::at(&self.grid, target.index(), point as usize);
            let seen = features::look(&before, &self.plan);
            features::sequence(&before, &self.plan, seen.pace, &mut batch.sequence);
            batch.statics.extend(seen.statics);
            batch.candidates.extend(seen.candidates);
            batch.paces.push(seen.pace);
        }
        batch
    }

    /// Points a series needs for both sides of the split.
    fn least_points(&self, share: f64) -> usize {
        let plan = &self.plan;
        let before = (plan.least_history() + plan.sequence + 2 * plan.horizon) as f64 / (1.0 - share);
        let after = (plan.horizon + 1) as f64 / share;
        before.max(after).ceil() as usize
    }

    fn split(&self, borders: &impl Fn(usize) -> Borders, mut reports: Option<&mut Vec<VideoReport>>) -> Split {
        let mut split = Split::default();
        for extent in self.extents() {
            let borders = borders(extent.points);
            let before = (split.train.len(), split.validation.len());
            for segment in self.grid.segments.iter().filter(|segment| segment.video == extent.video) {
                for point in self.origins(&self.grid, segment) {
                    match extent.part(borders, self.grid.time(segment, point), &self.plan) {
                        Some(Part::Train) => split.train.push(point as u32),
                        Some(Part::Calibration) => {
                            split.validation.push(point as u32);
                            split.calibration.push(point as u32);
                        }
                        Some(Part::Validation) => split.validation.push(point as u32),
                        None => {}
                    }
                }
            }
            if let Some(reports) = &mut reports {
                reports[extent.video].train = split.train.len() - before.0;
                reports[extent.video].validation = split.validation.len() - before.1;
            }
        }
        split
    }

    /// The points of each video that has some.
    fn extents(&self) -> Vec<Extent<'_>> {
        let of = |segments: &'_ [Segment]| -> usize { segments.iter().map(|segment| segment.points.len()).sum() };
        let videos = self.grid.segments.chunk_by(|a, b| a.video == b.video);
        videos.map(|segments| Extent { video: segments[0].video, segments, points: of(segments) }).collect()
    }

    /// Points of a segment that a window may end at: a day before them, the whole horizon after them, a fresh count.
    fn origins<'a>(&self, grid: &'a Gridded, segment: &Segment) -> impl Iterator<Item = usize> + use<'a> {
        let first = segment.points.start + self.plan.least_history() - 1;
        let last = segment.points.end.saturating_sub(self.plan.horizon);
        let stale = self.stale;
        (first..last).filter(move |&point| grid.age[point] <= stale)
    }

    pub(super) fn count(&self, target: Target, point: usize) -> f64 {
        self.grid.counts[target.index()][point]
    }

    pub(super) fn count_before(&self, target: Target, point: usize, lag: usize) -> Option<f64> {
        let first = self.grid.segment_of(point).points.start;
        point.checked_sub(lag).filter(|&past| past >= first).map(|past| self.count(target, past))
    }

    /// Whether the count `h + 1` steps after `point` was observed about then.
    pub(super) fn is_fresh(&self, point: usize, h: usize) -> bool {
        self.grid.age[point + h + 1] <= self.stale
    }

    pub(super) fn video(&self, point: usize) -> usize {
        self.grid.segment_of(point).video
    }

    pub(super) fn range(&self, target: Target, point: usize) -> f64 {
        self.ranges[self.video(point)][target.index()]
    }

    /// Growth of the last step before `point`, divided by the pace of its last day.
    pub(super) fn increment(&self, target: Target, point: usize) -> f64 {
        let before = Before::at(&self.grid, target.index(), point);
        (before.count(0) - before.count(1)) / features::pace(&before, &self.plan, 1)
    }
}

/// One video's time, as the points that there are: a collector that stood still for months takes no share of them.
struct Extent<'a> {
    video: usize,
    segments: &'a [Segment],
    points: usize,
}

impl Extent<'_> {
    fn part(&self, borders: Borders, time: i64, plan: &Plan) -> Option<Part> {
        borders.part(self.offset(time, plan.step), plan.horizon, plan.sequence + plan.horizon)
    }

    /// Points before a time, which may lie on a shifted grid.
    fn offset(&self, time: i64, step: i64) -> usize {
        let begun = self.segments.iter().take_while(|segment| segment.first <= time);
        begun.map(|segment| (((time - segment.first) / step) as usize).min(segment.points.len())).sum()
    }
}

/// The growth that a network's outputs stand for, `[horizon]`. Unit: counts.
///
/// Shapes: `outputs` `[horizon, candidates + 1]`, `candidates` `[horizon, candidates]`.
pub fn growth(outputs: &[f32], candidates: &[f64]) -> Vec<f64> {
    let pairs = outputs.chunks(CANDIDATES + 1).zip(candidates.chunks(CANDIDATES));
    pairs.map(|(outputs, candidates)| features::mix(outputs, candidates)).collect()
}
