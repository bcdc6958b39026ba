//! `retraind probe-onnxruntime`: the child process that may crash or hang in the place of its parent.

use crate::run::chain;
use crate::runtime;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    library: PathBuf,
    /// Process that wants to know; without it there is nobody to tell.
    parent: Option<i32>,
}

pub(super) fn probe(args: &Args) -> ExitCode {
    match runtime::probe_here(&args.library, args.parent) {
        Ok(version) => {
            println!("{}", runtime::answer(&version));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
