//! Clients of HTTP/2 with many streams at once. After a GOAWAY no new stream is begun, what was
//! begun has to be answered, and then comes a new connection. A stream that GOAWAY leaves out is a
//! failure too: a gateway that says first that it will go, and later where it stopped, has none.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use super::order::Order;
use super::report::Reporter;
use super::wire::{differs, error_with, wrong};
use super::{AFTER_A_FAILURE, ANSWER_TIMEOUT};
use crate::support::http2::{
    ACK, Connection, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM,
    WHOLE, code, frame, get, status,
};

/// Streams that are open at once.
const STREAMS: usize = 10;
/// Every so many streams a long one.
const LONG_EVERY: u64 = 20;
const LONG: Duration = Duration::from_secs(1);
const LONG_LENGTH: usize = 64 * 1024;
const SHORT_LENGTH_MAX: usize = 20_000;
const SHORT_MAX_MS: u64 = 45;

/// What has come of a stream so far.
struct Stream {
    order: Order,
    status: Option<u16>,
    body: Vec<u8>,
}

/// A connection and what is under way on it.
struct Streams<'a> {
    connection: Connection,
    reporter: &'a Reporter,
    open: BTreeMap<u32, Stream>,
    next: u32,
    /// The gateway has said that it goes.
    going: bool,
}

/// Asks on one connection after another until the traffic stops.
pub(crate) fn multiplex(gateway: SocketAddr, reporter: &Reporter) {
    let mut number = 0;
    while !reporter.stopping() {
        match Connection::try_open(gateway, ANSWER_TIMEOUT) {
            Ok(connection) => {
                reporter.connected();
                let open = BTreeMap::new();
                let mut streams = Streams { connection, reporter, open, next: 1, going: false };
                streams.run(&mut number);
            }
            Err(error) => {
                reporter.note(Err(error));
                sleep(AFTER_A_FAILURE);
            }
        }
    }
}

// === impl Streams ===

impl Streams<'_> {
    /// Until nothing is under way any more and nothing new may begin.
    fn run(&mut self, number: &mut u64) {
        loop {
            while !self.going && !self.reporter.stopping() && self.open.len() < STREAMS {
                *number += 1;
                self.ask(*number);
            }
            if self.open.is_empty() {
                return;
            }
            let read = self.connection.try_read().and_then(|frame| self.take(&frame));
            if let Err(error) = read {
                return self.fail_all(&error);
            }
        }
    }

    fn ask(&mut self, number: u64) {
        let seed = self.reporter.seed(number);
        let order = if number.is_multiple_of(LONG_EVERY) {
            Order { seed, length: LONG_LENGTH, over: LONG, chunked: true }
        } else {
            let over = Duration::from_millis(fastrand::u64(..SHORT_MAX_MS));
            Order { seed, length: fastrand::usize(..SHORT_LENGTH_MAX), over, chunked: false }
        };
        let sent = self.connection.send(&frame(HEADERS, WHOLE, self.next, &get(&order.target())));
        // What has come before is still to be read.
        self.going |= sent.is_err();
        self.open.insert(self.next, Stream { order, status: None, body: Vec::new() });
        self.next += 2;
    }

    fn take(&mut self, came: &Frame) -> io::Result<()> {
        match came.kind {
            GOAWAY => self.go(came),
            PING if came.flags & ACK == 0 => {
                return self.connection.send(&frame(PING, ACK, 0, &came.payload));
            }
            RST_STREAM => {
                let words = format!("stream reset with code {}", code(&came.payload));
                self.fail(came.stream, ErrorKind::ConnectionReset, &words);
            }
            HEADERS | DATA => self.part(came)?,
            _ => {}
        }
        Ok(())
    }

    /// A part of an answer, or its end.
    fn part(&mut self, came: &Frame) -> io::Result<()> {
        let Some(stream) = self.open.get_mut(&came.stream) else {
            return Err(wrong("a part of an answer that nobody waits for", ""));
        };
        match came.kind {
            HEADERS if came.flags & END_HEADERS == 0 => return Err(wrong("half a head", "")),
            HEADERS if stream.status.is_none() => stream.status = Some(status(&came.payload)),
            DATA => stream.body.extend_from_slice(&came.payload),
            // What comes after the body.
            _ => {}
        }
        self.reporter.step();
        if came.flags & END_STREAM != 0
            && let Some(stream) = self.open.remove(&came.stream)
        {
            self.reporter.note(stream.judge());
        }
        Ok(())
    }

    /// No more streams. Those beyond the last that the gateway knows of will not be answered.
    fn go(&mut self, came: &Frame) {
        self.going = true;
        let last = code(&came.payload) & 0x7fff_ffff;
        let code = code(&came.payload[4..]);
        for stream in self.open.split_off(&last.saturating_add(1)).into_keys() {
            let words = format!("stream {stream} left out by GOAWAY {last} with code {code}");
            self.reporter.note(Err(io::Error::new(ErrorKind::ConnectionAborted, words)));
        }
    }

    fn fail(&mut self, stream: u32, kind: ErrorKind, words: &str) {
        if self.open.remove(&stream).is_some() {
            self.reporter.note(Err(io::Error::new(kind, words)));
        }
    }

    fn fail_all(&mut self, error: &io::Error) {
        for (number, stream) in std::mem::take(&mut self.open) {
            let (came, length) = (stream.body.len(), stream.order.length);
            let words = format!("stream {number} after {came} of {length} bytes");
            self.reporter.note(Err(error_with(error, &words)));
        }
    }
}

// === impl Stream ===

impl Stream {
    fn judge(&self) -> io::Result<u16> {
        let status = self.status.ok_or_else(|| wrong("no status", ""))?;
        if status == 200 {
            differs(&self.body, &self.order.content()).map_or(Ok(()), Err)?;
        }
        Ok(status)
    }
}
