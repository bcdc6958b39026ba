//! Forecasts of versions whose graph takes counts on a grid and gives counts.

use super::{Forecast, Impossible, Predictions, Unseen};
use crate::data::{Series, Target};
use crate::evaluate::{Ends, Forecasts, score};
use crate::grid::{self, Gridded, Settings};
use crate::recipe::{Options, unseen_increment};
use crate::registry::{Metadata, Version, file};
use crate::run::{Context, Error};
use crate::runtime::{CountForecasts, Input, Library, Session};
use chrono::{DateTime, TimeDelta, Utc};

/// A version in service, opened.
pub(in crate::run) struct CountsChampion {
    pub(super) target: Target,
    pub(super) version: Version,
    pub(super) horizon: usize,
    session: Session,
    data: Settings,
    /// Points the graph looks back on.
    history: usize,
}

impl CountsChampion {
    pub(super) fn open(context: &Context, library: Library, metadata: &Metadata) -> Result<Self, Error> {
        let Metadata { target, version, horizon, .. } = *metadata;
        let unusable = |reason: &str| Error::Unusable { target, version, reason: reason.to_owned() };
        let data =
            metadata.data.ok_or_else(|| unusable("its metadata.json does not say on which grid it forecasts"))?;
        if data.grid.seconds().is_none() {
            return Err(unusable("its metadata.json names no even grid"));
        }
        let model = context.registry.verified(metadata, target, version, file::MODEL)?;
        let session = Session::open(&library, &model, 1)?;
        let Input::Counts { history } = *session.input() else {
            return Err(unusable("its graph takes windows of features, not counts"));
        };
        Ok(Self { target, version, horizon, session, data, history })
    }

    /// Seconds between two points.
    pub(super) fn step(&self) -> i64 {
        self.data.grid.seconds().unwrap_or(1)
    }

    /// Points a video must have: a day of them. Before that, growth has no scale.
    fn least(&self) -> usize {
        (86_400 / self.step()) as usize + 1
    }

    /// Rows that reach back far enough where one comes a minute.
    pub(super) fn rows(&self) -> usize {
        (self.history as i64 * self.step() / 60) as usize + 2
    }

    /// Whether `rows` newest rows of each video are too few for the graph's history while there are older ones.
    pub(super) fn lacks(&self, series: &Series, rows: usize) -> bool {
        let needed = self.history as i64 * self.step() * 1_000_000;
        let span = |rows: &std::ops::Range<usize>| series.at[rows.end - 1] - series.at[rows.start];
        series.videos.iter().any(|video| video.rows.len() >= rows && span(&video.rows) < needed)
    }

    /// The rows on this version's grid.
    pub(super) fn lay(&self, series: &Series) -> Gridded {
        grid::lay(series, &self.data).0
    }

    /// Points at which forecasts can be made as in training: a day before them, a fresh count.
    pub(super) fn origins(&self, grid: &Gridded) -> Vec<usize> {
        let stale = u32::try_from(self.data.stale_after.as_secs()).unwrap_or(u32::MAX);
        let possible = |points: &std::ops::Range<usize>| points.start + self.least() - 1..points.end;
        let points = grid.segments.iter().flat_map(|segment| possible(&segment.points));
        points.filter(|&point| grid.age[point] <= stale).collect()
    }

    /// What the graph says at these points.
    pub(super) fn ask(&mut self, grid: &Gridded, points: &[usize]) -> Result<CountForecasts, Error> {
        let (history, column) = (self.history, self.target.index());
        Ok(self.session.forecast_counts(points.len(), |range| {
            let (mut counts, mut seen) = (Vec::with_capacity(range.len() * history), Vec::new());
            let of = |&point: &usize| grid.history(point, column, history, &mut counts, &mut seen);
            let times = points[range].iter().map(of).collect();
            (counts, seen, times)
        })?)
    }

    /// Scores of its forecasts from the grid times after `after`, and how far the growth it sees has drifted.
    pub(super) fn score_unseen(
        &mut self,
        metadata: &Metadata,
        series: &Series,
        after: Option<i64>,
    ) -> Result<Option<Unseen>, Error> {
        let options = Options { sequence: metadata.sequence_length, horizon: self.horizon, ..Options::default() };
        let prepared = unseen_increment(series, &self.data, &options, after);
        let windows = prepared.validation(self.target);
        if windows.is_empty() {
            return Ok(None);
        }
        let history = self.history;
        let said = self.session.forecast_counts(windows.len(), |range| windows.raw_batch(range, history))?;
        let outputs = windows.outputs();
        let judged = |counts: &[f64]| -> Vec<f64> {
            counts.iter().enumerate().map(|(k, count)| count / windows.range(k / outputs)).collect()
        };
        let values = judged(&said.values);
        let intervals = said.intervals.map(|(lower, upper)| (judged(&lower), judged(&upper)));
        let intervals = intervals.as_ref().map(|(lower, upper)| Ends { lower, upper, made_from: &[] });
        let scores = score(&prepared.train(self.target), &windows, Forecasts { values: &values, intervals });
        let drift = metadata.input_spread.as_ref().and_then(|then| then.drift(&windows.increments()));
        Ok(Some(Unseen { scores, drift, remarks: prepared.remarks.clone() }))
    }

    /// Adds forecasts for each video from its newest point, or why there are none.
    pub(super) fn forecast(&mut self, series: &Series, found: &mut Predictions) -> Result<(), Error> {
        let (grid, target) = (self.lay(series), self.target);
        let mut points = Vec::new();
        for (place, id) in grid.ids.iter().enumerate() {
            let newest = grid.segments.iter().rev().find(|segment| segment.video == place);
            let row = series.video(id).map_or(0, |video| series.at[video.rows.end - 1] / 1_000_000);
            // a row after a long gap that no grid time follows yet begins anew
            let newest = newest.filter(|segment| row - grid.time(segment, segment.points.end - 1) <= self.step());
            let n = newest.map_or(0, |segment| segment.points.len());
            match newest.filter(|_| n >= self.least()) {
                Some(segment) => points.push(segment.points.end - 1),
                None => found.impossible.push(Impossible { target, video_id: Some(id.clone()), reason: self.short(n) }),
            }
        }
        let said = self.ask(&grid, &points)?;
        for (k, &point) in points.iter().enumerate() {
            let segment = grid.segment_of(point);
            let id = &grid.ids[segment.video];
            let based_on = time(grid.time(segment, point));
            for h in 0..self.horizon {
                let at = k * self.horizon + h;
                if !said.values[at].is_finite() {
                    let reason = format!("the model says {}, which is no count", said.values[at]);
                    found.impossible.push(Impossible { target, video_id: Some(id.clone()), reason });
                    break;
                }
                found.forecasts.push(Forecast {
                    video_id: id.clone(),
                    target,
                    version: self.version,
                    based_on,
                    horizon: h + 1,
                    forecast_for: based_on + TimeDelta::seconds(self.step() * (h as i64 + 1)),
                    last_value: grid.counts[target.index()][point],
                    forecast: said.values[at],
                    lower: said.intervals.as_ref().map(|(lower, _)| lower[at]),
                    upper: said.intervals.as_ref().map(|(_, upper)| upper[at]),
                });
            }
        }
        Ok(())
    }

    /// Why there is no point that a backtest could forecast from.
    pub(super) fn no_origin(&self) -> String {
        format!(
            "no point on the grid of {} has a day of points before it and a row within {} of it",
            self.data.grid,
            humantime::format_duration(self.data.stale_after)
        )
    }

    /// Why `n` points are too few.
    fn short(&self, n: usize) -> String {
        format!(
            "{n} points on the grid of {} since its last gap above {}, and a forecast needs a day of them, {}; it can be \
             forecast once there are more",
            self.data.grid,
            humantime::format_duration(self.data.longest_gap),
            self.least()
        )
    }
}

/// A grid time.
pub(super) fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}
