//! `sluicegate replay`: whom the limits of a configuration would have refused, by access logs.
//!
//! Every logged request goes the way that requests go, through the same rules and the same core, at
//! the time of its line. Nothing is asked of a store and nothing is charged anywhere.

mod alone;
mod book;
mod common;
mod entry;
mod events;
mod format;
mod json;
mod lacks;
mod memory;
mod moment;
mod options;
mod places;
mod progress;
mod report;
mod source;
mod timeline;
mod trial;
mod verdicts;

use std::cell::Cell;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::Config;
use crate::limit::{Clock, SystemClock};

use entry::{Entry, Unreadable};
pub use format::Format;
use format::Lines;
pub use options::{Options, Output};
use places::Places;
use progress::Progress;
use report::{Bad, Read, Report};
use source::{LINE_MAX, Line, STDIN, Source};
use trial::Trial;
use verdicts::Verdicts;

/// Lines of a file without one that can be read, after which nobody looks further.
const HOPELESS: u64 = 1_000;
/// Unreadable lines that the report shows.
const BAD_SHOWN: usize = 5;
/// Bytes of an unreadable line that it shows.
const BAD_BYTES: usize = 100;

/// A replay under way.
struct Replay {
    trial: Trial,
    entry: Entry,
    read: Vec<Read>,
    bad: Vec<Bad>,
    verdicts: Option<Verdicts>,
    progress: Progress,
}

/// Replays the logs against `config` and writes what came out of it.
pub fn run(config: &Config, options: &Options) -> Result<(), String> {
    let clock = SystemClock::start();
    let started = clock.now();
    let standard = [PathBuf::from(STDIN)];
    let files = if options.files.is_empty() { &standard[..] } else { &options.files };
    let trial = Trial::new(config)?;
    let verdicts = prepare(options, files)?;
    let bytes = Rc::new(Cell::new(0));
    let mut replay = Replay {
        trial,
        entry: Entry::new(),
        read: Vec::new(),
        bad: Vec::new(),
        verdicts,
        progress: Progress::over(files, Rc::clone(&bytes)),
    };
    for path in files {
        replay.file(path, options.format, Rc::clone(&bytes))?;
    }
    let Replay { trial, read, bad, verdicts, progress, .. } = replay;
    if let Some(verdicts) = verdicts {
        let path = options.verdicts.as_deref().unwrap_or(Path::new(""));
        verdicts.finish().map_err(|error| failed("write", path, &error))?;
    }
    drop(progress);
    let took = clock.now().since(started);
    let report = Report::new(config, trial, read, bad, took, options.top)?;
    let text = match options.output {
        Output::Text => report::text::write(&report),
        Output::Json => report::json::write(&report),
        Output::Html => report::page::write(&report)?,
    };
    match &options.out {
        Some(path) => fs::write(path, text).map_err(|error| failed("write", path, &error)),
        None => print(&text),
    }
}

/// Looks at all files before one is created, and begins that of the verdicts.
fn prepare(options: &Options, files: &[PathBuf]) -> Result<Option<Verdicts>, String> {
    let places = Places::of(files)?;
    let (out, path) = (options.out.as_deref(), options.verdicts.as_deref());
    places.keep(out, path)?;
    // Before hours of reading: can it be written at all?
    if let Some(out) = out {
        places::writable(out).map_err(|error| failed("write", out, &error))?;
    }
    let Some(path) = path else { return Ok(None) };
    let verdicts = Verdicts::create(path).map_err(|error| failed("write", path, &error))?;
    // Which of them are one file, some only tell when it is there.
    places.keep(out, Some(path))?;
    Ok(Some(verdicts))
}

/// Writes to standard output. A reader that has gone away is no failure.
fn print(text: &str) -> Result<(), String> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write the report to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} `{}`: {error}", places::shown(path))
}

// === impl Replay ===

impl Replay {
    /// Replays a file from its beginning to its end.
    fn file(&mut self, path: &Path, format: Format, bytes: Rc<Cell<u64>>) -> Result<(), String> {
        let name = if path == Path::new(STDIN) {
            "(standard input)".to_owned()
        } else {
            path.display().to_string()
        };
        let mut source = Source::open(path, bytes).map_err(|error| failed("read", path, &error))?;
        let mut lines = Lines::new(format);
        let mut read = Read { name, format: format.name(), lines: 0, requests: 0, unreadable: 0 };
        let mut first = None;
        loop {
            let line = source.next();
            let Some((number, line)) = line.map_err(|error| cut_short(&read, &error))? else {
                break;
            };
            read.lines += 1;
            self.progress.line();
            let told = match line {
                Line::Whole(line) => lines.read(line, &mut self.entry).map_err(|why| (why, line)),
                Line::TooLong => Err((Unreadable("it is longer than 64 KiB"), &b""[..])),
            };
            match told {
                Ok(()) => {
                    read.requests += 1;
                    self.judge(&read.name, number)?;
                }
                Err((why, line)) => {
                    let start = &line[..line.len().min(BAD_BYTES)];
                    let bad = Bad::new(&read.name, number, why, start);
                    read.unreadable += 1;
                    if self.bad.len() < BAD_SHOWN {
                        self.bad.push(bad.clone());
                    }
                    first.get_or_insert(bad);
                }
            }
            if read.requests == 0 && read.lines >= HOPELESS {
                break;
            }
        }
        if let Some(first) = first.filter(|_| read.requests == 0) {
            return Err(format!("{first}\n  = help: expected {}", lines.format().looks()));
        }
        read.format = lines.format().name();
        self.read.push(read);
        Ok(())
    }

    /// Tries the request that has been read from that line.
    fn judge(&mut self, file: &str, line: u64) -> Result<(), String> {
        let outcome = self.trial.judge(&self.entry);
        let Some(verdicts) = &mut self.verdicts else { return Ok(()) };
        let written = verdicts.write(file, line, &outcome);
        written.map_err(|error| format!("cannot write the verdicts: {error}"))
    }
}

/// Why a file ends before its end.
fn cut_short(read: &Read, error: &io::Error) -> String {
    let (name, lines) = (read.name.escape_debug(), read.lines);
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            format!("{name}: the gzip data ends too early, after {lines} lines")
        }
        _ => format!("{name}: it cannot be read on after {lines} lines: {error}"),
    }
}

const _: () = assert!(LINE_MAX == 64 * 1024, "the message says so");
