//! The verdict of every request, one JSON object a line.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde_json::{Value, json};

use super::moment;
use super::trial::{Fate, Outcome};

/// Where verdicts are written to.
pub(super) struct Verdicts {
    file: BufWriter<File>,
}

// === impl Verdicts ===

impl Verdicts {
    /// Begins the file at `path` anew.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(File::create(path)?) })
    }

    /// Writes what became of the request in that line.
    pub(super) fn write(&mut self, file: &str, line: u64, outcome: &Outcome) -> io::Result<()> {
        let refused_by = |enforced: bool| -> Vec<Value> {
            let pairs = outcome.checks.iter().zip(&outcome.decided);
            let denials = pairs
                .filter(|(check, decided)| !decided.allowed && check.policy.enforced() == enforced);
            let names = denials.map(|(check, _)| Value::from(check.policy.name.as_str()));
            let mut names: Vec<Value> = names.collect();
            // A ban has the name of its policy and stands behind it.
            names.dedup();
            names
        };
        let (allowed, reason) = match outcome.fate {
            Fate::Malformed => (false, Some("malformed")),
            Fate::TurnedAway => (false, Some("deny-list")),
            Fate::Exempt(_) => (true, Some("exempt")),
            Fate::Decided { denied } => (!denied, denied.then_some("limit")),
        };
        let verdict = json!({
            "file": file,
            "line": line,
            "time": moment::written(outcome.at),
            "allowed": allowed,
            "reason": reason,
            "denied_by": refused_by(true),
            "shadow_denied_by": refused_by(false),
        });
        serde_json::to_writer(&mut self.file, &verdict)?;
        self.file.write_all(b"\n")
    }

    /// Writes what is still to be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }
}
