//! `sluicegate meters`: its arguments, and what is printed.

use std::io::{self, Write as _};

use clap::{Args, Subcommand, ValueEnum};

use super::complain;
use crate::batches;
use crate::config::Config;

/// The counts of meters.
#[derive(Debug, Args)]
pub(super) struct Meters {
    #[command(subcommand)]
    action: Option<Action>,
    /// The meter [default: all of them]
    name: Option<String>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the pending batches as lines of JSON, acknowledging none; if there are none, make one
    /// of what is open
    Export {
        /// The meter
        name: String,
    },
    /// Acknowledge a batch: it was applied and may be forgotten
    Ack {
        /// The meter
        name: String,
        /// The `batch` of its line
        id: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One line for each meter
    Json,
}

// === impl Meters ===

impl Meters {
    pub(super) fn execute(self, config: &Config) -> Result<(), String> {
        let done = match self.action {
            Some(_) if self.name.is_some() => {
                Err("the name of the meter stands behind `export` or `ack`".to_owned())
            }
            None => show(config, self.name.as_deref(), self.output),
            Some(Action::Export { name }) => export(config, &name),
            Some(Action::Ack { name, id }) => acknowledge(config, &name, &id),
        };
        done.map_err(|reason| format!("error: {reason}"))
    }
}

fn show(config: &Config, name: Option<&str>, output: Output) -> Result<(), String> {
    let overviews = batches::overviews(config, name)?;
    let each = overviews.iter().map(|overview| match output {
        Output::Text => overview.text(),
        Output::Json => overview.json(),
    });
    let between = if output == Output::Text { "\n\n" } else { "\n" };
    let text = each.collect::<Vec<_>>().join(between);
    if !text.is_empty() {
        super::say(&text);
    }
    Ok(())
}

/// Whoever reads the lines acknowledges them: if the reader has gone away, they come again.
fn export(config: &Config, name: &str) -> Result<(), String> {
    let export = batches::export(config, name)?;
    for name in &export.dropped {
        complain(&format!("warning: Redis has dropped the batch {name}: its counts are lost"));
    }
    let mut stdout = io::stdout().lock();
    let written = export.lines.iter().try_for_each(|line| writeln!(stdout, "{line}"));
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| format!("the batches were not taken: {error}"))
}

fn acknowledge(config: &Config, name: &str, id: &str) -> Result<(), String> {
    if !batches::acknowledge(config, name, id)? {
        // Also what a consumer gets that has crashed after it had acknowledged: no failure.
        complain(&format!("`{id}` was not pending: it has been acknowledged, or never was"));
    }
    Ok(())
}
