//! Forecasts of versions of recipe `level`: a window of scaled features goes in, a scaled count comes out.

use super::{Forecast, Impossible, Predictions, Unseen};
use crate::data::{Series, Target, Video};
use crate::evaluate::{Forecasts, score};
use crate::recipe::{FEATURES, STEPS, Scalers, scale_window, unseen_level};
use crate::registry::{self, Metadata, Version, file};
use crate::run::{Context, Error};
use crate::runtime::{Input, Library, Session};
use chrono::{DateTime, TimeDelta};
use std::ops::Range;

/// A version in service, opened.
pub(in crate::run) struct LevelChampion {
    pub(super) target: Target,
    version: Version,
    session: Session,
    scalers: Scalers,
}

impl LevelChampion {
    pub(super) fn open(context: &Context, library: Library, metadata: &Metadata) -> Result<Self, Error> {
        let (registry, Metadata { target, version, .. }) = (&context.registry, metadata);
        let (target, version) = (*target, *version);
        let model = registry.verified(metadata, target, version, file::MODEL)?;
        let scalers = registry.verified(metadata, target, version, file::SCALER)?;
        let scalers = serde_json::from_slice(&scalers).map_err(|e| registry::Error::Damaged {
            path: registry.path(target, version).join(file::SCALER),
            target,
            problem: e.to_string(),
        })?;
        let session = Session::open(&library, &model, 1)?;
        let expected = Input::Windows { steps: STEPS, features: FEATURES.len() };
        if session.input() != &expected {
            let reason = format!("its input is {:?}, not {expected:?}", session.input());
            return Err(Error::Unusable { target, version, reason });
        }
        Ok(Self { target, version, session, scalers })
    }

    /// Scores of its forecasts of the rows after `after`.
    pub(super) fn score_unseen(&mut self, series: &Series, after: Option<i64>) -> Result<Option<Unseen>, Error> {
        let prepared = unseen_level(series, &self.scalers, after);
        let windows = prepared.validation(self.target);
        if windows.is_empty() {
            return Ok(None);
        }
        let forecasts = self.session.forecast(windows.len(), |range| windows.batch(range))?;
        let values: Vec<f64> = forecasts.into_iter().map(f64::from).collect();
        let scores = score(&prepared.train(self.target), &windows, Forecasts { values: &values, intervals: None });
        Ok(Some(Unseen { scores, drift: None, remarks: prepared.remarks.clone() }))
    }

    /// One row more than a window: the growth rate of the window's first row may have to be computed.
    #[expect(clippy::unused_self, reason = "as for the other recipes")]
    pub(super) fn rows(&self) -> usize {
        STEPS + 1
    }

    /// Adds a forecast for each video, or why there is none.
    pub(super) fn forecast(
        &mut self,
        series: &Series,
        longest_gap: std::time::Duration,
        found: &mut Predictions,
    ) -> Result<(), Error> {
        let target = self.target;
        let impossible = |video: &str, reason: String| Impossible { target, video_id: Some(video.to_owned()), reason };
        let mut possible = Vec::new();
        let mut windows = Vec::new();
        for video in &series.videos {
            match self.window(series, video, longest_gap) {
                Ok((rows, window)) => {
                    possible.push((video, rows));
                    windows.extend(window);
                }
                Err(reason) => found.impossible.push(impossible(&video.id, reason)),
            }
        }
        let width = STEPS * FEATURES.len();
        let scaled =
            self.session.forecast(possible.len(), |range| windows[range.start * width..range.end * width].to_vec())?;
        for ((video, rows), scaled) in possible.into_iter().zip(scaled) {
            match self.count(series, video, rows, scaled) {
                Ok(forecast) => found.forecasts.push(forecast),
                Err(reason) => found.impossible.push(impossible(&video.id, reason)),
            }
        }
        Ok(())
    }

    /// The rows of a video's newest window and the window itself. Err: why there is none.
    fn window(
        &self,
        series: &Series,
        video: &Video,
        longest_gap: std::time::Duration,
    ) -> Result<(Range<usize>, Vec<f32>), String> {
        let n = video.rows.len();
        if n < STEPS {
            return Err(format!(
                "{n} rows are recorded and a window is {STEPS}; it can be forecast once there are more"
            ));
        }
        let rows = video.rows.end - STEPS..video.rows.end;
        let Some(scaler) = self.scalers.of(&video.id) else {
            return Err(format!(
                "{} of {} was trained without this video and has no scaler for it; the next retrain takes it in",
                self.version, self.target
            ));
        };
        let gap = rows.clone().skip(1).map(|row| series.at[row] - series.at[row - 1]).max().unwrap_or(0);
        if u128::from(gap.unsigned_abs()) > longest_gap.as_micros() {
            return Err(format!(
                "its last {STEPS} rows have a gap of {}, and `[predict] longest_gap` is {}",
                hours(gap),
                hours(i64::try_from(longest_gap.as_micros()).unwrap_or(i64::MAX))
            ));
        }
        let window = scale_window(series, rows.clone(), scaler);
        Ok((rows, window))
    }

    /// The network's output as a count. Err: it is not one.
    fn count(&self, series: &Series, video: &Video, rows: Range<usize>, scaled: f32) -> Result<Forecast, String> {
        let Some(scaler) = self.scalers.of(&video.id).filter(|_| scaled.is_finite()) else {
            return Err(format!("the network says {scaled}, which is no count"));
        };
        let last = rows.end - 1;
        let mut intervals: Vec<i64> = rows.skip(1).map(|row| series.at[row] - series.at[row - 1]).collect();
        intervals.sort_unstable();
        let based_on = DateTime::from_timestamp_micros(series.at[last]).unwrap_or_default();
        Ok(Forecast {
            video_id: video.id.clone(),
            target: self.target,
            version: self.version,
            based_on,
            horizon: 1,
            forecast_for: based_on + TimeDelta::microseconds(intervals[intervals.len() / 2]),
            last_value: series.counts[self.target.index()][last],
            // counts are never below zero, whatever a network says
            forecast: scaler.unscale(self.target.index(), scaled).max(0.0),
            lower: None,
            upper: None,
        })
    }
}

fn hours(micros: i64) -> String {
    format!("{:.1} h", micros as f64 / 3.6e9)
}
