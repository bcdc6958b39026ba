//! The command line: argv goes in; a report on stdout, talk on stderr and an exit code come out.

mod check;
mod demo;
mod doctor;
mod exit;
mod import;
mod man;
mod models;
mod output;
mod plan;
mod predict;
mod probe;
mod progress;
mod run;
mod runs;

use clap::{ArgAction, Parser, Subcommand};
use exit::Failure;
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

const EXIT_CODES: &str = "\
Exit codes:
  0   done                              69  a service is down: database, ONNX Runtime, mail server
  1   a run failed                      73  a file or directory cannot be created
  2   wrong usage                       74  reading or writing failed, for example on a full disk
  3   the gate refused a version        75  try again later: another process is at it
  65  bad data                          78  settings or job files have problems
  66  no such input                     130, 143  stopped by SIGINT, SIGTERM";

/// Keeps forecasting models fresh: trains, judges, promotes and serves them on a training host.
#[derive(Debug, Parser)]
#[command(name = "retraind", version, after_help = EXIT_CODES, max_term_width = 110)]
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find every problem in the settings and job files, and show the next fire times
    Check(check::Args),
    /// Run a job now, in the foreground
    Run(run::Args),
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
    /// Load the ONNX Runtime library of that path and print its version
    #[command(hide = true)]
    ProbeOnnxruntime(probe::Args),
}

/// Everything from argv to the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.no_color, cli.quiet);
    log_to_stderr(&cli, output);
    // the probe must not start threads before it loads a library that may be broken
    if let Command::ProbeOnnxruntime(args) = &cli.command {
        return probe::probe(args);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
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
        Command::Run(args) => run::run(&args, config, output).await,
        Command::Runs(args) => runs::list(&args, config, output).await,
        Command::Show(args) => runs::show(&args, config, output).await,
        Command::Cancel(args) => runs::cancel(&args, config, output).await,
        Command::Models(args) => models::list(&args, config, output),
        Command::Promote(args) => models::promote(&args, config, output).await,
        Command::Rollback(args) => models::rollback(&args, config, output).await,
        Command::Predict(args) => predict::predict(&args, config, output).await,
        Command::Import(args) => import::import(&args, config, output).await,
        Command::Doctor(args) => doctor::doctor(&args, config, output).await,
        Command::Demo(args) => demo::demo(&args, config, output).await,
        Command::Man(args) => man::man(&args),
        Command::Completions(args) => man::completions(&args),
        Command::ProbeOnnxruntime(args) => Ok(probe::probe(&args)),
    }
}

fn log_to_stderr(cli: &Cli, output: Output) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,retraind=info",
        (false, _) => "info,retraind=debug",
    };
    let filter = EnvFilter::try_from_env("RETRAIND_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output.colours_on_stderr())
        .without_time()
        .with_target(false)
        .init();
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
