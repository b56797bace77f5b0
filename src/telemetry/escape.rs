//! No byte of a request acts in a log: neither in a terminal nor as a line of its own.
//!
//! Text: each value is written with its control characters as escapes, and so is what other crates
//! say. Our own messages hold nothing of requests and may have several lines. JSON escapes what is
//! below U+0020 by itself; the control characters beyond, and those that turn text around, are
//! escaped in the finished line.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// The field that is a line's own words.
const MESSAGE: &str = "message";
/// What `tracing-log` adds to the records of other crates: their place, which is not written.
const LOG_FIELDS: &str = "log.";

/// Fields of a line as text: the message, then `name=value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields;

struct Line<'a> {
    writer: Writer<'a>,
    /// Whether it is of another crate, and may tell what a client sent.
    foreign: bool,
    empty: bool,
    result: fmt::Result,
}

/// Writes what is written to it, with control characters as escapes.
struct Escaping<'a, 'w> {
    writer: &'a mut Writer<'w>,
    lines: bool,
}

/// Whether a line comes from a record of `log`.
struct Foreign(bool);

/// A writer of lines of JSON: everything that does not print as itself is written as `\uXXXX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printable<W>(pub(super) W);

/// Whether a character acts instead of being seen: a control character, or one that turns text
/// around.
fn acts(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}')
}

// === impl Fields ===

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut foreign = Foreign(false);
        fields.record(&mut foreign);
        let mut line = Line { writer, foreign: foreign.0, empty: true, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

// === impl Foreign ===

impl Visit for Foreign {
    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        self.0 |= field.name().starts_with(LOG_FIELDS);
    }
}

// === impl Line ===

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
        if !std::mem::take(&mut self.empty) {
            self.writer.write_char(' ')?;
        }
        let own_words = field.name() == MESSAGE;
        if !own_words {
            write!(self.writer, "{}=", field.name())?;
        }
        let lines = own_words && !self.foreign;
        write!(Escaping { writer: &mut self.writer, lines }, "{value:?}")
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_ok() && !field.name().starts_with(LOG_FIELDS) {
            self.result = self.write(field, value);
        }
    }
}

// === impl Escaping ===

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if acts(character) && !(self.lines && character == '\n') {
                write!(self.writer, "{}", character.escape_default())?;
            } else {
                self.writer.write_char(character)?;
            }
        }
        Ok(())
    }
}

// === impl Printable ===

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Printable<W> {
    type Writer = Printable<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Printable(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for Printable<W> {
    /// Takes whole lines, as the layer above writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.chars().any(|character| acts(character) && character != '\n') {
            self.0.write_all(printable(&text).as_bytes())?;
        } else {
            self.0.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line of JSON in which everything that acts is an escape. Outside of strings JSON has nothing
/// that acts but the line's end.
fn printable(line: &str) -> String {
    let mut printable = String::with_capacity(line.len());
    for character in line.chars() {
        if acts(character) && character != '\n' {
            // Writing to a string cannot fail; all that act have four digits.
            let _ = write!(printable, "\\u{:04x}", u32::from(character));
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const NASTY: &str = "a\u{1b}[2Jb\u{7f}c\u{9b}d\u{202e}e\u{2028}f";

    #[test]
    fn a_line_of_json_means_the_same_and_acts_nowhere() {
        let mut printed = Printable(Vec::new());
        let line = format!("{}\n", serde_json::json!({ "path": format!("{NASTY}\r\n") }));
        printed.write_all(line.as_bytes()).unwrap();
        let text = String::from_utf8(printed.0).unwrap();
        let (line, end) = text.split_at(text.len() - 1);
        assert!(!line.chars().any(acts) && end == "\n", "{text:?}");
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["path"], format!("{NASTY}\r\n"));
    }

    #[test]
    fn plain_lines_stay_as_they_are() {
        let mut printed = Printable(Vec::new());
        let line = "{\"path\":\"/\u{e9}t\u{e9}/\u{5b57}\"}\n";
        printed.write_all(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(printed.0).unwrap(), line);
    }
}
