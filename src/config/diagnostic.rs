//! Mistakes of the file, each at its place, with the way out.

use std::fmt;
use std::ops::Range;
use std::string::FromUtf8Error;

use super::private::{self, Ground};
use super::secret;

/// Columns that a tab takes in a printed line.
const TAB: &str = "    ";

/// Bytes of the file that a problem is about.
pub(super) type Span = Range<usize>;

/// One mistake or doubt about the file.
///
/// Holds nothing secret: the line it shows is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    message: String,
    help: Option<String>,
    file: String,
    line: usize,
    column: usize,
    snippet: Snippet,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but hardly says what was meant.
    Warning,
}

/// Everything that is wrong with a file, in order of position; at least one is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// What is wrong, and the way out; the place is added by who knows it.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    message: String,
    help: Option<String>,
}

/// The text of the file, to find lines in.
#[derive(Debug)]
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
    /// Where each line stands.
    grounds: Vec<Ground<'a>>,
}

/// A line as it is printed, and what is underlined in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snippet {
    line: String,
    indent: usize,
    width: usize,
}

// === impl Problem ===

impl Problem {
    /// Error or warning.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong, without its place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let Snippet { line, indent, width } = &self.snippet;
        writeln!(f, "{}: {}", self.severity, self.message)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{}", format!("{number} | {line}").trim_end())?;
        write!(f, "{gutter} | {}{}", " ".repeat(*indent), "^".repeat(*width))?;
        match &self.help {
            Some(help) => write!(f, "\n{gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

// === impl Problems ===

impl Problems {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// What is wrong with a file that is no text, at the first byte that is none.
    pub(super) fn not_utf8(error: &FromUtf8Error, file: &str) -> Self {
        // Up to there it is the same.
        let text = String::from_utf8_lossy(error.as_bytes());
        let at = error.utf8_error().valid_up_to();
        let span = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
        let mistake = Mistake::new("not UTF-8").help("save the file as UTF-8");
        Self(vec![Source::new(&text, file).problem(Severity::Error, &span, mistake)])
    }

    /// All of them, in order of position.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === impl Mistake ===

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<&str> for Mistake {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Mistake {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str, file: &'a str) -> Self {
        // A byte order mark is no part of the first line.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(first).chain(newlines).collect();
        let grounds = private::grounds(text.get(first..).unwrap_or_default().split('\n'));
        Self { file, text, line_starts, grounds }
    }

    /// The text at `span`.
    pub(super) fn slice(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn problem(&self, severity: Severity, span: &Span, mistake: Mistake) -> Problem {
        let index = self.line_starts.partition_point(|start| *start <= span.start);
        let index = index.saturating_sub(1);
        let line_start = self.line_starts.get(index).copied().unwrap_or(0);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let start = span.start.saturating_sub(line_start);
        let end = span.end.saturating_sub(line_start);
        let ground = self.grounds.get(index).copied().unwrap_or(Ground::Open);
        let hidden = ground.hidden(line);
        let message = secret::masked_message(&mistake.message);
        Problem {
            severity,
            message: Ground::masked(&message, &self.unseen(line, &hidden, span)),
            help: mistake.help,
            file: self.file.to_owned(),
            line: index + 1,
            column: line.char_indices().take_while(|(at, _)| *at < start).count() + 1,
            snippet: Snippet::of(line, &hidden, start, end),
        }
    }

    /// What is not shown of `span`: the `hidden` of its first line, and the lines behind it.
    fn unseen(&self, line: &str, hidden: &[Span], span: &Span) -> String {
        let pieces = hidden.iter().filter_map(|range| line.get(range.clone()));
        let behind = self.slice(span).split_once('\n').map(|(_, behind)| behind);
        pieces.chain(behind).collect::<Vec<_>>().join("\n")
    }
}

// === impl Snippet ===

impl Snippet {
    /// `line` without what is `hidden`; the bytes from `start` to `end` are underlined.
    fn of(line: &str, hidden: &[Span], start: usize, end: usize) -> Self {
        let mut shown = String::with_capacity(line.len());
        let mut columns = 0;
        let mut before = 0;
        let mut until = 0;
        for (at, c) in line.char_indices() {
            columns += match hidden.iter().find(|range| range.contains(&at)) {
                Some(range) if range.start == at => push(&mut shown, secret::MASK),
                Some(_) => 0,
                None if c == '\t' => push(&mut shown, TAB),
                None if c.is_control() => push(&mut shown, "\u{fffd}"),
                None => push(&mut shown, c.encode_utf8(&mut [0; 4])),
            };
            if at < start {
                before = columns;
            }
            if at < end {
                until = columns;
            }
        }
        Self { line: shown, indent: before, width: until.saturating_sub(before).max(1) }
    }
}

fn push(shown: &mut String, text: &str) -> usize {
    shown.push_str(text);
    text.chars().count()
}
