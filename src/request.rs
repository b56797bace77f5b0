//! The read-only facts of a request: what rules may know of it.

pub mod origin;
mod path;
pub mod reading;

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, ORIGIN};
use http::request::Parts;
use http::{HeaderName, Method};

pub use path::{Fault as PathFault, Spelling};
pub use reading::{Malformed, Reading, bare_host, is_plain_target};

/// A request as the rules see it. It borrows the head and keeps nothing.
#[derive(Clone, Debug)]
pub struct RequestView<'a> {
    /// The method as it was sent.
    pub method: &'a Method,
    /// The host in lower case, without port and final dot.
    pub host: Option<String>,
    /// The path in its one spelling, without the query.
    pub path: Cow<'a, str>,
    /// Whether that very spelling was sent, but for what makes no difference to the application by
    /// configuration.
    pub path_is_plain: bool,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
}

// === impl RequestView ===

impl<'a> RequestView<'a> {
    /// The facts of the request with this head, its path spelled as by default.
    pub fn of(head: &'a Parts) -> Self {
        Self::spelled(head, Spelling::default())
    }

    /// The same, with the path in the spelling that the configuration asks for. A path that has
    /// none stays as it is: such a request has been refused before.
    pub fn spelled(head: &'a Parts, spelling: Spelling) -> Self {
        let host = head.uri.host().or_else(|| head.headers.get(HOST)?.to_str().ok());
        let sent = match head.uri.path() {
            // The application as a whole: what is for its root is for that too.
            "*" => "/",
            path => path,
        };
        let spell = |spelling: Spelling| spelling.normalise(sent).unwrap_or(Cow::Borrowed(sent));
        let path = spell(spelling);
        Self {
            method: &head.method,
            host: host.map(bare_host),
            path_is_plain: path == sent || spell(spelling.unfolded()) == sent,
            path,
            query: head.uri.query(),
            headers: &head.headers,
        }
    }

    /// The method as limits count it: in upper case, as many applications take it, and HEAD, which
    /// costs the application what GET does, as GET.
    pub fn method_counted(&self) -> Cow<'_, str> {
        let method = self.method.as_str();
        if method.eq_ignore_ascii_case("HEAD") {
            Cow::Borrowed("GET")
        } else if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            Cow::Owned(method.to_ascii_uppercase())
        } else {
            Cow::Borrowed(method)
        }
    }

    /// All header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// The value of a header, several lines joined as HTTP joins them.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        let mut lines = self.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let first = lines.next()?.to_vec();
        Some(lines.fold(first, |joined, line| [joined.as_slice(), b", ", line].concat()))
    }

    /// The value of the first cookie of that name.
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        let lines = self.headers.get_all(COOKIE).iter();
        lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| {
                let at = pair.iter().position(|byte| *byte == b'=')?;
                Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
            })
            .find(|(found, _)| *found == name.as_bytes())
            .map(|(_, value)| value.to_vec())
    }

    /// The decoded value of the first query parameter of that name.
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_values(name).next().map(Cow::into_owned)
    }

    /// The decoded values of all query parameters of that name.
    pub fn query_values(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        let pairs = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        pairs.filter(move |(found, _)| found == name).map(|(_, value)| value)
    }

    /// Whether this is a CORS preflight, which a browser sends of its own accord.
    pub fn is_preflight(&self) -> bool {
        const REQUESTED: HeaderName = http::header::ACCESS_CONTROL_REQUEST_METHOD;
        self.method == Method::OPTIONS
            && self.headers.contains_key(ORIGIN)
            && self.headers.contains_key(REQUESTED)
    }
}

/// The length of a body, if the head of its request tells it in the one form that a [`Reading`]
/// leaves.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    one_number(headers, CONTENT_LENGTH.as_str())
}

/// The number that a header says, if it says so once and clearly; the largest where it is larger.
pub fn one_number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let text = line.to_str().ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
