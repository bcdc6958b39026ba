//! What a run came to, as tables and sentences.

use super::output::{Column, Output, number, skill, text};
use crate::evaluate::{Errors, Naive, Scores, figure, mase_and_coverage, naive_sentence};
use crate::registry::{Importance, Member, Rolling};
use crate::run::{Made, RunReport, TargetReport};
use crate::store;

const COLUMNS: [Column; 11] = [
    text("target"),
    number("epochs"),
    number("MAE"),
    number("MSE"),
    number("MAE last value"),
    number("MAE drift"),
    number("MAE seasonal"),
    number("skill"),
    text("verdict"),
    text("version"),
    number("seconds"),
];

/// What a run came to, as a table and sentences.
pub(super) fn summary(report: &RunReport, output: Output) -> std::io::Result<()> {
    let cell = |value: Option<String>| value.unwrap_or_default();
    let rows: Vec<Vec<String>> = report
        .targets
        .iter()
        .map(|target| {
            let (row, scores) = (&target.row, Shown::of(target));
            let verdict = row.verdict.clone().unwrap_or_else(|| row.state.to_string());
            vec![
                row.target.clone(),
                cell(row.epochs.map(|n| n.to_string())),
                cell(scores.map(|s| figure(s.mae))),
                cell(scores.map(|s| figure(s.mse))),
                cell(scores.and_then(|s| s.naive[0]).map(figure)),
                cell(scores.and_then(|s| s.naive[1]).map(figure)),
                cell(scores.and_then(|s| s.naive[2]).map(figure)),
                cell(scores.map(|s| skill(s.skill))),
                verdict,
                cell(row.version.clone()),
                cell(row.seconds.map(|s| format!("{s:.1}"))),
            ]
        })
        .collect();
    output.table(&COLUMNS, &rows)?;
    for target in &report.targets {
        let (row, name) = (&target.row, &target.row.target);
        if target.evaluation.is_some() {
            output.line(&format!("{name}: {}", row.reasons.join("; ")))?;
        } else if row.verdict.as_deref() == Some("rejected") {
            let failed: Vec<&str> = target.rules.iter().filter(|r| !r.passed).map(|r| r.reason.as_str()).collect();
            let stays = target
                .parent_champion
                .map_or("no version is in service".to_owned(), |champion| format!("{champion} stays in service"));
            output.line(&format!("{name}: rejected: {}; {stays}", failed.join("; ")))?;
        }
        let champion = target.rules.iter().find(|rule| rule.rule == "better_than_champion" && rule.value.is_none());
        if let Some(rule) = champion.filter(|_| target.parent_champion.is_some()) {
            output.line(&format!("{name}: {}", rule.reason))?;
        }
        if let (true, Some(version)) = (target.promoted, &row.version) {
            let place = target.parent_champion.map_or_else(String::new, |parent| format!(", in the place of {parent}"));
            output.line(&format!("{name}: {version} went into service{place}"))?;
        }
        if let Some(error) = &row.error {
            output.line(&format!("{name}: {error}"))?;
        }
        if let Some(scores) = target.metrics.as_ref().filter(|s| s.skill.is_some_and(|skill| skill <= 0.0)) {
            output.line(&format!("{name}: {}", useless(scores)))?;
        }
    }
    Ok(())
}

/// All that was measured of a run's versions.
pub(super) fn details(report: &RunReport, output: Output) -> std::io::Result<()> {
    for target in &report.targets {
        let lines: Vec<String> = match (&target.metrics, &target.evaluation) {
            (Some(scores), _) => {
                let made = target.made.iter().flat_map(of_made);
                scores.sentences().into_iter().chain(made).collect()
            }
            (None, Some(found)) => of_evaluation(found),
            (None, None) => Vec::new(),
        };
        if lines.is_empty() {
            continue;
        }
        let kind = target.made.as_ref().map_or_else(String::new, |made| format!(", {}", made.model_type));
        output.line(&format!("\n{}{kind}", target.row.target))?;
        lines.iter().try_for_each(|line| output.line(&format!("  {line}")))?;
    }
    Ok(())
}

/// What a version is made of, a line a matter.
fn of_made(made: &Made) -> Vec<String> {
    /// Features shown; the metadata has all.
    const SHOWN: usize = 5;
    let member =
        |one: &Member| format!("seed {} {}, the mean so far {}", one.seed, figure(one.mae), figure(one.mae_so_far));
    let mut out = Vec::new();
    if !made.members.is_empty() {
        out.push(format!("members' MAE: {}", made.members.iter().map(member).collect::<Vec<_>>().join("; ")));
    }
    if let Some(Rolling { mae, mae_mean, mae_std, skill_mean, .. }) = &made.rolling {
        let skill = skill_mean.map_or_else(String::new, |mean| format!(", skill {mean:.3}"));
        let (n, mean, std) = (mae.len(), figure(*mae_mean), figure(*mae_std));
        out.push(format!("rolling validation: MAE {mean} ± {std} over {n} splits{skill}"));
    }
    let feature =
        |one: &Importance| format!("{} {} ± {}", one.feature, figure(one.mae_increase), figure(one.deviation));
    if !made.importance.is_empty() {
        let shown: Vec<String> = made.importance.iter().take(SHOWN).map(feature).collect();
        let rest = made.importance.len().saturating_sub(SHOWN);
        let rest = if rest > 0 { format!("; {rest} more in metadata.json and importance.svg") } else { String::new() };
        out.push(format!("MAE grows without: {}{rest}", shown.join(", ")));
    }
    out
}

/// What an evaluation measured, a line a matter.
fn of_evaluation(found: &store::Metrics) -> Vec<String> {
    let naive = [
        (Naive::LastValue, found.mae_last_value),
        (Naive::Drift, found.mae_drift),
        (Naive::DriftDay, found.mae_drift_day),
        (Naive::SeasonalDrift, found.mae_seasonal),
    ];
    let naive = naive_sentence(naive.into_iter().filter_map(|(naive, mae)| Some((naive, mae?))));
    let share = |share| format!("every naive forecast is beaten in {:.0} % of series and steps", share * 100.0);
    let drift = found.input_psi.map(|psi| format!("PSI of the growth seen {psi:.3}"));
    let more =
        found.share_beaten.map(share).into_iter().chain(mase_and_coverage(found.mase, found.coverage)).chain(drift);
    let more = more.collect::<Vec<_>>().join(", ");
    let points = format!("{} points", found.n_points);
    [points, naive, more].into_iter().filter(|l| !l.is_empty()).collect()
}

/// What the table shows of what was figured, by the run that made a version or by an evaluation.
#[derive(Clone, Copy)]
struct Shown {
    mae: f64,
    mse: f64,
    /// Last value, drift, seasonal drift.
    naive: [Option<f64>; 3],
    skill: Option<f64>,
}

impl Shown {
    fn of(target: &TargetReport) -> Option<Self> {
        if let Some(scores) = &target.metrics {
            let naive = [Naive::LastValue, Naive::Drift, Naive::SeasonalDrift]
                .map(|which| scores.naive.get(&which).map(|naive| naive.scaled.mae));
            let Errors { mae, mse, .. } = scores.own.scaled;
            return Some(Self { mae, mse, naive, skill: scores.skill });
        }
        let found = target.evaluation.as_ref()?;
        let naive = [found.mae_last_value, found.mae_drift, found.mae_seasonal];
        Some(Self { mae: found.mae, mse: found.mse, naive, skill: found.skill })
    }
}

fn useless(scores: &Scores) -> String {
    let best = scores.naive.iter().min_by(|a, b| a.1.scaled.mae.total_cmp(&b.1.scaled.mae));
    let name = best.map_or_else(String::new, |(naive, _)| naive.to_string());
    format!("{name} forecasts these points at least as well (skill at or below 0)")
}
