//! The windows that train: those of views, likes and comments of all videos together, on several shifted grids.

use super::features;
use super::plan::{CANDIDATES, Plan, SEQUENCE_WIDTH};
use super::{Before, Counts};
use crate::data::Series;
use crate::grid::{self, Gridded, Segment, Settings};
use crate::recipe::split::{Borders, Part};

/// Windows that train at most: more change the few parameters of the network by little, and the time by much.
const MOST: usize = 40_000;
/// Grids that are laid, each a sixth of a step later: a series looks a little different on each.
const GRIDS: i64 = 6;
/// Points on each side over which the error of naive forecasts is averaged, in days.
const AROUND_DAYS: usize = 2;
/// Added to that error, so that series which stand still do not weigh without bound. Unit: counts.
const LEAST_ERROR: f64 = 0.25;

/// Examples in columns; see [`super::Batch`] for what is in them. `n` of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Number of examples.
    pub n: usize,
    /// Steps of a sequence.
    pub steps: usize,
    /// Steps forecast.
    pub horizon: usize,
    /// `[n, steps, 3]`
    pub sequence: Vec<f32>,
    /// Standardised, `[n, statics]`.
    pub statics: Vec<f32>,
    /// Candidate growths, `[n, horizon, candidates]`, in units.
    pub candidates: Vec<f32>,
    /// Growth that came true, `[n, horizon]`, in units.
    pub truth: Vec<f32>,
    /// One count in units, `[n, horizon]`: a unit is the pace of the last day, times the steps of the horizon.
    pub count: Vec<f32>,
    /// What an error of a unit weighs, `[n, horizon]`; 0 where the truth was not observed.
    pub weight: Vec<f32>,
    /// What was taken from the features of windows to standardise them, `[statics]`.
    pub mean: Vec<f32>,
    /// What they were divided by then.
    pub deviation: Vec<f32>,
}

impl Pool {
    /// Examples from all series whose truth lies before what validates.
    pub(super) fn of(series: &Series, data: &Settings, counts: &Counts, borders: &impl Fn(usize) -> Borders) -> Self {
        let plan = &counts.plan;
        let shifts = (0..GRIDS).map(|k| k * plan.step / GRIDS);
        let grids: Vec<Gridded> = shifts.map(|shift| grid::lay_shifted(series, data, shift).0).collect();
        let extents = counts.extents();
        let training = |grid: &Gridded, segment: &Segment| -> Vec<usize> {
            let Some(extent) = extents.iter().find(|extent| extent.video == segment.video) else { return Vec::new() };
            let borders = borders(extent.points);
            let trains = |&point: &usize| {
                let part = extent.part(borders, grid.time(segment, point), plan);
                part == Some(Part::Train)
            };
            counts.origins(grid, segment).filter(trains).collect()
        };
        let all: usize =
            grids.iter().flat_map(|g| g.segments.iter().map(|segment| 3 * training(g, segment).len())).sum();
        let stride = all.div_ceil(MOST).max(1);
        let mut pool = Self { steps: plan.sequence, horizon: plan.horizon, ..Self::default() };
        let mut place = 0;
        for grid in &grids {
            for segment in &grid.segments {
                let origins = training(grid, segment);
                for column in 0..3 {
                    let chosen: Vec<usize> = origins
                        .iter()
                        .copied()
                        .filter(|_| {
                            place += 1;
                            place % stride == 0
                        })
                        .collect();
                    pool.add(grid, column, &origins, &chosen, counts);
                }
            }
        }
        pool.standardise(plan.n_statics());
        pool
    }

    /// About `n` of the examples, evenly spread.
    #[must_use]
    pub fn sample(&self, n: usize) -> Self {
        let chosen: Vec<usize> = (0..self.n).step_by(self.n.div_ceil(n).max(1)).collect();
        let pick = |from: &[f32]| -> Vec<f32> {
            let width = from.len() / self.n.max(1);
            chosen.iter().flat_map(|&k| from[k * width..(k + 1) * width].iter().copied()).collect()
        };
        Self {
            n: chosen.len(),
            steps: self.steps,
            horizon: self.horizon,
            sequence: pick(&self.sequence),
            statics: pick(&self.statics),
            candidates: pick(&self.candidates),
            truth: pick(&self.truth),
            count: pick(&self.count),
            weight: pick(&self.weight),
            mean: self.mean.clone(),
            deviation: self.deviation.clone(),
        }
    }

    /// Examples from validation windows, as many as are needed to watch a training; standardised like this pool.
    #[must_use]
    pub fn watched(&self, counts: &Counts, at: &[u32]) -> Self {
        const WATCHED: usize = 700;
        let stride = at.len().div_ceil(WATCHED).max(1);
        let chosen: Vec<usize> = at.iter().step_by(stride).map(|&point| point as usize).collect();
        let mut watched = Self { steps: self.steps, horizon: self.horizon, ..Self::default() };
        for points in chosen.chunk_by(|&a, &b| counts.grid.segment_of(a) == counts.grid.segment_of(b)) {
            (0..3).for_each(|column| watched.add(&counts.grid, column, points, points, counts));
        }
        watched.mean.clone_from(&self.mean);
        watched.deviation.clone_from(&self.deviation);
        standardise(&mut watched.statics, &self.mean, &self.deviation);
        watched
    }

    /// Adds the windows of one series that end at `chosen` points, which are among its `origins`.
    fn add(&mut self, grid: &Gridded, column: usize, origins: &[usize], chosen: &[usize], counts: &Counts) {
        let plan = &counts.plan;
        let errors: Vec<Vec<f64>> =
            (1..=plan.horizon).map(|h| naive_errors(grid, column, origins, chosen, h, counts)).collect();
        for (k, &point) in chosen.iter().enumerate() {
            let before = Before::at(grid, column, point);
            let seen = features::look(&before, plan);
            features::sequence(&before, plan, seen.pace, &mut self.sequence);
            self.statics.extend(seen.statics);
            for h in 1..=plan.horizon {
                let unit = seen.pace * h as f64;
                let candidates = &seen.candidates[(h - 1) * CANDIDATES..h * CANDIDATES];
                self.candidates.extend(candidates.iter().map(|growth| (growth / unit) as f32));
                let growth = grid.counts[column][point + h] - grid.counts[column][point];
                self.truth.push((growth / unit) as f32);
                self.count.push((1.0 / unit) as f32);
                let is_fresh = grid.age[point + h] <= counts.stale;
                let weight = unit / (errors[h - 1][k] + LEAST_ERROR);
                self.weight.push(if is_fresh { weight as f32 } else { 0.0 });
            }
            self.n += 1;
        }
        debug_assert_eq!(self.sequence.len(), self.n * self.steps * SEQUENCE_WIDTH);
    }

    fn standardise(&mut self, width: usize) {
        let n = self.n.max(1) as f64;
        let mut sums = vec![(0.0f64, 0.0f64); width];
        for row in self.statics.chunks(width) {
            for ((sum, squares), &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
                *squares += f64::from(value).powi(2);
            }
        }
        self.mean = sums.iter().map(|(sum, _)| (sum / n) as f32).collect();
        let deviation = |(sum, squares): &(f64, f64)| (squares / n - (sum / n).powi(2)).max(0.0).sqrt();
        // a feature that never differs says nothing, and is not to be divided by next to nothing
        self.deviation = sums.iter().map(deviation).map(|d| if d > 1e-4 { d as f32 } else { 1.0 }).collect();
        standardise(&mut self.statics, &self.mean, &self.deviation);
    }
}

/// Standardises features of windows, `[windows, statics]`; none goes beyond ± 4.
pub fn standardise(statics: &mut [f32], mean: &[f32], deviation: &[f32]) {
    for row in statics.chunks_mut(mean.len()) {
        for ((value, mean), deviation) in row.iter_mut().zip(mean).zip(deviation) {
            *value = ((*value - mean) / deviation).clamp(-4.0, 4.0);
        }
    }
}

/// Mean error of the best naive forecast around each chosen point, over origins that train. Unit: counts.
fn naive_errors(
    grid: &Gridded,
    column: usize,
    origins: &[usize],
    chosen: &[usize],
    h: usize,
    counts: &Counts,
) -> Vec<f64> {
    let Plan { day, .. } = counts.plan;
    let y = &grid.counts[column];
    let fresh: Vec<usize> = origins.iter().copied().filter(|&i| grid.age[i + h] <= counts.stale).collect();
    let mut sums = vec![[0.0f64; 4]];
    for &i in &fresh {
        let ahead = h as f64;
        let seasonal = if h <= day { y[i - day + h] - y[i - day] } else { ahead * (y[i] - y[i - day]) / day as f64 };
        let drift = ahead * (y[i] - y[i - 19.min(day)]) / 19.min(day) as f64;
        let growth = y[i + h] - y[i];
        let forecasts = [0.0, drift, ahead * (y[i] - y[i - day]) / day as f64, seasonal];
        let last = sums[sums.len() - 1];
        sums.push([0, 1, 2, 3].map(|k| last[k] + (forecasts[k] - growth).abs()));
    }
    let around = AROUND_DAYS * day;
    let error = |&point: &usize| {
        let from = fresh.partition_point(|&i| i + around < point);
        let to = fresh.partition_point(|&i| i <= point + around);
        let n = (to - from).max(1) as f64;
        (0..4).map(|k| (sums[to][k] - sums[from][k]) / n).fold(f64::INFINITY, f64::min)
    };
    chosen.iter().map(error).collect()
}
