//! How far a replay has come, for whoever waits at a terminal.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines from one look at the terminal to the next.
const LOOK_EVERY: u64 = 1 << 13;

/// A bar on standard error, if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    bytes: Rc<Cell<u64>>,
    lines: u64,
}

// === impl Progress ===

impl Progress {
    /// A bar over these files; `bytes` tells how much of them has been read.
    pub(super) fn over(files: &[PathBuf], bytes: Rc<Cell<u64>>) -> Self {
        // Of a pipe nobody knows the length.
        let length = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file);
        let total: Option<u64> = files.iter().map(|path| Some(length(path)?.len())).sum();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let template = match total {
            Some(_) => "{bar:40} {percent}% of {total_bytes}, {msg} lines, {eta} to go",
            None => "{spinner} {bytes}, {msg} lines",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, bytes, lines: 0 }
    }

    /// A line has been read.
    pub(super) fn line(&mut self) {
        self.lines += 1;
        if self.lines.is_multiple_of(LOOK_EVERY) {
            self.bar.set_message(self.lines.to_string());
            self.bar.set_position(self.bytes.get());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
