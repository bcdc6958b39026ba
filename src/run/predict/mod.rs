//! Forecasts of the champions: verify, load, read the newest rows, run through ONNX Runtime, back to counts.
//!
//! A file a recipe: [`level`] gives the graph scaled windows, [`counts`] gives it counts on a grid.

mod backtest;
mod counts;
mod level;

pub use backtest::{Backtested, backtest};

use super::{Context, Error, verified};
use crate::data::{Series, Target};
use crate::evaluate::Scores;
use crate::recipe::{Drift, Recipe};
use crate::registry::{Metadata, Version};
use crate::runtime::{self, Library};
use crate::store::Prediction;
use chrono::{DateTime, Utc};
use counts::CountsChampion;
use level::LevelChampion;
use serde::Serialize;

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

/// A count of one video to come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Which.
    pub video_id: String,
    /// What.
    pub target: Target,
    /// The version that says so.
    pub version: Version,
    /// The time of the last recorded row, or of the last grid point.
    pub based_on: DateTime<Utc>,
    /// Steps ahead.
    pub horizon: usize,
    /// The time it speaks of: so many steps later, a step being the grid's, or the window's median interval.
    pub forecast_for: DateTime<Utc>,
    /// The last recorded count.
    pub last_value: f64,
    /// The count expected.
    pub forecast: f64,
    /// Lower end of its interval; none where the version gives none.
    pub lower: Option<f64>,
    /// Upper end of its interval.
    pub upper: Option<f64>,
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
    let champions = open(context, targets, &mut found).await?;
    let rows = champions.iter().map(Champion::rows).max().unwrap_or(0);
    let series = newest(context, rows, &champions, videos).await?;
    for mut champion in champions {
        forecast(&mut champion, &series, videos, context.settings.predict.longest_gap, &mut found)?;
    }
    let made_at = Utc::now();
    let rows: Vec<Prediction> = found.forecasts.iter().map(|f| f.row(made_at)).collect();
    context.store.save_predictions(&rows).await?;
    Ok(found)
}

/// A version in service, opened; one variant a recipe.
pub(super) enum Champion {
    Level(LevelChampion),
    Counts(CountsChampion),
}

impl Champion {
    fn target(&self) -> Target {
        match self {
            Self::Level(champion) => champion.target,
            Self::Counts(champion) => champion.target,
        }
    }

    /// Rows of a video that are surely enough where one comes a minute.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Level(champion) => champion.rows(),
            Self::Counts(champion) => champion.rows(),
        }
    }
}

/// Scores of a version on rows after those that it was trained on, and how far what it sees has drifted.
pub(super) struct Unseen {
    pub(super) scores: Scores,
    pub(super) drift: Option<Drift>,
    pub(super) remarks: Vec<String>,
}

impl Champion {
    /// Scores it on the rows after `after`, microseconds since 1970. None: there are none.
    pub(super) fn score_unseen(
        &mut self,
        metadata: &Metadata,
        series: &Series,
        after: Option<i64>,
    ) -> Result<Option<Unseen>, Error> {
        match self {
            Self::Level(champion) => champion.score_unseen(series, after),
            Self::Counts(champion) => champion.score_unseen(metadata, series, after),
        }
    }
}

/// Opens the champions. Err: none of them can be used; what is wrong with some of them is added to `found`.
async fn open(context: &Context, targets: &[Target], found: &mut Predictions) -> Result<Vec<Champion>, Error> {
    let library = runtime::open(context.settings.onnxruntime.library.as_deref(), &context.program).await?;
    let mut champions = Vec::new();
    let mut first_error = None;
    for &target in targets {
        match open_one(context, library, target).await {
            Ok(champion) => champions.push(champion),
            // one version that cannot be used takes no other target's forecasts with it
            Err(error) => {
                found.impossible.push(Impossible { target, video_id: None, reason: super::chain(&error) });
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if champions.is_empty() => Err(error),
        _ => Ok(champions),
    }
}

pub(super) async fn open_one(context: &Context, library: Library, target: Target) -> Result<Champion, Error> {
    let version = context.registry.champion(target)?.ok_or(Error::NoChampion { target })?;
    // checksums first: ONNX Runtime is not to see a damaged file
    let metadata = verified(context, target, version).await?;
    match Recipe::named(&metadata.recipe) {
        Some(Recipe::Level) => LevelChampion::open(context, library, &metadata).map(Champion::Level),
        Some(Recipe::Increment) => CountsChampion::open(context, library, &metadata).map(Champion::Counts),
        None => {
            let reason = format!("this program does not know its recipe `{}`", metadata.recipe);
            Err(Error::Unusable { target, version, reason })
        }
    }
}

/// The newest rows of each video: `rows` of them, or more where those do not reach back far enough.
async fn newest(
    context: &Context,
    mut rows: usize,
    champions: &[Champion],
    videos: &[String],
) -> Result<Series, Error> {
    /// Rows of one video that are read at most: a day at one a second, and some.
    const MOST: usize = 1 << 20;
    loop {
        let (series, _) = context.source().await?.tail(rows, videos).await?;
        let short = |champion: &Champion| match champion {
            Champion::Level(_) => false,
            Champion::Counts(champion) => champion.lacks(&series, rows),
        };
        if rows >= MOST || !champions.iter().any(short) {
            return Ok(series);
        }
        rows *= 8;
    }
}

/// Forecasts one target: for each video forecasts, or why there are none.
fn forecast(
    champion: &mut Champion,
    series: &Series,
    videos: &[String],
    longest_gap: std::time::Duration,
    found: &mut Predictions,
) -> Result<(), Error> {
    let target = champion.target();
    if series.is_empty() && videos.is_empty() {
        let reason = "the data table has no rows; fill it with `retraind import FILE.csv…`".to_owned();
        found.impossible.push(Impossible { target, video_id: None, reason });
    }
    for id in videos.iter().filter(|id| series.video(id).is_none()) {
        let reason = "no row of it is recorded; check the id, or import its history".to_owned();
        found.impossible.push(Impossible { target, video_id: Some(id.clone()), reason });
    }
    match champion {
        Champion::Level(champion) => champion.forecast(series, longest_gap, found),
        Champion::Counts(champion) => champion.forecast(series, found),
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
            lower: self.lower,
            upper: self.upper,
        }
    }
}
