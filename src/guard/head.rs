//! The head of an HTTP/1 request, read strictly and byte by byte: what comes out depends on the
//! bytes alone and never on how they are split over packets.
//!
//! RFC 9112 lets a recipient be lenient in several places (a bare LF, a folded field, spaces around
//! what should stand alone). Two recipients that are lenient in different ways are how requests are
//! smuggled; this one is not lenient, but for up to two empty lines before the request line.

use http::Uri;
use http::uri::PathAndQuery;

use super::fault::Fault;
use super::framing::{Framing, is_field_byte};
use crate::request::reading::{agreed_length, is_token};

/// Empty lines before a request line that are skipped (RFC 9112, section 2.2: at least one).
const EMPTY_LINES_MAX: u8 = 2;
/// Longest method. The longest registered one has 17 letters.
const METHOD_MAX: usize = 32;
/// What a version begins with.
const VERSION: &[u8] = b"HTTP/1.";

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Bytes of all of it.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// Reads a head as its bytes come.
#[derive(Debug)]
pub struct Scanner {
    bounds: HeadBounds,
    at: At,
    bytes: usize,
    /// Bytes of the part that is read.
    part: usize,
    fields: usize,
    empty_lines: u8,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    EmptyLf,
    Method,
    Target,
    Version,
    LineLf,
    LineStart,
    Name,
    Value,
    EndLf,
}

// === impl Scanner ===

impl Scanner {
    /// A reader of the next head.
    pub const fn new(bounds: HeadBounds) -> Self {
        Self { bounds, at: At::Start, bytes: 0, part: 0, fields: 0, empty_lines: 0 }
    }

    /// Reads on: how many of these bytes belong to the head, if it ends among them.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.take(*byte)? {
                return Ok(Some(at + 1));
            }
            if self.bytes >= self.bounds.bytes {
                return Err(Fault::HeaderSize);
            }
        }
        Ok(None)
    }

    /// Whether this byte ends the head.
    fn take(&mut self, byte: u8) -> Result<bool, Fault> {
        self.bytes += 1;
        let next = match (self.at, byte) {
            (At::EndLf, b'\n') => return Ok(true),
            (At::EmptyLf, b'\n') => At::Start,
            (At::LineLf, b'\n') => At::LineStart,
            (At::EmptyLf | At::LineLf | At::EndLf, _) => return Err(Fault::BareCr),
            (_, b'\n') => return Err(Fault::BareLf),
            (At::Start, b'\r') => {
                self.empty_lines += 1;
                if self.empty_lines > EMPTY_LINES_MAX {
                    return Err(Fault::RequestLine);
                }
                At::EmptyLf
            }
            (At::Start | At::Method | At::Target | At::Version, _) => self.request_line(byte)?,
            (At::LineStart, b'\r') => At::EndLf,
            (At::LineStart, b' ' | b'\t') => return Err(Fault::Folded),
            (At::LineStart | At::Name, _) => self.name(byte)?,
            (At::Value, b'\r') => At::LineLf,
            (At::Value, _) if is_field_byte(byte) => At::Value,
            (At::Value, _) => return Err(Fault::Control),
        };
        self.part = if next == self.at { self.part + 1 } else { 0 };
        self.at = next;
        Ok(false)
    }

    fn request_line(&self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Start | At::Method, _) if is_token(byte) && self.part < METHOD_MAX => {
                Ok(At::Method)
            }
            (At::Target, b' ') if self.part > 0 => Ok(At::Version),
            (At::Target, b'\r') => Err(Fault::Version),
            (At::Target, _) if self.part >= self.bounds.target => Err(Fault::TargetSize),
            // No fragment, which is the client's own; and nothing beyond ASCII, which some take for
            // UTF-8 and others for Latin-1.
            (At::Method, b' ') | (At::Target, b'!' | b'"' | b'$'..=b'~') => Ok(At::Target),
            (At::Version, _) if VERSION.get(self.part) == Some(&byte) => Ok(At::Version),
            (At::Version, b'0' | b'1') if self.part == VERSION.len() => Ok(At::Version),
            (At::Version, b'\r') if self.part > VERSION.len() => Ok(At::LineLf),
            (At::Version, _) => Err(Fault::Version),
            _ => Err(Fault::RequestLine),
        }
    }

    fn name(&mut self, byte: u8) -> Result<At, Fault> {
        if self.at == At::LineStart {
            self.fields += 1;
            if self.fields > self.bounds.fields {
                return Err(Fault::HeaderCount);
            }
        }
        match byte {
            b':' if self.at == At::Name => Ok(At::Value),
            _ if is_token(byte) => Ok(At::Name),
            _ => Err(Fault::HeaderName),
        }
    }
}

/// Looks at a head that a scanner has read as a whole: how the body is delimited, if the request is
/// one that Pingora would not refuse before anybody has heard of it.
pub fn examine(head: &[u8]) -> Result<Framing, Fault> {
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| *line == b"\r");
    let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method.eq_ignore_ascii_case(b"CONNECT") {
        return Err(Fault::Method);
    }
    let fields = lines.filter_map(field);
    let mut hosts = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let host = hosts.next().map(|(_, value)| value);
    if hosts.next().is_some() {
        return Err(Fault::Host);
    }
    if target.starts_with(b"/") {
        PathAndQuery::try_from(target).map_err(|_| Fault::Target)?;
    } else if let Ok(uri) = Uri::try_from(target)
        && let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some())
        && host.is_some_and(|host| host != authority.as_str().as_bytes())
    {
        return Err(Fault::Host);
    }
    framing(head)
}

/// How the body of the request with this head is delimited.
fn framing(head: &[u8]) -> Result<Framing, Fault> {
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| *line == b"\r");
    let old = lines.next().is_some_and(|line| line.trim_ascii_end().ends_with(b"1.0"));
    let (mut length, mut codings) = (None, 0);
    for (name, value) in lines.filter_map(field) {
        if name.eq_ignore_ascii_case(b"content-length") {
            length = agreed_length(length, value).map_err(|_| Fault::ContentLength)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings += 1;
            if codings > 1 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferEncoding);
            }
        }
    }
    match (length, codings) {
        (Some(_), 1) => Err(Fault::TwoLengths),
        (_, 1) if old => Err(Fault::TransferEncoding),
        (_, 1) => Ok(Framing::chunked()),
        (length, _) => Ok(Framing::length(length.unwrap_or(0))),
    }
}

/// Name and value of a line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    Some((name, value[1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadBounds = HeadBounds { bytes: 200, fields: 3, target: 20 };

    /// What becomes of `text`, whole and byte by byte.
    fn read(text: &str) -> Result<Option<usize>, Fault> {
        let whole = Scanner::new(BOUNDS).scan(text.as_bytes());
        let mut scanner = Scanner::new(BOUNDS);
        let mut apart = Ok(None);
        for (at, byte) in text.bytes().enumerate() {
            apart = scanner.scan(&[byte]).map(|end| end.map(|end| at + end));
            if apart != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, apart, "{text:?}");
        whole
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nX:\r\n\r\n",
            "\r\n\r\nM-SEARCH * HTTP/1.1\r\nX: \ta b\x7fe9\r\n\r\n".replace('\x7f', "%").as_str(),
        ] {
            assert_eq!(read(&format!("{head}rest")), Ok(Some(head.len())), "{head:?}");
            assert_eq!(read(&head[..head.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_a_fault() {
        let line = |line: &str| format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        let cases = [
            ("GET / HTTP/1.1\n\r\n".to_owned(), Fault::BareLf),
            ("GET / HTTP/1.1\rX\n\r\n".to_owned(), Fault::BareCr),
            ("GET /\r\n\r\n".to_owned(), Fault::Version),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), Fault::Version),
            ("GET / HTTP/1.12\r\n\r\n".to_owned(), Fault::Version),
            ("GET / http/1.1\r\n\r\n".to_owned(), Fault::Version),
            ("GET  / HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET /a#b HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("GET /a\tb HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            (" GET / HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            ("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(), Fault::RequestLine),
            (format!("{} / HTTP/1.1\r\n\r\n", "M".repeat(40)), Fault::RequestLine),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20)), Fault::TargetSize),
            (line(" Host: a"), Fault::Folded),
            (line("Host: a\r\n b"), Fault::Folded),
            (line("Host : a"), Fault::HeaderName),
            (line(": a"), Fault::HeaderName),
            (line("no colon"), Fault::HeaderName),
            (line("Host: a\nX: b"), Fault::BareLf),
            (line("Host: a\rX: b"), Fault::BareCr),
            (line("Host: a\0"), Fault::Control),
            (line("A: b\r\nA: b\r\nA: b\r\nA: b"), Fault::HeaderCount),
            (line(&format!("A: {}", "b".repeat(200))), Fault::HeaderSize),
        ];
        for (text, fault) in cases {
            assert_eq!(read(&text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn what_pingora_would_refuse_is_refused_before() {
        for (head, fault) in [
            ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n", Fault::Method),
            ("connect / HTTP/1.1\r\nHost: a\r\n", Fault::Method),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nhOST: a\r\n", Fault::Host),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n", Fault::Host),
            ("GET http://A/ HTTP/1.1\r\nHost: a\r\n", Fault::Host),
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n", Fault::Host),
            ("GET /<a> HTTP/1.1\r\nHost: a\r\n", Fault::Target),
        ] {
            assert_eq!(examine(format!("{head}\r\n").as_bytes()), Err(fault), "{head:?}");
        }
        for head in [
            "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n",
            "\r\nGET /a\"{}|^?b HTTP/1.1\r\nHost: a\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.0\r\n",
        ] {
            assert_eq!(
                examine(format!("{head}\r\n").as_bytes()),
                Ok(Framing::length(0)),
                "{head:?}"
            );
        }
    }

    #[test]
    fn a_body_is_delimited_in_one_way_or_not_taken() {
        let framed = |version: &str, lines: &str| {
            framing(format!("POST / HTTP/{version}\r\n{lines}\r\n\r\n").as_bytes())
        };
        assert_eq!(framed("1.1", "Host: a"), Ok(Framing::length(0)));
        assert_eq!(framed("1.1", "Content-Length: 5"), Ok(Framing::length(5)));
        assert_eq!(
            framed("1.1", "content-length:5, 5\r\nContent-Length: 5"),
            Ok(Framing::length(5))
        );
        assert_eq!(framed("1.1", "Transfer-Encoding: Chunked"), Ok(Framing::chunked()));
        for value in ["", "+5", "-5", "5_0", "0x5", "5 5", "5,", "5, 6", "99999999999999999999"] {
            let lines = format!("Content-Length: {value}");
            assert_eq!(framed("1.1", &lines), Err(Fault::ContentLength), "{value}");
        }
        for value in
            ["", "identity", "xchunked", "gzip, chunked", "chunked, identity", "\"chunked\""]
        {
            let lines = format!("Transfer-Encoding: {value}");
            assert_eq!(framed("1.1", &lines), Err(Fault::TransferEncoding), "{value}");
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked";
        assert_eq!(framed("1.1", twice), Err(Fault::TransferEncoding));
        assert_eq!(framed("1.0", "Transfer-Encoding: chunked"), Err(Fault::TransferEncoding));
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5";
        assert_eq!(framed("1.1", both), Err(Fault::TwoLengths));
        assert_eq!(framed("1.0", both), Err(Fault::TwoLengths));
        // Of two faults the first is said.
        let unlike = "Transfer-Encoding: gzip\r\nContent-Length: five";
        assert_eq!(framed("1.1", unlike), Err(Fault::TransferEncoding));
    }
}
