//! Constant load on gateways, and what came of each request.
//!
//! An admitted request certainly happened between its sending and its answer, and nothing more is
//! known of the moment. So what is counted is the certain count of a window: the admissions that
//! were sent and answered within it. It is never too high, however late a thread is run.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Only a hang runs into it; the tests assert far less.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that keeps its connection, and makes a new one after a failure.
pub(crate) struct Caller {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The number of its target.
    pub(crate) target: usize,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) status: Result<u16, ErrorKind>,
}

/// Where requests go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// By which its samples are told from others.
    pub(crate) number: usize,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Further header lines, each ended by a line break.
    pub(crate) headers: &'static str,
}

/// Threads that ask until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Sample>>>,
}

// === impl Caller ===

impl Caller {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a GET with these further header lines, each ended by a line break.
    pub(crate) fn get(&mut self, path: &str, headers: &str) -> io::Result<u16> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: load\r\n{headers}\r\n").as_bytes())
    }

    /// Sends a whole request as it is: not HEAD, whose answer has a length and no body.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.get_mut().write_all(request)?;
        let (status, stays) = read_status(&mut stream)?;
        self.stream = stays.then_some(stream);
        Ok(status)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }
}

/// Reads an answer that has a length; its status, and whether the connection stays.
fn read_status(stream: &mut impl BufRead) -> io::Result<(u16, bool)> {
    let (mut line, mut status, mut length, mut stays) = (String::new(), None, 0, true);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if status.is_none() {
            status = text.split(' ').nth(1).and_then(|number| number.parse().ok());
        } else if let Some(number) = text.strip_prefix("content-length:") {
            length = number.trim().parse().map_err(|_| ErrorKind::InvalidData)?;
        } else if text == "connection: close" {
            stays = false;
        } else if text.is_empty() {
            break;
        }
    }
    io::copy(&mut stream.take(length), &mut io::sink())?;
    Ok((status.ok_or(ErrorKind::InvalidData)?, stays))
}

// === impl Load ===

impl Load {
    /// One thread for each list of targets, which it asks in turn, at most one every `every`.
    pub(crate) fn start(lists: Vec<Vec<Target>>, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = lists.into_iter().map(|targets| {
            let stop = Arc::clone(&stop);
            spawn(move || ask(&targets, every, &stop))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Ends it and gives what came of every request.
    pub(crate) fn stop(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(targets: &[Target], every: Duration, stop: &AtomicBool) -> Vec<Sample> {
    let mut callers: Vec<Caller> =
        targets.iter().map(|target| Caller::new(target.address)).collect();
    let mut samples = Vec::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let at = turn % targets.len();
        let target = targets[at];
        let sent = Instant::now();
        let status = callers[at].get(target.path, target.headers).map_err(|error| error.kind());
        let received = Instant::now();
        samples.push(Sample { target: target.number, sent, received, status });
        sleep(every.saturating_sub(sent.elapsed()));
    }
    samples
}

// === impl Sample ===

impl Sample {
    pub(crate) fn waited(&self) -> Duration {
        self.received - self.sent
    }

    pub(crate) fn admitted(&self) -> bool {
        self.status == Ok(200)
    }

    /// Neither let through nor refused by a limit.
    pub(crate) fn failed(&self) -> bool {
        !matches!(self.status, Ok(200 | 429))
    }
}

/// The largest certain count of a window of that length that lies wholly within `[from, to]`;
/// `None` if no window does.
pub(crate) fn largest_count<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    window: Duration,
    (from, to): (Instant, Instant),
) -> Option<usize> {
    let last = to.checked_sub(window).filter(|last| *last >= from)?;
    let within =
        |sample: &&Sample| sample.admitted() && sample.sent >= from && sample.received < to;
    let mut admitted: Vec<(Instant, Instant)> =
        samples.filter(within).map(|sample| (sample.sent, sample.received)).collect();
    admitted.sort_unstable();
    // A window may begin later, until its first certain admission begins, and lose nothing.
    let starts = admitted.iter().map(|(sent, _)| *sent).filter(|sent| *sent <= last);
    let starts: Vec<Instant> = starts.chain([last]).collect();
    let count = |start: Instant| {
        let later = &admitted[admitted.partition_point(|(sent, _)| *sent < start)..];
        let near = later.iter().take_while(|(sent, _)| *sent < start + window);
        near.filter(|(_, received)| *received < start + window).count()
    };
    starts.into_iter().map(count).max()
}

#[test]
fn only_what_is_certain_is_counted() {
    let began = Instant::now();
    let at = |ms: u64| began + Duration::from_millis(ms);
    let sample = |sent: u64, received: u64, status: u16| Sample {
        target: 0,
        sent: at(sent),
        received: at(received),
        status: Ok(status),
    };
    let samples =
        [sample(0, 10, 200), sample(5, 99, 200), sample(50, 100, 200), sample(60, 70, 429)];
    let largest = |length: u64, from: u64, to: u64| {
        largest_count(samples.iter(), Duration::from_millis(length), (at(from), at(to)))
    };
    assert_eq!(largest(100, 0, 200), Some(2), "the third may have happened in the next window");
    assert_eq!(largest(101, 0, 200), Some(3));
    assert_eq!(largest(100, 6, 106), Some(1), "nothing from before the phase");
    assert_eq!(largest(100, 0, 99), None, "no such window");
}
