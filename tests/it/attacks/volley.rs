//! Streams, sent in pieces from many connections at once, and what came of each.
//!
//! Every run has an address of its own (127.x.y.z), so that what it was charged and what it made
//! the application see can be told from all others. The pieces of a batch go out in turns: while
//! the other connections have theirs, the gateway reads what is there. Nothing sleeps.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use super::corpus::Case;
use crate::support::raw;

/// Connections that are written in turns.
const BATCH: usize = 24;
const THREADS: usize = 6;
/// Only an answer that never comes runs into it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Units of the policy over everything: no run comes near.
pub(super) const QUOTA: usize = 1000;
/// What is asked on the same connection afterwards, and on another by the same client.
const PROBE: &str = "/probe";
const AUDIT: &str = "/audit";

static CLIENTS: AtomicU32 = AtomicU32::new(0);

/// A stream, in pieces that end where `cuts` say.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) case: &'a Case,
    pub(super) cuts: Vec<usize>,
    pub(super) client: Ipv4Addr,
}

/// What the client has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) statuses: Vec<u16>,
    /// The connection was of no use afterwards.
    pub(super) closed: bool,
    /// Something that should have come did not.
    pub(super) hung: bool,
    /// What is left of the policy says so.
    pub(super) charged: usize,
}

/// An answer as it was read.
struct Answer {
    status: u16,
    target: String,
    remaining: Option<usize>,
}

// === impl Run ===

impl<'a> Run<'a> {
    pub(super) fn new(case: &'a Case, cuts: Vec<usize>) -> Self {
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        // 127.1.0.0 and on: nobody else in these tests.
        let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number);
        Self { case, cuts, client }
    }

    fn pieces(&self) -> Vec<&'a [u8]> {
        let bytes = &self.case.bytes;
        let starts = [0].into_iter().chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([bytes.len()]);
        starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
    }
}

/// Whether the application saw this because a run asked for it by itself.
pub(super) fn is_own(target: &str) -> bool {
    target == PROBE || target == AUDIT
}

/// Does all runs and says what came of each, in their order.
pub(super) fn fire(gateway: SocketAddr, runs: &[Run<'_>]) -> Vec<Outcome> {
    let batches: Vec<&[Run<'_>]> = runs.chunks(BATCH).collect();
    let outcomes: Mutex<Vec<Vec<Outcome>>> = Mutex::new(vec![Vec::new(); batches.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((number, batch)) = take(&next, &batches) {
                    let came = fire_batch(gateway, batch);
                    outcomes.lock().expect("no run panics here")[number] = came;
                }
            });
        }
    });
    outcomes.into_inner().expect("no run panicked").concat()
}

fn take<'b, T>(next: &AtomicUsize, batches: &[&'b [T]]) -> Option<(usize, &'b [T])> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    batches.get(number).map(|batch| (number, *batch))
}

fn fire_batch(gateway: SocketAddr, batch: &[Run<'_>]) -> Vec<Outcome> {
    let mut streams: Vec<TcpStream> = batch.iter().map(|run| connect(run, gateway)).collect();
    let pieces: Vec<Vec<&[u8]>> = batch.iter().map(Run::pieces).collect();
    for turn in 0..pieces.iter().map(Vec::len).max().unwrap_or_default() {
        for (stream, pieces) in streams.iter_mut().zip(&pieces) {
            if let Some(piece) = pieces.get(turn) {
                // A gateway that has seen enough may have closed.
                let _ = stream.write_all(piece);
            }
        }
    }
    for (stream, run) in streams.iter().zip(batch) {
        if run.case.half_close {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }
    let ends = streams.into_iter().zip(batch);
    ends.map(|(stream, run)| finish(stream, run, gateway)).collect()
}

fn connect(run: &Run<'_>, gateway: SocketAddr) -> TcpStream {
    let stream = raw::connect_from(IpAddr::V4(run.client), gateway);
    stream.set_nodelay(true).expect("an open socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
    stream
}

/// Reads the answers, asks whether the connection is of use, and what all of it has cost.
fn finish(mut stream: TcpStream, run: &Run<'_>, gateway: SocketAddr) -> Outcome {
    let mut outcome = Outcome::default();
    let mut expected = run.case.statuses.len();
    let mut probed = run.case.half_close;
    let mut answered = false;
    loop {
        if expected == 0 && !probed {
            probed = true;
            let probe = format!("GET {PROBE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(probe.as_bytes());
        }
        match read_answer(&mut stream) {
            Ok(Some(answer)) if answer.target == PROBE => answered = true,
            Ok(Some(answer)) => {
                outcome.statuses.push(answer.status);
                expected = expected.saturating_sub(1);
            }
            Ok(None) => break,
            Err(kind) => {
                outcome.hung = kind == ErrorKind::WouldBlock;
                break;
            }
        }
    }
    outcome.closed = !answered;
    drop(stream);
    let left = audit(run, gateway);
    outcome.charged = QUOTA.saturating_sub(left + 1 + usize::from(answered));
    outcome
}

/// What is left of the client's quota after this request.
fn audit(run: &Run<'_>, gateway: SocketAddr) -> usize {
    let mut stream = connect(run, gateway);
    let request = format!("GET {AUDIT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let answer = read_answer(&mut stream).ok().flatten();
    let left = answer.and_then(|answer| answer.remaining);
    left.unwrap_or_else(|| panic!("{}: no answer to a plain request", run.case.name))
}

/// Reads one answer; nothing at the end of the connection.
fn read_answer(stream: &mut TcpStream) -> Result<Option<Answer>, ErrorKind> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => head.push(byte[0]),
            Err(error) => return Err(error.kind()),
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let bodiless = status < 200 || status == 204 || field("x-method").as_deref() == Some("head");
    let length = field("content-length").and_then(|length| length.parse().ok());
    let length: u64 = if bodiless { 0 } else { length.unwrap_or(u64::MAX) };
    // Without a length, up to the end of the connection.
    let _ = stream.take(length).read_to_end(&mut Vec::new());
    let target = field("x-target").unwrap_or_default();
    let remaining = field("x-ratelimit-remaining").and_then(|left| left.parse().ok());
    Ok(Some(Answer { status, target, remaining }))
}
