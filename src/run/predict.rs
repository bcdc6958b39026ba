//! Forecasts of the champions: verify, load, read the newest rows, run through ONNX Runtime, back to counts.

use super::{Context, Error, verified};
use crate::data::{Series, Target, Video};
use crate::recipe::{FEATURES, Recipe, STEPS, Scalers, scale_window};
use crate::registry::{self, Version, file};
use crate::runtime::{self, Library, Session};
use crate::store::Prediction;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::ops::Range;

/// Forecasts, and what could not be forecast.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Predictions {
    /// By target, then by video.
    pub forecasts: Vec<Forecast>,
    /// What is missing above, and why.
    pub impossible: Vec<Impossible>,
}

impl Predictions {
    /// What came of it, in a line, and what is missing.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        let made = format!("{} forecasts recorded", self.forecasts.len());
        let missing = self.impossible.iter().map(|impossible| {
            let video = impossible.video_id.as_deref().unwrap_or("every video");
            format!("no forecast of {} for {video}: {}", impossible.target, impossible.reason)
        });
        std::iter::once(made).chain(missing)
    }
}

/// The next count of one video.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Which.
    pub video_id: String,
    /// What.
    pub target: Target,
    /// The version that says so.
    pub version: Version,
    /// The time of the last recorded row.
    pub based_on: DateTime<Utc>,
    /// The time it speaks of: one step later, a step being the window's median interval.
    pub forecast_for: DateTime<Utc>,
    /// The last recorded count.
    pub last_value: f64,
    /// The count expected.
    pub forecast: f64,
}

/// Something that could not be forecast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Impossible {
    /// Of which target.
    pub target: Target,
    /// Of which video; none where it is the whole target.
    pub video_id: Option<String>,
    /// Why, and what would help.
    pub reason: String,
}

/// Forecasts `targets` for `videos` (all recorded ones where empty) and records the forecasts.
pub async fn predict(context: &Context, targets: &[Target], videos: &[String]) -> Result<Predictions, Error> {
    let mut found = Predictions::default();
    let probed = runtime::find(context.settings.onnxruntime.library.as_deref(), &context.program).await?;
    let library = Library::load(&probed)?;
    let mut champions = Vec::new();
    let mut first_error = None;
    for &target in targets {
        match Champion::open(context, library, target).await {
            Ok(champion) => champions.push(champion),
            // one version that cannot be used takes no other target's forecasts with it
            Err(error) => {
                found.impossible.push(Impossible { target, video_id: None, reason: super::chain(&error) });
                first_error.get_or_insert(error);
            }
        }
    }
    if let (true, Some(error)) = (champions.is_empty(), first_error) {
        return Err(error);
    }
    // one row more than a window: the growth rate of the window's first row may have to be computed
    let (series, _) = context.source().await?.tail(STEPS + 1, videos).await?;
    for mut champion in champions {
        forecast(&mut champion, &series, videos, context.settings.predict.longest_gap, &mut found)?;
    }
    let made_at = Utc::now();
    let rows: Vec<Prediction> = found.forecasts.iter().map(|f| f.row(made_at)).collect();
    context.store.save_predictions(&rows).await?;
    Ok(found)
}

/// Forecasts one target: for each video a forecast, or why there is none.
fn forecast(
    champion: &mut Champion,
    series: &Series,
    videos: &[String],
    longest_gap: std::time::Duration,
    found: &mut Predictions,
) -> Result<(), Error> {
    let target = champion.target;
    let impossible = |video: &str, reason: String| Impossible { target, video_id: Some(video.to_owned()), reason };
    if series.is_empty() && videos.is_empty() {
        let reason = "the data table has no rows; fill it with `retraind import FILE.csv…`".to_owned();
        found.impossible.push(Impossible { target, video_id: None, reason });
    }
    for id in videos.iter().filter(|id| series.video(id).is_none()) {
        let reason = "no row of it is recorded; check the id, or import its history";
        found.impossible.push(impossible(id, reason.to_owned()));
    }
    let mut possible = Vec::new();
    let mut windows = Vec::new();
    for video in &series.videos {
        match champion.window(series, video, longest_gap) {
            Ok((rows, window)) => {
                possible.push((video, rows));
                windows.extend(window);
            }
            Err(reason) => found.impossible.push(impossible(&video.id, reason)),
        }
    }
    let width = STEPS * FEATURES.len();
    let scaled =
        champion.session.forecast(possible.len(), |range| windows[range.start * width..range.end * width].to_vec())?;
    for ((video, rows), scaled) in possible.into_iter().zip(scaled) {
        match champion.count(series, video, rows, scaled) {
            Ok(forecast) => found.forecasts.push(forecast),
            Err(reason) => found.impossible.push(impossible(&video.id, reason)),
        }
    }
    Ok(())
}

/// A version in service, opened.
pub(super) struct Champion {
    target: Target,
    version: Version,
    pub(super) recipe: Recipe,
    pub(super) session: Session,
    pub(super) scalers: Scalers,
}

impl Champion {
    pub(super) async fn open(context: &Context, library: Library, target: Target) -> Result<Self, Error> {
        let registry = &context.registry;
        let version = registry.champion(target)?.ok_or(Error::NoChampion { target })?;
        let unusable = |reason: String| Error::Unusable { target, version, reason };
        // checksums first: ONNX Runtime is not to see a damaged file
        let metadata = verified(context, target, version).await?;
        if metadata.recipe != Recipe::Level.to_string() {
            return Err(unusable(format!("this program does not know its recipe `{}`", metadata.recipe)));
        }
        let model = registry.verified(&metadata, target, version, file::MODEL)?;
        let scalers = registry.verified(&metadata, target, version, file::SCALER)?;
        let scalers = serde_json::from_slice(&scalers).map_err(|e| registry::Error::Damaged {
            path: registry.path(target, version).join(file::SCALER),
            target,
            problem: e.to_string(),
        })?;
        let session = Session::open(&library, &model, 1)?;
        if session.window() != (STEPS, FEATURES.len()) {
            return Err(unusable(format!("its window is {:?}, not {:?}", session.window(), (STEPS, FEATURES.len()))));
        }
        Ok(Self { target, version, recipe: Recipe::Level, session, scalers })
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
            forecast_for: based_on + TimeDelta::microseconds(intervals[intervals.len() / 2]),
            last_value: series.counts[self.target.index()][last],
            // counts are never below zero, whatever a network says
            forecast: scaler.unscale(self.target.index(), scaled).max(0.0),
        })
    }
}

impl Forecast {
    fn row(&self, made_at: DateTime<Utc>) -> Prediction {
        Prediction {
            made_at,
            target: self.target.to_string(),
            version: self.version.to_string(),
            video_id: self.video_id.clone(),
            based_on: self.based_on,
            forecast_for: self.forecast_for,
            last_value: self.last_value,
            forecast: self.forecast,
        }
    }
}

fn hours(micros: i64) -> String {
    format!("{:.1} h", micros as f64 / 3.6e9)
}
