//! What a line of a log says of a request, and the head that the request had as far as the line
//! tells it.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use pingora_http::RequestHeader;

use crate::limit::Timestamp;
use crate::request::is_plain_target;

/// Header fields that are taken from a line; more are left out.
const HEADERS_MAX: usize = 64;

/// Why a line says nothing of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// A request as its line tells it. One entry is filled again and again, so that a line costs no
/// memory of its own.
#[derive(Debug)]
pub(super) struct Entry {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// The time of the line.
    pub(super) time: Timestamp,
    /// The user, as whoever wrote the log knew it; empty: none.
    pub(super) user: Vec<u8>,
    /// The status of the answer.
    pub(super) status: Option<u16>,
    /// Bytes of its body.
    pub(super) size: Option<u64>,
    /// Header fields of the answer.
    pub(super) said: HeaderMap,
    /// Whether the target is one that the gateway takes; it answers others with 400.
    pub(super) plain: bool,
    /// Method, target and header fields.
    pub(super) head: Parts,
    target: RequestHeader,
}

// === impl Entry ===

impl Entry {
    /// An entry that nothing has been read into.
    pub(super) fn new() -> Self {
        let mut head = Request::new(()).into_parts().0;
        // Such a request needs no `Host`, and many logs have none.
        head.version = Version::HTTP_10;
        Self {
            peer: IpAddr::from([0, 0, 0, 0]),
            time: Timestamp::EPOCH,
            user: Vec::new(),
            status: None,
            size: None,
            said: HeaderMap::new(),
            plain: true,
            target: RequestHeader::from(head.clone()),
            head,
        }
    }

    /// Forgets what optional fields an earlier line has had.
    pub(super) fn clear(&mut self) {
        self.user.clear();
        self.head.headers.clear();
        self.said.clear();
        (self.status, self.size) = (None, None);
    }

    /// Takes a request line: `GET /path?query HTTP/1.1`. The version may be missing.
    pub(super) fn request_line(&mut self, line: &[u8]) -> Result<(), Unreadable> {
        const BROKEN: Unreadable = Unreadable("the request line is no `METHOD /path HTTP/1.1`");
        let at = line.iter().position(|byte| *byte == b' ').ok_or(BROKEN)?;
        let (method, rest) = (&line[..at], &line[at + 1..]);
        let target = match rest.iter().rposition(|byte| *byte == b' ') {
            Some(at) if rest[at + 1..].starts_with(b"HTTP/") => &rest[..at],
            _ => rest,
        };
        let method = Method::from_bytes(method).map_err(|_| BROKEN)?;
        self.request(method, target);
        Ok(())
    }

    /// Takes method and target.
    pub(super) fn request(&mut self, method: Method, target: &[u8]) {
        self.head.method = method;
        // Read by whom the gateway has it read; bytes that are no text do not get so far.
        self.plain = std::str::from_utf8(target).is_ok()
            && self.target.set_raw_path(target).is_ok()
            && is_plain_target(&self.head.method, self.target.raw_path());
        if self.plain {
            self.head.uri = self.target.uri.clone();
        }
    }

    /// The target, as far as it could be read.
    pub(super) fn target(&self) -> &[u8] {
        self.target.raw_path()
    }

    /// Takes a header field. What cannot have been one, is absent (`-`) or is one too many is left
    /// out.
    pub(super) fn header(&mut self, name: HeaderName, value: &[u8]) {
        append(&mut self.head.headers, name, value);
    }

    /// Takes a header field of the answer, likewise.
    pub(super) fn said(&mut self, name: HeaderName, value: &[u8]) {
        append(&mut self.said, name, value);
    }

    /// Takes the host that was asked for, unless a header has told it.
    pub(super) fn host(&mut self, host: &[u8]) {
        if !self.head.headers.contains_key(HOST) {
            self.header(HOST, host);
        }
    }

    /// Takes the user; `-` is nobody.
    pub(super) fn user(&mut self, user: &[u8]) {
        self.user.clear();
        if user != b"-" {
            self.user.extend_from_slice(user);
        }
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if matches!(value, b"" | b"-") || headers.len() >= HEADERS_MAX {
        return;
    }
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.append(name, value);
    }
}

/// An address as logs write it: bare, in brackets, or either with a port.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}
