//! Clients of HTTP/1.1: those that ask again and again on connections that stay, and those that
//! take or send much, slowly.
//!
//! A connection that the gateway ends while nothing is under way on it is replaced, as every client
//! does. So before a request is sent, the client looks whether its connection has ended; a request
//! that was sent and not answered is a failure, also where the end of the connection crossed it.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::order::Order;
use super::report::Reporter;
use super::wire::{self, Head, differs, ended, error_with, wrong};
use super::{AFTER_A_FAILURE, ANSWER_TIMEOUT, pause};

/// Longest content of an ordinary answer, and longest that the application works for one.
const SMALL_MAX: usize = 6000;
const WORK_MAX_MS: u64 = 20;
/// A long download or upload.
const LARGE: usize = 256 * 1024;
const DOWNLOAD_OVER: Duration = Duration::from_secs(2);
const UPLOAD_OVER: Duration = Duration::from_millis(800);

/// A client with at most one connection.
struct Client<'a> {
    gateway: SocketAddr,
    reporter: &'a Reporter,
    stream: Option<BufReader<TcpStream>>,
}

/// Asks for little on a connection that stays, until the traffic stops.
pub(crate) fn ask_and_ask(gateway: SocketAddr, reporter: &Reporter) {
    repeat(gateway, reporter, "GET", |number, seed| Order {
        seed,
        length: fastrand::usize(..SMALL_MAX),
        over: Duration::from_millis(fastrand::u64(..WORK_MAX_MS)),
        chunked: number % 2 == 0,
    });
}

/// Takes long downloads, one after another.
pub(crate) fn download(gateway: SocketAddr, reporter: &Reporter) {
    repeat(gateway, reporter, "GET", |number, seed| Order {
        seed,
        length: LARGE,
        over: DOWNLOAD_OVER,
        chunked: (number + reporter.client as u64).is_multiple_of(2),
    });
}

/// Sends long uploads, one after another.
pub(crate) fn upload(gateway: SocketAddr, reporter: &Reporter) {
    repeat(gateway, reporter, "POST", |number, seed| Order {
        seed,
        length: LARGE,
        over: UPLOAD_OVER,
        chunked: (number + reporter.client as u64).is_multiple_of(2),
    });
}

fn repeat(
    gateway: SocketAddr,
    reporter: &Reporter,
    method: &str,
    order: impl Fn(u64, u64) -> Order,
) {
    let mut client = Client { gateway, reporter, stream: None };
    let mut number = 0;
    while !reporter.stopping() {
        number += 1;
        let result = client.ask(method, &order(number, reporter.seed(number)));
        let failed = result.is_err();
        reporter.note(result);
        if failed { sleep(AFTER_A_FAILURE) } else { pause() }
    }
}

pub(crate) fn connect(gateway: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Client ===

impl Client<'_> {
    /// Sends one request and reads its whole answer. The connection is kept if both went well and
    /// the gateway does not ask for its end.
    fn ask(&mut self, method: &str, order: &Order) -> io::Result<u16> {
        let (mut stream, reused) = self.connection()?;
        let head = format!("{method} {} HTTP/1.1\r\nhost: traffic\r\n", order.target());
        let (answered, expected) = if method == "POST" {
            // A gateway that refuses may answer before it has read everything.
            let sent = wire::send(stream.get_mut(), &head, order);
            (Head::read(&mut stream).and_then(|head| sent.map(|()| head)), order.receipt())
        } else {
            let sent = stream.get_mut().write_all(format!("{head}\r\n").as_bytes());
            (sent.and_then(|()| Head::read(&mut stream)), *order)
        };
        let answered = answered.and_then(|head| head.ok_or_else(|| ended("without an answer")));
        let on = if reused { "on a connection that was idle" } else { "on a new connection" };
        let head = answered.map_err(|error| error_with(&error, on))?;
        let body = head.body(&mut stream, &mut || self.reporter.step())?;
        let status = head.status()?;
        if status == 200 {
            differs(&body, &expected.content()).map_or(Ok(()), Err)?;
        }
        self.stream = (!head.closes()).then_some(stream);
        Ok(status)
    }

    /// The connection of the last request, unless it has ended; or a new one.
    fn connection(&mut self) -> io::Result<(BufReader<TcpStream>, bool)> {
        if let Some(stream) = self.stream.take() {
            if is_open(&stream)? {
                return Ok((stream, true));
            }
            self.reporter.ended_idle();
        }
        let stream = connect(self.gateway)?;
        self.reporter.connected();
        Ok((BufReader::new(stream), false))
    }
}

/// Whether the other side has not ended it, as far as is known here.
fn is_open(stream: &BufReader<TcpStream>) -> io::Result<bool> {
    let stream = stream.get_ref();
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(0) => Ok(false),
        Ok(_) => Err(wrong("bytes that nobody asked for", "")),
        Err(error) => Ok(error.kind() == ErrorKind::WouldBlock),
    }
}
