//! One reading of a request: what two parsers could take for different things is refused, or brought
//! into one form before rules see it and before the application does. The same for HTTP/1 and
//! HTTP/2.
//!
//! Bytes are not looked at here: whoever has made a head of them has refused what is no HTTP.

mod authority;
mod hop;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use http::header::{
    CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{StatusCode, Version};

use super::path::{Fault, Spelling};

pub use authority::{bare_host, is_plain_target};

/// Headers by which some frameworks take a request for one with another method.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method", "x-http-method-override", "x-method-override"];
/// Digits of a length: as many as always fit.
const LENGTH_DIGITS_MAX: usize = 19;
const CONTINUE: &[u8] = b"100-continue";

/// How requests are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What becomes of header names with an underscore.
    pub underscores: Underscores,
    /// Whether headers that name another method go on to the application.
    pub keeps_method_override: bool,
    /// How paths are spelled.
    pub spelling: Spelling,
    /// Whether the application gets paths in their one spelling.
    pub forwards_spelling: bool,
    /// Headers that decide something, in lower case: `Connection` takes none of them off.
    pub deciding: BTreeSet<String>,
    /// Those of them that come in one line at most.
    pub once: BTreeSet<String>,
}

/// What becomes of header names with an underscore, which to CGI and its heirs are those with a
/// hyphen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They are taken off.
    #[default]
    Drop,
    /// The request is refused.
    Reject,
    /// They go on.
    Keep,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The target is no path.
    Target,
    /// The host is missing, or is said twice or differently.
    Host,
    /// The path has no one spelling.
    Path(Fault),
    /// A header name has an underscore.
    Underscore,
    /// The length of the body is no number, or several.
    Length,
    /// `Connection` names what it may not take off, or names too much.
    Connection,
    /// A header that tells who somebody is stands there twice.
    Duplicate,
    /// An upgrade comes with a body.
    Upgrade,
    /// The client expects what nobody here does.
    Expectation,
}

/// What is to be changed in the head of a request, so that it has one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Headers to take off.
    pub off: Vec<HeaderName>,
    /// How many of them for an underscore.
    pub underscores: u64,
    /// The one `Content-Length`, where the request says it otherwise.
    pub length: Option<u64>,
}

// === impl Reading ===

impl Reading {
    /// What to change in a request with this head; or why it is refused. `target` is the target as
    /// it was sent.
    pub fn read(&self, head: &Parts, target: &[u8]) -> Result<Changes, Malformed> {
        authority::read(head, target)?;
        self.spelling.normalise(head.uri.path()).map_err(Malformed::Path)?;
        let mut changes = Changes::default();
        self.read_names(&head.headers, &mut changes)?;
        hop::read_connection(&head.headers, &self.deciding)?;
        if self.once.iter().any(|name| head.headers.get_all(name).iter().nth(1).is_some()) {
            return Err(Malformed::Duplicate);
        }
        let length = length(&head.headers)?;
        changes.length = length.filter(|length| !is_said(&head.headers, *length));
        hop::read_upgrade(head, length, &mut changes)?;
        read_expectation(head, &mut changes)?;
        let trailers = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"trailers");
        if !head.headers.get_all(TE).iter().all(trailers) {
            changes.off.push(TE);
        }
        Ok(changes)
    }

    /// The path that the application gets instead of the one that was sent; `None`: that one.
    pub fn forwarded(&self, path: &str) -> Option<String> {
        if !self.forwards_spelling {
            return None;
        }
        match self.spelling.unfolded().normalise(path) {
            Ok(Cow::Owned(spelled)) if spelled != path => Some(spelled),
            _ => None,
        }
    }

    fn read_names(&self, headers: &HeaderMap, changes: &mut Changes) -> Result<(), Malformed> {
        for name in headers.keys() {
            let text = name.as_str();
            if text.contains('_') && self.underscores != Underscores::Keep {
                if self.underscores == Underscores::Reject {
                    return Err(Malformed::Underscore);
                }
                changes.underscores += 1;
                changes.off.push(name.clone());
            } else if !self.keeps_method_override && is_method_override(text) {
                changes.off.push(name.clone());
            }
        }
        Ok(())
    }
}

fn is_method_override(name: &str) -> bool {
    let known = |name: &str| METHOD_OVERRIDES.contains(&name);
    known(name) || name.contains('_') && known(&name.replace('_', "-"))
}

/// The length of the body that all `Content-Length` of a request agree on. Where there is also a
/// `Transfer-Encoding` readers do not.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let agreed = lines.try_fold(None, |agreed, line| agreed_length(agreed, line.as_bytes()))?;
    if agreed.is_some() && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Malformed::Length);
    }
    Ok(agreed)
}

/// What a further `Content-Length`, one number or a list of them, and those before it all say.
pub fn agreed_length(mut agreed: Option<u64>, line: &[u8]) -> Result<Option<u64>, Malformed> {
    for value in line.split(|byte| *byte == b',') {
        let length = number(value.trim_ascii()).ok_or(Malformed::Length)?;
        if *agreed.get_or_insert(length) != length {
            return Err(Malformed::Length);
        }
    }
    Ok(agreed)
}

/// Digits and nothing else; so many of them always fit.
fn number(digits: &[u8]) -> Option<u64> {
    let plain = (1..=LENGTH_DIGITS_MAX).contains(&digits.len());
    let plain = plain && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// The bytes of methods and of names of header fields (RFC 9110, section 5.6.2).
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether one line says just that length.
fn is_said(headers: &HeaderMap, length: u64) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    only.is_some_and(|line| line.as_bytes() == length.to_string().as_bytes())
}

fn read_expectation(head: &Parts, changes: &mut Changes) -> Result<(), Malformed> {
    let mut lines = head.headers.get_all(EXPECT).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    if lines.next().is_some() || !line.as_bytes().eq_ignore_ascii_case(CONTINUE) {
        return Err(Malformed::Expectation);
    }
    if head.version == Version::HTTP_10 {
        // Such a client does not know of it, and whoever reads it would wait.
        changes.off.push(EXPECT);
    }
    Ok(())
}

// === impl Changes ===

impl Changes {
    /// Makes them.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.off {
            headers.remove(name);
        }
        if let Some(length) = self.length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

// === impl Malformed ===

impl Malformed {
    /// Its word in the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Host => "host",
            Self::Path(Fault::Escape) => "path-escape",
            Self::Path(Fault::Slash) => "path-slash",
            Self::Path(Fault::Control) => "path-control",
            Self::Path(Fault::Root) => "path-root",
            Self::Path(Fault::Params) => "path-params",
            Self::Underscore => "underscore",
            Self::Length => "content-length",
            Self::Connection => "connection",
            Self::Duplicate => "duplicate",
            Self::Upgrade => "upgrade",
            Self::Expectation => "expect",
        }
    }

    /// The status of the refusal.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "the request target is not a path",
            Self::Host => "the request names no host, or more than one",
            Self::Path(fault) => return fault.fmt(f),
            Self::Underscore => "the name of a header has an underscore",
            Self::Length => "the length of the body is not one number",
            Self::Connection => "`Connection` names what it may not take off",
            Self::Duplicate => "a header that tells who somebody is stands there twice",
            Self::Upgrade => "an upgrade is a GET without a body",
            Self::Expectation => "only `100-continue` can be expected",
        })
    }
}

#[cfg(test)]
mod tests;
