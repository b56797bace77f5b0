//! A log file: plain or gzip, or standard input, line by line.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

/// Most bytes of a line; a longer one is unreadable. nginx takes 32 KiB of headers by default.
pub(super) const LINE_MAX: usize = 64 * 1024;
/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;
/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What some editors put before a text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// The name of standard input.
pub(super) const STDIN: &str = "-";

/// A log that is being read.
pub(super) struct Source {
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    number: u64,
}

/// A line of a log.
pub(super) enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// There was more of it than [`LINE_MAX`].
    TooLong,
}

/// Counts the bytes that are read from a file, packed as they are.
struct Counted {
    inner: Box<dyn Read>,
    bytes: Rc<Cell<u64>>,
}

// === impl Source ===

impl Source {
    /// Opens a file, or standard input. `bytes` is told how much of it has been read.
    pub(super) fn open(path: &Path, bytes: Rc<Cell<u64>>) -> io::Result<Self> {
        let inner: Box<dyn Read> = if path == Path::new(STDIN) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path)?)
        };
        Self::of(Counted { inner, bytes })
    }

    fn of(mut inner: Counted) -> io::Result<Self> {
        // A pipe may give one byte at a time.
        let mut start = Vec::new();
        inner.by_ref().take(GZIP.len() as u64).read_to_end(&mut start)?;
        let packed = start == GZIP;
        let whole = Cursor::new(start).chain(inner);
        let plain: Box<dyn Read> = if packed {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { reader: BufReader::with_capacity(BUFFER, plain), line: Vec::new(), number: 0 })
    }

    /// The next line that is not blank, and its number from 1 on; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        loop {
            self.line.clear();
            let mut part = self.reader.by_ref().take(LINE_MAX as u64 + 1);
            if part.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() > LINE_MAX && !self.line.ends_with(b"\n") {
                self.skip()?;
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let line = self.line.trim_ascii_end();
        let bom = if self.number == 1 { BOM } else { b"" };
        Ok(Some((self.number, Line::Whole(line.strip_prefix(bom).unwrap_or(line)))))
    }

    /// Skips what is left of a line.
    fn skip(&mut self) -> io::Result<()> {
        while !self.line.ends_with(b"\n") {
            self.line.clear();
            if self.reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut self.line)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

// === impl Counted ===

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}
