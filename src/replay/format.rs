//! The formats of logs, and which one a file has.

use clap::ValueEnum;

use super::common::Reader;
use super::entry::{Entry, Unreadable};
use super::json;

/// How the lines of a log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As the first line that can be read is written, each file for itself
    Auto,
    /// `IP - USER [TIME] "GET /path HTTP/1.1" STATUS SIZE`
    Common,
    /// The same, and the referer and the user agent
    Combined,
    /// One JSON object a line: nginx, Caddy, Sluicegate itself
    Json,
}

/// Reads the lines of one file.
#[derive(Debug)]
pub(super) struct Lines {
    format: Format,
    reader: Reader,
}

// === impl Format ===

impl Format {
    /// Its name on the command line and in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Json => "json",
        }
    }

    /// What a line of it looks like.
    pub(super) const fn looks(self) -> &'static str {
        match self {
            Self::Auto => {
                "lines in the common or combined format (`IP - USER [TIME] \"GET / HTTP/1.1\" 200 \
                 123`) or one JSON object a line"
            }
            Self::Common => "`IP - USER [TIME] \"GET / HTTP/1.1\" 200 123`",
            Self::Combined => "`IP - USER [TIME] \"GET / HTTP/1.1\" 200 123 \"REFERER\" \"AGENT\"`",
            Self::Json => "one JSON object a line with client, time, method and path",
        }
    }
}

// === impl Lines ===

impl Lines {
    /// Reads lines of `format`, or of the first that can be read.
    pub(super) fn new(format: Format) -> Self {
        Self { format, reader: Reader::default() }
    }

    /// The format, as far as it is known.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Reads a line.
    pub(super) fn read(&mut self, line: &[u8], entry: &mut Entry) -> Result<(), Unreadable> {
        match self.format {
            Format::Json => json::read(line, entry),
            Format::Common => self.reader.read(line, entry).map(drop),
            Format::Combined => {
                let combined = self.reader.read(line, entry)?;
                combined.then_some(()).ok_or(Unreadable("it has no referer and agent in quotes"))
            }
            Format::Auto if line.starts_with(b"{") => {
                json::read(line, entry)?;
                self.format = Format::Json;
                Ok(())
            }
            Format::Auto => {
                let combined = self.reader.read(line, entry)?;
                self.format = if combined { Format::Combined } else { Format::Common };
                Ok(())
            }
        }
    }
}
