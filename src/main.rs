//! The `sluicegate` binary: parse the command line, do it, exit.

use std::process::ExitCode;

use clap::Parser as _;
use sluicegate::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().execute()
}
