//! Forecasts that would have been made: every grid time of given series, each from what was known then.

use super::counts::time;
use super::{Champion, Predictions, open};
use crate::data::{Series, Target};
use crate::run::{Context, Error};
use chrono::SecondsFormat;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// What a backtest wrote.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Backtested {
    /// Lines written: forecasts of a target at a time for a horizon.
    pub forecasts: usize,
    /// Times they were made at.
    pub origins: usize,
    /// What could not be forecast, and why.
    pub impossible: Vec<super::Impossible>,
}

/// Writes `video_id,origin,horizon,target,forecast` for every grid time with a day of history and a fresh count.
///
/// Nothing later than an origin reaches its forecast. Whether the version was trained on some of these rows is for the
/// caller to know: `metadata.json` says until when.
pub async fn backtest(
    context: &Context,
    targets: &[Target],
    series: &Series,
    horizons: &[usize],
    mut out: impl Write,
) -> Result<Backtested, Error> {
    let mut found = Predictions::default();
    let champions = open(context, targets, &mut found).await?;
    let mut done = Backtested::default();
    let written = |source: io::Error| Error::Backtest { source };
    writeln!(out, "video_id,origin,horizon,target,forecast").map_err(written)?;
    for champion in champions {
        let target = champion.target();
        let Champion::Counts(mut champion) = champion else {
            let reason = "its champion is of recipe `level`, which forecasts rows and no times; train one of \
                          `increment` and promote it"
                .to_owned();
            found.impossible.push(super::Impossible { target, video_id: None, reason });
            continue;
        };
        let grid = champion.lay(series);
        let points = champion.origins(&grid);
        let mut refuse = |video_id: Option<String>, reason: String| {
            found.impossible.push(super::Impossible { target, video_id, reason });
        };
        let with_origins: BTreeSet<usize> = points.iter().map(|&point| grid.segment_of(point).video).collect();
        for (_, id) in grid.ids.iter().enumerate().filter(|(place, _)| !with_origins.contains(place)) {
            refuse(Some(id.clone()), champion.no_origin());
        }
        if !horizons.is_empty() && !horizons.iter().any(|h| (1..=champion.horizon).contains(h)) {
            let (version, most) = (champion.version, champion.horizon);
            refuse(
                None,
                format!("{version} in service forecasts 1 to {most} step(s) ahead, and none of these was asked for"),
            );
        }
        let said = champion.ask(&grid, &points)?;
        done.origins += points.len();
        for (k, &point) in points.iter().enumerate() {
            let segment = grid.segment_of(point);
            let origin = time(grid.time(segment, point)).to_rfc3339_opts(SecondsFormat::Secs, true);
            let id = &grid.ids[segment.video];
            for h in (0..champion.horizon).filter(|h| horizons.is_empty() || horizons.contains(&(h + 1))) {
                let forecast = said.values[k * champion.horizon + h];
                writeln!(out, "{},{origin},{},{target},{forecast}", quoted(id), h + 1).map_err(written)?;
                done.forecasts += 1;
            }
        }
    }
    out.flush().map_err(written)?;
    done.impossible = found.impossible;
    Ok(done)
}

/// An id as CSV: in quotes where it has a comma, a quote or a line break.
fn quoted(id: &str) -> String {
    if id.contains([',', '"', '\n', '\r']) { format!("\"{}\"", id.replace('"', "\"\"")) } else { id.to_owned() }
}
