//! What is in force, since when, and what came of the last reload: for the pages of the operator.

use serde_json::{Value, json};

use super::fixed::Kept;
use crate::limit::Timestamp;

/// Lines of problems that are remembered of a reload that was refused, and sent as its answer. The
/// log has them all.
const LINES_MAX: usize = 1_000;

/// What began a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// None: the process began.
    Start,
    /// SIGHUP.
    Signal,
    /// The file, or one with keys that it names, has changed.
    File,
    /// `POST /reload` on the admin listener.
    Api,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is in force.
    Applied(Report),
    /// It is not, and nothing has changed: why.
    Rejected(Rejection),
}

/// What is said of a reload that is in force.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many configurations have been in force before it.
    pub generation: u64,
    /// The doubts about the file.
    pub warnings: Vec<String>,
    /// What stays as it was.
    pub needs_restart: Vec<Kept>,
    /// Policies whose counts start anew, and why.
    pub anew: Vec<String>,
    /// Policies with other limits, whose counts stay.
    pub changed: Vec<String>,
}

/// A reload that was refused.
#[derive(Clone, Debug)]
pub struct Rejection {
    at: Timestamp,
    by: By,
    /// Without secrets, as the log has them.
    problems: Vec<String>,
}

/// What is in force. It is shown to operators, so there is no secret in it.
#[derive(Debug)]
pub(super) struct Status {
    file: String,
    generation: u64,
    at: Timestamp,
    by: By,
    needs_restart: Vec<Kept>,
    rejected: Option<Rejection>,
    document: Value,
}

// === impl By ===

impl By {
    /// As it is shown and logged.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "SIGHUP",
            Self::File => "file change",
            Self::Api => "API",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether it is in force.
    pub const fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

// === impl Report ===

impl Report {
    /// For the pages of the operator.
    pub fn shown(&self) -> Value {
        json!({
            "result": "applied",
            "generation": self.generation,
            "warnings": self.warnings,
            "needs_restart": shown(&self.needs_restart),
            "counts_start_anew": self.anew,
            "limits_changed": self.changed,
        })
    }
}

// === impl Rejection ===

impl Rejection {
    pub(super) fn new(reason: &str, at: Timestamp, by: By) -> Self {
        let mut problems: Vec<String> = reason.lines().take(LINES_MAX).map(str::to_owned).collect();
        if reason.lines().nth(LINES_MAX).is_some() {
            problems.push("... and more: the log has them all".to_owned());
        }
        Self { at, by, problems }
    }

    /// For the pages of the operator.
    pub fn shown(&self) -> Value {
        json!({ "result": "rejected", "problems": self.problems })
    }
}

// === impl Status ===

impl Status {
    /// That of a process that begins with what is in `file`.
    pub(super) fn new(file: String, document: Value, at: Timestamp) -> Self {
        let (by, needs_restart) = (By::Start, Vec::new());
        Self { file, generation: 0, at, by, needs_restart, rejected: None, document }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn applied(&mut self, report: &Report, document: Value, at: Timestamp, by: By) {
        (self.generation, self.document) = (report.generation, document);
        (self.at, self.by) = (at, by);
        self.needs_restart.clone_from(&report.needs_restart);
    }

    pub(super) fn rejected(&mut self, rejection: Rejection) {
        self.rejected = Some(rejection);
    }

    /// For the pages of the operator.
    pub(super) fn shown(&self) -> Value {
        let rejected = self.rejected.as_ref().map(|rejection| {
            let Rejection { at, by, problems } = rejection;
            json!({ "at": moment(*at), "by": by.name(), "problems": problems })
        });
        json!({
            "generation": self.generation,
            "file": self.file,
            "read_at": moment(self.at),
            "read_by": self.by.name(),
            "needs_restart": shown(&self.needs_restart),
            "last_rejected": rejected,
            "config": self.document,
        })
    }
}

fn shown(kept: &[Kept]) -> Value {
    kept.iter().map(Kept::shown).collect()
}

/// A moment as RFC 3339 writes it, to the millisecond.
fn moment(at: Timestamp) -> Value {
    let millis = i64::try_from(at.as_micros() / 1_000).ok();
    let moment = millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    moment.map(|moment| moment.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_problems_is_cut_and_says_so() {
        let reason = "a problem\n".repeat(LINES_MAX + 1);
        let rejection = Rejection::new(&reason, Timestamp::EPOCH, By::Api);
        assert_eq!(rejection.problems.len(), LINES_MAX + 1);
        assert!(rejection.problems.last().unwrap().contains("and more"));
        let few = Rejection::new("one\ntwo", Timestamp::EPOCH, By::Api);
        assert_eq!(few.problems, ["one", "two"]);
    }
}
