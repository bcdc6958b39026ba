//! `retraind daemon`

use super::exit::Failure;
use crate::run::Context;
use crate::{scheduler, settings};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "Signals:
  SIGTERM, SIGINT  stop: no new runs; workers write checkpoints and end; their runs go on after the next start.
                   Once more: faster
  SIGHUP           read the job files again (they are watched anyway)
  SIGUSR1          write what is known to the log

Exits with 75 when another daemon schedules on the same SQLite file. With PostgreSQL it stands by and takes over.")]
pub(super) struct Args {}

pub(super) async fn daemon(config: Option<&Path>) -> Result<ExitCode, Failure> {
    let context = Context::open(settings::load(config)?.settings).await?;
    scheduler::serve(context).await?;
    Ok(ExitCode::SUCCESS)
}
