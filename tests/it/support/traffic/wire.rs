//! Heads and bodies of HTTP/1.1, as both sides write and read them. Nothing here panics: what is
//! wrong with a connection is what the traffic is there to find.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::thread::sleep;

use super::order::{Order, PIECE_EVERY};

/// Longest line of a head, and most of them.
const LINE_MAX: u64 = 16 * 1024;
const LINES_MAX: usize = 200;
/// What is read of a body at once.
const READ_AT_ONCE: usize = 16 * 1024;
const BODY_MAX: usize = 8 << 20;

/// The head of a request or of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    headers: Vec<(String, String)>,
}

// === impl Head ===

impl Head {
    /// The next head; nothing where the other side has ended before it.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(reader)? else { return Ok(None) };
        let mut headers = Vec::new();
        while headers.len() < LINES_MAX {
            let line = line(reader)?.ok_or_else(|| ended("within a head"))?;
            if line.is_empty() {
                return Ok(Some(Self { start, headers }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| wrong("no header: ", &line))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Err(wrong("too many lines after ", &start))
    }

    /// The status, of an answer.
    pub(crate) fn status(&self) -> io::Result<u16> {
        let status = self.start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|digits| digits.parse().ok());
        status.ok_or_else(|| wrong("no status line: ", &self.start))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether the other side asks for the connection's end after this.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The whole body. `step` is called for each part that has come.
    pub(crate) fn body(
        &self,
        reader: &mut impl BufRead,
        step: &mut dyn FnMut(),
    ) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let read = if self.header("transfer-encoding").is_some() {
            chunks(reader, &mut body, step)
        } else {
            let length = self.header("content-length").map_or(Ok(0), str::parse);
            let length = length.map_err(|_| wrong("no length: ", &self.start))?;
            part(reader, length, &mut body, step)
        };
        let had = body.len();
        read.map_err(|error| error_with(&error, &format!("after {had} bytes of a body")))?;
        Ok(body)
    }
}

fn chunks(reader: &mut impl BufRead, body: &mut Vec<u8>, step: &mut dyn FnMut()) -> io::Result<()> {
    loop {
        let size = line(reader)?.ok_or_else(|| ended("before a chunk"))?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| wrong("no size: ", &size))?;
        part(reader, size, body, step)?;
        if !line(reader)?.is_some_and(|line| line.is_empty()) {
            return Err(wrong("no line break after a chunk", ""));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn part(
    reader: &mut impl BufRead,
    mut length: usize,
    body: &mut Vec<u8>,
    step: &mut dyn FnMut(),
) -> io::Result<()> {
    if body.len().saturating_add(length) > BODY_MAX {
        return Err(wrong("the body is too long", ""));
    }
    let mut bytes = [0; READ_AT_ONCE];
    while length > 0 {
        let most = length.min(READ_AT_ONCE);
        let read = reader.read(&mut bytes[..most])?;
        if read == 0 {
            return Err(ended(&format!("{length} bytes too early")));
        }
        body.extend_from_slice(&bytes[..read]);
        length -= read;
        step();
    }
    Ok(())
}

fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    reader.by_ref().take(LINE_MAX).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(Some(line.to_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(ended("within a line")),
    }
}

/// Sends a head that lacks its length and its end, and the content of `order` as it says.
pub(crate) fn send(writer: &mut impl Write, head: &str, order: &Order) -> io::Result<()> {
    let content = order.content();
    let framing = if order.chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", content.len())
    };
    let head = format!("{head}{framing}\r\n\r\n");
    if !order.is_slow() {
        let body = if order.chunked { chunk(&content) } else { content };
        let end = if order.chunked { "0\r\n\r\n" } else { "" };
        return writer.write_all(&[head.as_bytes(), &body, end.as_bytes()].concat());
    }
    writer.write_all(head.as_bytes())?;
    for piece in content.chunks(order.piece()) {
        sleep(PIECE_EVERY);
        let piece = if order.chunked { chunk(piece) } else { piece.to_vec() };
        writer.write_all(&piece)?;
    }
    if order.chunked { writer.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What has come is not what was ordered.
pub(crate) fn differs(content: &[u8], expected: &[u8]) -> Option<io::Error> {
    if content == expected {
        return None;
    }
    let same = content.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let lengths = format!("{} of {} bytes", content.len(), expected.len());
    Some(wrong(&format!("another content from byte {same} on, {lengths}"), ""))
}

pub(crate) fn wrong(what: &str, detail: &str) -> io::Error {
    let detail: String = detail.chars().take(200).collect();
    io::Error::new(ErrorKind::InvalidData, format!("{what}{detail}"))
}

pub(crate) fn ended(when: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("it ended {when}"))
}

pub(crate) fn error_with(error: &io::Error, words: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{error}, {words}"))
}

#[test]
fn bodies_are_read_as_they_were_sent() {
    for (chunked, length) in [(true, 0), (true, 5000), (false, 0), (false, 5000)] {
        let order = Order { seed: 3, length, over: std::time::Duration::ZERO, chunked };
        let mut bytes = Vec::new();
        send(&mut bytes, "HTTP/1.1 200 OK\r\n", &order).expect("memory takes all");
        let mut reader = bytes.as_slice();
        let head = Head::read(&mut reader).expect("it is right").expect("it is there");
        assert_eq!(head.status().expect("a status"), 200);
        let body = head.body(&mut reader, &mut || ()).expect("it is whole");
        assert!(differs(&body, &order.content()).is_none());
        assert!(Head::read(&mut reader).expect("it is right").is_none(), "nothing is left");
        let mut short = &bytes[..bytes.len() - 1];
        let head = Head::read(&mut short);
        let whole = head.and_then(|head| head.expect("a head").body(&mut short, &mut || ()));
        assert_eq!(whole.expect_err("a byte is missing").kind(), ErrorKind::UnexpectedEof);
    }
}
