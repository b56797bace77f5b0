//! A row's line of the table.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What `make soak` prints the lines below.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/fault-matrix");

/// The largest certain counts of a window; `None` where no window fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) before: Option<usize>,
    pub(super) without: Option<usize>,
    pub(super) after: Option<usize>,
    pub(super) whole: Option<usize>,
}

/// What a row has measured.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) requests: usize,
    pub(super) failed: usize,
    pub(super) longest_before: Option<Duration>,
    pub(super) longest: Duration,
    pub(super) noticed: Option<Duration>,
    pub(super) returned: Duration,
    pub(super) counts: Counts,
    pub(super) strays: usize,
    pub(super) log_lines: usize,
}

// === impl Report ===

impl Report {
    /// Writes the line to its file, in one step.
    pub(super) fn write(&self) {
        let line = self.line();
        eprint!("{line}");
        fs::create_dir_all(FOLDER).expect("a folder for the lines");
        let words: Vec<&str> = self
            .name
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let file = format!("{:02}-{}.md", self.number, words.join("-"));
        fs::write(Path::new(FOLDER).join(file), line).expect("the line is written");
    }

    fn line(&self) -> String {
        let mut line = format!("| {} | {} | {}", self.name, self.requests, self.failed);
        let times = [self.longest_before, Some(self.longest), self.noticed, Some(self.returned)];
        for time in times {
            let text =
                time.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()));
            let _ = write!(line, " | {text}");
        }
        let counts = &self.counts;
        for count in [counts.before, counts.without, counts.after, counts.whole] {
            let text = count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            let _ = write!(line, " | {text}");
        }
        let _ = writeln!(line, " | {} | {} |", self.strays, self.log_lines);
        line
    }
}
