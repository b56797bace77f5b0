//! What is to be replayed, as the command line says it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::format::Format;

/// Access logs, and what is to be made of them.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Access logs in the order of their time, plain or gzip; `-` or none: standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the lines are written
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Where the report goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Also write the verdict of every request there, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub verdicts: Option<PathBuf>,
    /// How many of the most denied clients each policy shows
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs: the keys are in docs/replay.md
    Json,
    /// One page with charts, which needs nothing else
    Html,
}
