//! `retraind alerts`

use super::exit::{Failure, UNAVAILABLE};
use super::output::{Output, number, text, time};
use crate::alert::{self, Rule};
use crate::run::Context;
use crate::settings;
use crate::store::{Alert, AlertState, OutboxRow, OutboxState, Silence};
use chrono::Utc;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  retraind alerts
  retraind alerts silence training_longer_than --job weekly-retrain --for 2h
  retraind alerts test")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List what holds, what could not be delivered, and what is silenced
    List(ListArgs),
    /// Hear nothing of a rule for a while
    Silence(SilenceArgs),
    /// Send a test message every way there is, and tell whether it arrived
    Test,
}

#[derive(Debug, Default, clap::Args)]
struct ListArgs {
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SilenceArgs {
    /// Which rule, such as `training_longer_than`
    #[arg(value_parser = rule)]
    rule: Rule,
    /// Of this job only
    #[arg(long)]
    job: Option<String>,
    /// For how long, such as 2h
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse, required_unless_present = "end")]
    time: Option<Duration>,
    /// End the silence instead
    #[arg(long, conflicts_with = "time")]
    end: bool,
}

fn rule(word: &str) -> Result<Rule, String> {
    let known = || Rule::ALL.iter().map(|rule| rule.as_str()).collect::<Vec<_>>().join(", ");
    word.parse().map_err(|_| format!("there is no such rule; there is: {}", known()))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    alerts: Vec<Alert>,
    undelivered: Vec<OutboxRow>,
    silences: Vec<Silence>,
}

/// As many as anybody reads.
const SHOWN: u32 = 200;

pub(super) async fn alerts(args: &Args, config: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let settings = settings::load(config)?.settings;
    match &args.action {
        None => list(&ListArgs { all: false, json: args.json }, settings, output).await,
        Some(Action::List(list_args)) => {
            list(&ListArgs { json: args.json || list_args.json, ..*list_args }, settings, output).await
        }
        Some(Action::Silence(silence_args)) => silence(silence_args, settings, output).await,
        Some(Action::Test) => test(settings, output).await,
    }
}

async fn list(args: &ListArgs, settings: settings::Settings, output: Output) -> Result<ExitCode, Failure> {
    let report = match Context::open_existing(settings).await? {
        None => Report { alerts: Vec::new(), undelivered: Vec::new(), silences: Vec::new() },
        Some(context) => {
            let mut alerts = context.store.alerts(SHOWN).await?;
            alerts.retain(|alert| args.all || alert.state == AlertState::Firing);
            let undelivered = context.store.undelivered_messages().await?;
            Report { alerts, undelivered, silences: context.store.silences(Utc::now()).await? }
        }
    };
    if args.json {
        output.json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    if report.alerts.is_empty() {
        output.line(if args.all {
            "no alerts so far"
        } else {
            "no alerts; `retraind alerts list --all` shows old ones"
        })?;
    } else {
        let columns = [text("since"), text("state"), text("severity"), text("rule"), text("job"), text("what")];
        let rows: Vec<Vec<String>> = report.alerts.iter().map(row).collect();
        output.table(&columns, &rows)?;
    }
    for Silence { rule, job, until, .. } in &report.silences {
        let of = if job.is_empty() { "all jobs" } else { job };
        output.line(&format!("silenced: {rule} of {of} until {}", time(*until)))?;
    }
    if !report.undelivered.is_empty() {
        output.line("")?;
        let columns =
            [text("not delivered"), text("to"), number("attempts"), text("next"), text("subject"), text("why")];
        let rows: Vec<Vec<String>> = report.undelivered.iter().map(undelivered).collect();
        output.table(&columns, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(alert: &Alert) -> Vec<String> {
    let state = match alert.resolved_at {
        // it happened, and nothing goes on
        Some(_) if alert.rule.parse().is_ok_and(Rule::is_event) => "happened".to_owned(),
        Some(at) => format!("over {}", time(at)),
        None => alert.state.to_string(),
    };
    let target = if alert.target.is_empty() { String::new() } else { format!("{}: ", alert.target) };
    let run = alert.run_id.map_or_else(String::new, |run| format!(", run {run}"));
    vec![
        time(alert.first_seen),
        state,
        alert.severity.clone(),
        alert.rule.clone(),
        alert.job.clone(),
        format!("{target}{}{run}", alert.summary),
    ]
}

fn undelivered(row: &OutboxRow) -> Vec<String> {
    let next = if row.state == OutboxState::Pending { time(row.next_attempt_at) } else { "given up".to_owned() };
    vec![
        time(row.created_at),
        format!("{} {}", row.channel, row.address),
        row.attempts.to_string(),
        next,
        row.subject.clone(),
        row.last_error.clone().unwrap_or_default(),
    ]
}

async fn silence(args: &SilenceArgs, settings: settings::Settings, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings).await?;
    let (rule, job) = (args.rule.as_str(), args.job.as_deref().unwrap_or(""));
    let of = if job.is_empty() { "all jobs" } else { job };
    match args.time {
        Some(time_long) => {
            let until = Utc::now() + time_long;
            context.store.silence(rule, job, until).await?;
            output.line(&format!("{rule} of {of} is silenced until {}", time(until)))?;
        }
        None if context.store.end_silence(rule, job).await? == 0 => {
            output.line(&format!("{rule} of {of} was not silenced"))?;
        }
        None => output.line(&format!("{rule} of {of} is told again"))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(settings: settings::Settings, output: Output) -> Result<ExitCode, Failure> {
    let context = Context::open(settings).await?;
    let tried = alert::test(&context.store, &context.settings).await?;
    if tried.is_empty() {
        output
            .line("nobody would be told: set [smtp] host and to, [alerting.webhook] url or [alerting.command] run")?;
        return Ok(ExitCode::from(UNAVAILABLE));
    }
    let mut all = true;
    for (channel, address, outcome) in tried {
        match outcome {
            Ok(()) => output.line(&format!("delivered    {channel} {address}"))?,
            Err(why) => {
                all = false;
                output.line(&format!("NOT DELIVERED {channel} {address}: {why}"))?;
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(UNAVAILABLE) })
}
