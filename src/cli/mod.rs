//! The command line: argv goes in; a report on stdout, talk on stderr and an exit code come out.

mod alerts;
mod check;
mod daemon;
mod data;
mod demo;
mod doctor;
mod exit;
mod import;
mod jobs;
mod man;
mod models;
mod output;
mod plan;
mod predict;
mod probe;
mod progress;
mod run;
mod runs;
mod summary;
mod trigger;
mod worker;

use crate::logging::{self, Format};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand};
use exit::Failure;
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps forecasting models fresh: trains, judges, promotes and serves them on a training host.
#[derive(Debug, Parser)]
#[command(name = "retraind", version, after_help = exit::codes_text(), max_term_width = 110)]
pub(crate) struct Cli {
    /// Settings; else `$RETRAIND_CONFIG`, /etc/retraind/retraind.toml, ./retraind.toml, or the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell more on stderr; twice for every detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Tell errors only; no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Never use colours (as does the environment variable `NO_COLOR`)
    #[arg(long, global = true)]
    no_color: bool,
    /// How to write the log; else `$RETRAIND_LOG_FORMAT`, else journal under systemd and text elsewhere
    #[arg(long, global = true, value_name = "FORM",
        value_parser = PossibleValuesParser::new(Format::WORDS).try_map(|word| word.parse::<Format>()))]
    log_format: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find every problem in the settings and job files, and show the next fire times
    Check(check::Args),
    /// Schedule the jobs until a signal says stop: what the systemd unit starts
    Daemon(daemon::Args),
    /// List the jobs: triggers, next start, last run
    #[command(visible_alias = "status")]
    Jobs(jobs::ListArgs),
    /// Ask the daemon to run a job now
    Trigger(trigger::Args),
    /// Let a job's triggers start nothing until it is resumed
    Pause(jobs::PauseArgs),
    /// Let a paused job's triggers start runs again
    Resume(jobs::ResumeArgs),
    /// Run a job now, in the foreground
    Run(run::Args),
    /// Show what a job would train on: rows, gaps, repairs and windows of each video
    Data(data::Args),
    /// List the runs, newest first
    Runs(runs::ListArgs),
    /// Show one run
    Show(runs::ShowArgs),
    /// End a run that is under way
    Cancel(runs::CancelArgs),
    /// List the versions in the registry, and which of them are in service
    Models(models::ListArgs),
    /// Bring a version into service
    Promote(models::PromoteArgs),
    /// Bring the version before the present one back into service
    Rollback(models::RollbackArgs),
    /// List alerts and messages not delivered yet; silence a rule; test whether alerts arrive
    Alerts(alerts::Args),
    /// Forecast the next counts with the versions in service
    Predict(predict::Args),
    /// Import recorded counts from CSV files
    Import(import::Args),
    /// Tell what this host has and lacks
    Doctor(doctor::Args),
    /// Try all of it on sample data, in one directory
    Demo(demo::Args),
    /// Write the manual pages into a directory
    Man(man::ManArgs),
    /// Print completions for a shell
    Completions(man::CompletionsArgs),
    /// Work on one attempt of a run; the daemon starts it
    #[command(hide = true)]
    Worker(worker::Args),
    /// Load the ONNX Runtime library of that path and print its version
    #[command(hide = true)]
    ProbeOnnxruntime(probe::Args),
}

/// Everything from argv to the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = match start_log(&cli, Output::new(cli.no_color, cli.quiet)) {
        Ok(output) => output,
        Err(code) => return code,
    };
    // the probe must not start threads before it loads a library that may be broken
    if let Command::ProbeOnnxruntime(args) = &cli.command {
        return probe::probe(args);
    }
    let mut builder = match &cli.command {
        // it waits for years and computes nothing: with one thread nothing has to wake another
        Command::Daemon(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(output, &Failure::Os { doing: "start its threads", source: error }),
    };
    let result = runtime.block_on(dispatch(cli, output));
    // a training thread that was told to stop needs no one to wait for it
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(failure) => exit::report(output, &failure),
    }
}

async fn dispatch(cli: Cli, output: Output) -> Result<ExitCode, Failure> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Check(args) => match &args.plan {
            Some(job) => plan::plan(job, &args, config, output).await,
            None => check::check(&args, config, output),
        },
        Command::Daemon(_) => daemon::daemon(config).await,
        Command::Jobs(args) => jobs::list(&args, config, output).await,
        Command::Trigger(args) => trigger::trigger(&args, config, output).await,
        Command::Pause(args) => jobs::pause(&args, config, output).await,
        Command::Resume(args) => jobs::resume(&args, config, output).await,
        Command::Worker(args) => worker::worker(&args).await,
        // boxed: what a run holds across its waits is large
        Command::Run(args) => Box::pin(run::run(&args, config, output)).await,
        Command::Data(args) => data::data(&args, config, output).await,
        Command::Runs(args) => runs::list(&args, config, output).await,
        Command::Show(args) => runs::show(&args, config, output).await,
        Command::Cancel(args) => runs::cancel(&args, config, output).await,
        Command::Models(args) => models::list(&args, config, output),
        Command::Promote(args) => models::promote(&args, config, output).await,
        Command::Rollback(args) => models::rollback(&args, config, output).await,
        Command::Alerts(args) => alerts::alerts(&args, config, output).await,
        Command::Predict(args) => predict::predict(&args, config, output).await,
        Command::Import(args) => import::import(&args, config, output).await,
        Command::Doctor(args) => doctor::doctor(&args, config, output).await,
        Command::Demo(args) => Box::pin(demo::demo(&args, config, output)).await,
        Command::Man(args) => man::man(&args),
        Command::Completions(args) => man::completions(&args),
        Command::ProbeOnnxruntime(args) => Ok(probe::probe(&args)),
    }
}

/// Starts logging. What a command says goes the same way where the log is more than lines for people.
fn start_log(cli: &Cli, output: Output) -> Result<Output, ExitCode> {
    // what runs for years, and what leaves a log, says what it finishes
    let service = matches!(cli.command, Command::Daemon(_) | Command::Worker(_));
    // tokio-cron-scheduler says ERROR of a timer that was taken back at the moment it went off, which is no error; what it
    // cannot do it also returns, and that is logged; sqlx shows parts of an address that it does not know, whatever they hold
    let unwanted = "tokio_cron_scheduler=off,sqlx_postgres::options=off";
    let filter = match (cli.quiet, cli.verbose.max(u8::from(service))) {
        (true, _) => format!("error,{unwanted}"),
        (false, 0) => format!("warn,{unwanted},retraind::cli=info"),
        (false, 1) => format!("warn,{unwanted},retraind=info"),
        (false, _) => "info,retraind=debug".to_owned(),
    };
    let colours = output.colours_on_stderr();
    match logging::start(logging::Settings { format: cli.log_format, filter: &filter, colours }) {
        Ok(format) => Ok(output.saying_it_by(format)),
        Err(error) => {
            output.error(&format!("failed to read {}: {error}", logging::FORMAT_VARIABLE));
            Err(ExitCode::from(exit::CONFIG))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
