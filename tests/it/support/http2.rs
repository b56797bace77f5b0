//! HTTP/2 frame by frame: for what no library sends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::raw;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// Both flags of a request without a body.
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings without a dynamic table, so that every answer can be read by itself, and (the second)
/// with the largest windows.
const NO_TABLE: &[u8] = &[0, 1, 0, 0, 0, 0];
const LARGE_WINDOWS: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];

/// The same for the connection as a whole, on top of what it has by itself.
const LARGE_ROOM: u32 = 0x7fff_ffff - 0xffff;

/// A gateway that takes nothing for so long waits for its answers to be read.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A frame that has come.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What has come of a stream, or of the whole connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Answer(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

/// A connection to the gateway.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[NO_TABLE, LARGE_WINDOWS].concat())
    }

    pub(crate) fn open_with(address: SocketAddr, settings: &[u8]) -> Self {
        let stream = raw::connect(address);
        stream.set_nodelay(true).expect("an open socket");
        let mut connection = Self { stream };
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        connection.send(&hello).expect("the gateway reads");
        connection
    }

    /// A connection that takes whatever comes, where nobody may listen; no read takes longer than
    /// `timeout`.
    pub(crate) fn try_open(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream };
        let settings = frame(SETTINGS, 0, 0, &[NO_TABLE, LARGE_WINDOWS].concat());
        let room = frame(WINDOW_UPDATE, 0, 0, &LARGE_ROOM.to_be_bytes());
        connection.send(&[PREFACE, &settings, &room].concat())?;
        Ok(connection)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes `bytes` over and over and reads nothing, until so much was written or for a moment
    /// nothing more is taken.
    pub(crate) fn write_for_a_while(&mut self, bytes: &[u8], most: usize) -> usize {
        let piece = bytes.repeat((64 * 1024 / bytes.len()).max(1));
        self.stream.set_write_timeout(Some(A_MOMENT)).expect("a valid timeout");
        let mut sent = 0;
        while sent < most && self.stream.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        sent
    }

    /// A GET without a body.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.send(&frame(HEADERS, WHOLE, stream, &get(path)))
    }

    /// The next frame; nothing when the other end has closed, in whatever way.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        match self.try_read() {
            Ok(frame) => Some(frame),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the gateway neither answers nor closes")
            }
            Err(_) => None,
        }
    }

    /// The next frame, or what is wrong with the connection.
    pub(crate) fn try_read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        if head[3] == SETTINGS && head[4] & ACK == 0 {
            let _ = self.send(&frame(SETTINGS, ACK, 0, b""));
        }
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// What comes of the next of these streams that anything final comes of; what comes of others
    /// is passed over.
    pub(crate) fn end_of(&mut self, streams: &[u32]) -> (u32, End) {
        loop {
            let Some(frame) = self.read() else { return (0, End::Closed) };
            let end = match frame.kind {
                GOAWAY => return (0, End::GoAway(code(&frame.payload[4..]))),
                RST_STREAM => End::Reset(code(&frame.payload)),
                HEADERS => End::Answer(status(&frame.payload)),
                _ => continue,
            };
            if streams.contains(&frame.stream) {
                return (frame.stream, end);
            }
        }
    }

    /// Everything final that comes until the other end closes.
    pub(crate) fn end(&mut self) -> End {
        let mut last = End::Closed;
        while let Some(frame) = self.read() {
            if frame.kind == GOAWAY {
                last = End::GoAway(code(&frame.payload[4..]));
            }
        }
        last
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Headers as literals that stay out of the table, without Huffman's code (RFC 7541, 6.2.2).
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// What every request begins with.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    request("GET", path)
}

/// A string with its length (RFC 7541, 5.1 and 5.2).
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(length as u8);
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push((length % 128) as u8 | 128);
            length /= 128;
        }
        bytes.push(length as u8);
    }
    bytes.extend(text.as_bytes());
    bytes
}

pub(crate) fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().expect("four bytes"))
}

/// The status that a block begins with: by the static table, or as a literal.
pub(crate) fn status(block: &[u8]) -> u16 {
    // Changes of the table's size may come first.
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        [_, length, rest @ ..] if length & 0x80 != 0 => digits(&rest[..usize::from(length & 0x7f)]),
        [_, length, rest @ ..] => {
            let digits = std::str::from_utf8(&rest[..usize::from(*length)]).expect("text");
            digits.parse().expect("a number")
        }
        _ => panic!("no status: {block:?}"),
    }
}

/// Digits in Huffman's code: 0 to 2 have five bits, 3 to 9 have six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)))
        .collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let short = number(&bits[at..at + 5]);
        let (digit, length) =
            if short <= 2 { (short, 5) } else { (number(&bits[at..at + 6]) - 0b01_1001 + 3, 6) };
        status = status * 10 + digit;
        at += length;
    }
    status
}

#[test]
fn a_status_is_read_in_each_form() {
    assert_eq!(status(&[0x20, 0x88]), 200);
    assert_eq!(status(&[0x48, 3, b'4', b'2', b'9']), 429);
    // 011010 00010 011111, and ones to the end.
    assert_eq!(status(&[0x08, 0x83, 0b0110_1000, 0b0100_1111, 0b1111_1111]), 429);
    // 011011 00000 00000.
    assert_eq!(status(&[0x08, 0x82, 0b0110_1100, 0b0000_0000]), 500);
}
