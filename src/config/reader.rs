//! Reads the parsed file piece by piece and collects every mistake on the way.
//!
//! A [`Section`] hands out typed values. What is missing or wrong is recorded and read as absent,
//! so that reading goes on; at the end the section reports the keys that nobody asked for.

mod section;

use std::cell::RefCell;

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::{Mistake, Problem, Severity, Source, Span};
use super::expand::expand;
use super::file::Files;
use super::value::Text;

pub(super) use section::{Entry, Named, Section};

/// What all sections share: the text, the environment, and the problems so far.
pub(super) struct Reader<'a> {
    source: &'a Source<'a>,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<(Span, Problem)>>,
    files: Files,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        env: &'a dyn Fn(&str) -> Option<String>,
        files: Files,
    ) -> Self {
        Self { source, env, problems: RefCell::default(), files }
    }

    pub(super) fn error(&self, span: &Span, mistake: impl Into<Mistake>) {
        self.report(Severity::Error, span, mistake.into());
    }

    pub(super) fn warn(&self, span: &Span, mistake: impl Into<Mistake>) {
        self.report(Severity::Warning, span, mistake.into());
    }

    /// The files that the configuration names.
    pub(super) const fn files(&self) -> &Files {
        &self.files
    }

    /// Everything recorded, in order of position, and the files that were read.
    pub(super) fn finish(self) -> (Vec<Problem>, Files) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(span, _)| span.start);
        (problems.into_iter().map(|(_, problem)| problem).collect(), self.files)
    }

    fn report(&self, severity: Severity, span: &Span, mistake: Mistake) {
        let problem = self.source.problem(severity, span, mistake);
        self.problems.borrow_mut().push((span.clone(), problem));
    }

    /// The string in `value`, its variables put in.
    fn text(&self, what: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let span = value.span();
        let DeValue::String(raw) = value.get_ref() else {
            self.wrong_type(what, "a string", "\"text\"", value);
            return None;
        };
        let expansion = expand(raw, self.env);
        if expansion.faults.is_empty() {
            let template = expansion.substituted.then(|| raw.to_string());
            return Some(Text { value: expansion.text, template, span });
        }
        let mut from = span.start;
        for fault in expansion.faults {
            let place = self.find(&fault.written, from, &span);
            if place != span {
                from = place.end;
            }
            self.error(&place, fault.mistake);
        }
        None
    }

    /// Where `written` stands within `span`, from `from` on; all of `span` if it is spelled with
    /// escapes.
    fn find(&self, written: &str, from: usize, span: &Span) -> Span {
        let text = self.source.slice(&(from..span.end));
        let found = text.match_indices(written).map(|(at, _)| at).find(|at| {
            let before = text.get(..*at).unwrap_or_default();
            !before.ends_with('$')
        });
        match found {
            Some(at) => from + at..from + at + written.len(),
            None => span.clone(),
        }
    }

    /// Records that `what` is `expected`, of which `example` is one.
    fn wrong_type(&self, what: &str, expected: &str, example: &str, value: &Spanned<DeValue<'_>>) {
        let message = format!("{what} is {expected}, not {}", kind(value.get_ref()));
        self.error(&value.span(), Mistake::new(message).help(format!("as in `{example}`")));
    }
}

/// The type of a value, with its article.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
