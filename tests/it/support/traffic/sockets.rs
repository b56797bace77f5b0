//! Web sockets that stay open for the whole time and echo messages. One that breaks is a failure.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::http1::connect;
use super::order::Order;
use super::report::Reporter;
use super::wire::{Head, differs, ended, error_with, wrong};
use super::{AFTER_A_FAILURE, pause};

/// The example of RFC 6455, section 1.3: a key, and what only a WebSocket server answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
/// The first bit of a frame says that its message is whole, that of a length that it is masked.
const FIRST_BIT: u8 = 0x80;
/// In place of a length: the next two bytes are it.
const LONGER: u8 = 126;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
/// Longest message.
const MESSAGE_MAX: usize = 4000;

/// An open conversation.
struct Socket {
    stream: BufReader<TcpStream>,
}

/// Talks until the traffic stops, on one connection as long as it holds.
pub(crate) fn talk(gateway: SocketAddr, reporter: &Reporter) {
    let mut number = 0;
    while !reporter.stopping() {
        let held = Socket::open(gateway, reporter).and_then(|mut socket| {
            while !reporter.stopping() {
                number += 1;
                socket.exchange(reporter.seed(number))?;
                reporter.note(Ok(101));
                pause();
            }
            socket.close()
        });
        if let Err(error) = held {
            reporter.note(Err(error));
            sleep(AFTER_A_FAILURE);
        }
    }
}

// === impl Socket ===

impl Socket {
    fn open(gateway: SocketAddr, reporter: &Reporter) -> io::Result<Self> {
        let mut stream = BufReader::new(connect(gateway)?);
        reporter.connected();
        let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
        let head = format!("GET /socket HTTP/1.1\r\nhost: traffic\r\n{upgrade}");
        let head = format!("{head}sec-websocket-key: {KEY}\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes())?;
        let head = Head::read(&mut stream)?.ok_or_else(|| ended("before the 101"))?;
        let accept = head.header("sec-websocket-accept");
        if (head.status()?, accept) != (101, Some(ACCEPT)) {
            return Err(wrong("no WebSocket: ", &head.start));
        }
        Ok(Self { stream })
    }

    fn exchange(&mut self, seed: u64) -> io::Result<()> {
        let length = fastrand::usize(..MESSAGE_MAX);
        let content = Order { seed, length, over: Duration::ZERO, chunked: false }.content();
        write_frame(self.stream.get_mut(), BINARY, &content, Some(MASK))?;
        let (kind, echo) = read_frame(&mut self.stream)
            .map_err(|error| error_with(&error, "while an echo was waited for"))?;
        if kind != BINARY {
            return Err(wrong(&format!("a frame of kind {kind} in place of the echo"), ""));
        }
        differs(&echo, &content).map_or(Ok(()), Err)
    }

    /// Both sides say that it is over; then the connection ends, in whatever way.
    fn close(&mut self) -> io::Result<()> {
        write_frame(self.stream.get_mut(), CLOSE, &1000_u16.to_be_bytes(), Some(MASK))?;
        let (kind, _) = read_frame(&mut self.stream)?;
        if kind != CLOSE {
            return Err(wrong(&format!("a frame of kind {kind} in place of the end"), ""));
        }
        match self.stream.read(&mut [0]) {
            Ok(1..) => Err(wrong("more after the end of a WebSocket", "")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

/// One whole message in one frame.
pub(crate) fn write_frame(
    writer: &mut impl Write,
    kind: u8,
    content: &[u8],
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let masked = if mask.is_some() { FIRST_BIT } else { 0 };
    let mut frame = vec![FIRST_BIT | kind];
    let length = u16::try_from(content.len()).map_err(|_| wrong("too long a message", ""))?;
    if let Ok(short @ ..LONGER) = u8::try_from(length) {
        frame.push(masked | short);
    } else {
        frame.push(masked | LONGER);
        frame.extend(length.to_be_bytes());
    }
    frame.extend(mask.into_iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    writer.write_all(&frame)
}

/// The next frame, without its mask.
pub(crate) fn read_frame(reader: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    let short = head[1] & !FIRST_BIT;
    let mut length = usize::from(short);
    if head[0] & FIRST_BIT == 0 || short > LONGER {
        return Err(wrong("a frame that nobody sends here", ""));
    }
    if short == LONGER {
        let mut long = [0; 2];
        reader.read_exact(&mut long)?;
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut mask = [0; 4];
    if head[1] & FIRST_BIT != 0 {
        reader.read_exact(&mut mask)?;
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content)?;
    content.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0] & 0x0f, content))
}

#[test]
fn frames_of_each_length_are_read_as_they_were_written() {
    for length in [0, 1, 125, 126, 127, 128, 65_535] {
        for mask in [None, Some(MASK)] {
            let (content, mut bytes) = (vec![7; length], Vec::new());
            write_frame(&mut bytes, BINARY, &content, mask).expect("memory takes all");
            let mut reader = bytes.as_slice();
            assert_eq!(read_frame(&mut reader).expect("a frame"), (BINARY, content));
            assert_eq!(reader.len(), 0, "nothing is left");
        }
    }
}
