//! Lines that are JSON objects, whoever wrote them: nginx with `escape=json`, Caddy, this gateway.
//!
//! Each fact goes by several names. Where a line has more than one of them, the one that stands
//! first in its list below counts.

mod visit;

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use serde::Deserializer as _;

use super::entry::{Entry, Unreadable, address};
use super::moment;
use crate::limit::Timestamp;
use visit::Fields;

const PEER: &[&str] = &[
    "remote_addr",
    "remote_ip",
    "client_ip",
    "client_addr",
    "remote_address",
    "clientip",
    "source_ip",
    "ip",
    "client",
    "remote",
];
const TIME: &[&str] =
    &["msec", "timestamp", "@timestamp", "ts", "time", "datetime", "time_iso8601", "time_local"];
const METHOD: &[&str] = &["method", "request_method", "http_method", "verb"];
const TARGET: &[&str] = &["request_uri", "uri", "path", "url"];
const QUERY: &[&str] = &["args", "query_string", "query"];
const STATUS: &[&str] = &["status", "status_code", "response_status"];
const HOST: &[&str] = &["http_host", "host", "authority", "vhost", "server_name"];
const USER: &[&str] = &["user", "remote_user", "user_id", "username"];
const BODY: &[&str] = &["bytes_in", "bytes_read", "request_length"];
/// An object with header fields.
const HEADERS: &[&str] = &["headers", "request_headers"];
/// The same of the answer.
const SAID: &[&str] = &["resp_headers", "response_headers"];
/// The whole request line; or an object with facts of the request.
const REQUEST: &str = "request";
/// Single header fields under other names than that of nginx' variable.
const HEADER: &[(&str, &str)] = &[
    ("user_agent", "user-agent"),
    ("agent", "user-agent"),
    ("referer", "referer"),
    ("referrer", "referer"),
    ("x_forwarded_for", "x-forwarded-for"),
    ("forwarded_for", "x-forwarded-for"),
];
/// How nginx' variables with header fields begin; what begins so and is none.
const VARIABLE: &str = "http_";
/// How those begin that hold fields of the answer.
const VARIABLES_SAID: [&str; 2] = ["upstream_http_", "sent_http_"];
const NO_HEADER: &[&str] = &["http_status", "http_version", "http_protocol", "http_code"];

/// What this gateway's own access lines say of themselves.
const MESSAGE: &str = "message";
const MESSAGE_OWN: &str = "request";

/// What has been found in a line so far.
struct Found<'e, 'de> {
    entry: &'e mut Entry,
    peer: Ranked<IpAddr>,
    time: Ranked<Timestamp>,
    method: Ranked<Cow<'de, str>>,
    target: Ranked<Cow<'de, str>>,
    query: Ranked<Cow<'de, str>>,
    line: Ranked<Cow<'de, str>>,
    host: Ranked<Cow<'de, str>>,
    user: Ranked<Cow<'de, str>>,
    status: Ranked<u16>,
    size: Ranked<u64>,
    own: bool,
}

/// A fact, and at which place in its list the name stands by which it was found.
struct Ranked<T>(Option<(usize, T)>);

/// A value that is no object and no list.
enum Scalar<'de> {
    Text(Cow<'de, str>),
    Whole(u64),
    Fractional(f64),
}

/// Reads a line into `entry`.
pub(super) fn read(line: &[u8], entry: &mut Entry) -> Result<(), Unreadable> {
    entry.clear();
    // nginx writes bytes that are no text as they are.
    let text = String::from_utf8_lossy(line);
    let mut found = Found::new(entry);
    let mut reader = serde_json::Deserializer::from_str(&text);
    reader
        .deserialize_map(Fields(&mut found))
        .and_then(|()| reader.end())
        .map_err(|_| Unreadable("it is not one JSON object"))?;
    found.finish()
}

// === impl Found ===

impl<'e, 'de> Found<'e, 'de> {
    const fn new(entry: &'e mut Entry) -> Self {
        Self {
            entry,
            peer: Ranked(None),
            time: Ranked(None),
            method: Ranked(None),
            target: Ranked(None),
            query: Ranked(None),
            line: Ranked(None),
            host: Ranked(None),
            user: Ranked(None),
            status: Ranked(None),
            size: Ranked(None),
            own: false,
        }
    }

    /// Takes a fact, if `name` is one of those by which it goes.
    fn take(&mut self, name: &str, value: Scalar<'de>) {
        let rank = |list: &[&str]| list.iter().position(|known| *known == name);
        if let Some(rank) = rank(PEER) {
            self.peer.offer(rank, value.text().and_then(|text| address(&text)));
        } else if let Some(rank) = rank(TIME) {
            self.time.offer(rank, value.time());
        } else if let Some(rank) = rank(METHOD) {
            self.method.offer(rank, value.text());
        } else if let Some(rank) = rank(TARGET) {
            self.target.offer(rank, value.text());
        } else if let Some(rank) = rank(QUERY) {
            self.query.offer(rank, value.text());
        } else if let Some(rank) = rank(STATUS) {
            self.status.offer(rank, value.number().map(|status| status as u16));
        } else if let Some(rank) = rank(HOST) {
            self.host.offer(rank, value.text());
        } else if let Some(rank) = rank(USER) {
            self.user.offer(rank, value.written());
        } else if let Some(rank) = rank(BODY) {
            self.size.offer(rank, value.number().map(|bytes| bytes as u64));
        } else if name == REQUEST {
            self.line.offer(0, value.text());
        } else if name == MESSAGE {
            self.own = value.text().is_some_and(|text| text == MESSAGE_OWN);
        } else if let Some(text) = value.text() {
            self.header(name, &text);
        }
    }

    /// Takes a header field that stands among the other facts.
    fn header(&mut self, name: &str, value: &str) {
        if let Some(said) = VARIABLES_SAID.iter().find_map(|start| name.strip_prefix(start)) {
            if let Ok(name) = HeaderName::try_from(said.replace('_', "-")) {
                self.entry.said(name, value.as_bytes());
            }
            return;
        }
        let known = HEADER.iter().find(|(alias, _)| *alias == name).map(|(_, header)| *header);
        let variable = || {
            let header = name.strip_prefix(VARIABLE).filter(|_| !NO_HEADER.contains(&name))?;
            HeaderName::try_from(header.replace('_', "-")).ok()
        };
        let name = known.map(HeaderName::from_static).or_else(variable);
        if let Some(name) = name.filter(|name| !self.entry.head.headers.contains_key(name)) {
            self.entry.header(name, value.as_bytes());
        }
    }

    fn finish(self) -> Result<(), Unreadable> {
        let entry = self.entry;
        entry.peer = self.peer.value().ok_or(Unreadable("it has no address of a client"))?;
        entry.time = self.time.value().ok_or(Unreadable("it has no time that can be read"))?;
        entry.status = self.status.value();
        entry.size = self.size.value();
        // The gateway takes the cost of a body beforehand where the request tells its length.
        let headers = &mut entry.head.headers;
        if let Some(size) = entry.size
            && !headers.contains_key(CONTENT_LENGTH)
            && !headers.contains_key(TRANSFER_ENCODING)
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        entry.user(self.user.value().unwrap_or_default().as_bytes());
        if let Some(host) = self.host.value() {
            entry.host(host.as_bytes());
        }
        let (method, target) = (self.method.value(), self.target.value());
        let (Some(method), Some(target)) = (method, target) else {
            let line = self.line.value().ok_or(Unreadable("it has no method and path"))?;
            return entry.request_line(line.as_bytes());
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Unreadable("its method is no method"))?;
        let target = if self.own { Cow::Owned(undebugged(&target)) } else { target };
        let query = self.query.value().unwrap_or_default();
        let query = query.trim_start_matches('?');
        if matches!(query, "" | "-") || target.contains('?') {
            entry.request(method, target.as_bytes());
        } else {
            entry.request(method, format!("{target}?{query}").as_bytes());
        }
        Ok(())
    }
}

// === impl Ranked ===

impl<T> Ranked<T> {
    /// Takes `value` unless one by a better name is there.
    fn offer(&mut self, rank: usize, value: Option<T>) {
        let better = self.0.as_ref().is_none_or(|(known, _)| rank < *known);
        if let Some(value) = value.filter(|_| better) {
            self.0 = Some((rank, value));
        }
    }

    fn value(self) -> Option<T> {
        self.0.map(|(_, value)| value)
    }
}

// === impl Scalar ===

impl<'de> Scalar<'de> {
    /// A text that says something.
    fn text(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) if !matches!(&*text, "" | "-") => Some(text),
            _ => None,
        }
    }

    /// A text, or a whole number as one.
    fn written(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            other => other.text(),
        }
    }

    fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Text(text) => text.parse().ok()?,
            Self::Whole(number) => *number as f64,
            Self::Fractional(number) => *number,
        };
        (number >= 0.0).then_some(number)
    }

    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => moment::spelled(text),
            Self::Whole(number) => moment::whole(*number),
            Self::Fractional(number) => moment::fractional(*number),
        }
    }
}

/// A path as this gateway logs it, as it came.
fn undebugged(path: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(path.len()), path);
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let point = escape.strip_prefix("u{").and_then(|hex| hex.split_once('}'));
        let code = point.and_then(|(hex, after)| {
            Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after))
        });
        let (sign, after) = match (code, escape.chars().next()) {
            (Some(code), _) => code,
            (None, Some('n')) => ('\n', &escape[1..]),
            (None, Some('r')) => ('\r', &escape[1..]),
            (None, Some('t')) => ('\t', &escape[1..]),
            (None, Some('0')) => ('\0', &escape[1..]),
            (None, Some(sign)) => (sign, &escape[sign.len_utf8()..]),
            (None, None) => ('\\', escape),
        };
        plain.push(sign);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(line: &str) -> Result<Entry, Unreadable> {
        let mut entry = Entry::new();
        read(line.as_bytes(), &mut entry).map(|()| entry)
    }

    /// A line of each writer: client, micros, method, target, host and user agent.
    const LINES: [&str; 5] = [
        r#"{"time_local":"10/Oct/2000:20:55:36 +0000","remote_addr":"192.0.2.1","request":"GET /a?b=1 HTTP/1.1","status":"200","http_host":"example.org","http_user_agent":"x \"y\"","http_x_api_key":"k","request_time":"0.250"}"#,
        r#"{"level":"info","ts":971211336.0,"request":{"remote_ip":"192.0.2.1","client_ip":"10.0.0.1","method":"GET","host":"example.org","uri":"/a?b=1","headers":{"User-Agent":["x \"y\""],"X-Api-Key":["k"]},"tls":{"resumed":false}},"user_id":"","duration":0.25,"status":200,"resp_headers":{"Server":["Caddy"]}}"#,
        r#"{"ip":"192.0.2.1","timestamp":971211336000,"method":"GET","path":"/a","query":"?b=1","status":200,"headers":{"host":"example.org","user-agent":"x \"y\"","x-api-key":"k","odd":1},"duration_ms":250}"#,
        r#"{"@timestamp":"2000-10-10T20:55:36Z","remote_addr":"192.0.2.1:4711","verb":"GET","url":"/a?b=1","status":200,"host":"example.org","agent":"x \"y\"","http_x_api_key":"k","http_status":"200","request_time":0.25}"#,
        r#"{"timestamp":"2000-10-10T20:55:36.000000Z","level":"INFO","message":"request","client":"192.0.2.1","method":"GET","path":"/a?b=1","status":200,"took_ms":250.0,"http_host":"example.org","agent":"x \"y\"","http_x_api_key":"k"}"#,
    ];

    #[test]
    fn the_lines_of_all_writers_say_the_same() {
        for line in LINES {
            let entry = read_one(line).unwrap();
            assert_eq!(entry.peer.to_string(), "192.0.2.1", "{line}");
            assert_eq!(entry.time.as_micros(), 971_211_336_000_000, "{line}");
            assert_eq!((entry.head.method.as_str(), entry.status), ("GET", Some(200)), "{line}");
            assert_eq!(entry.head.uri.to_string(), "/a?b=1", "{line}");
            let headers = &entry.head.headers;
            assert_eq!(headers["host"], "example.org", "{line}");
            assert_eq!(headers["user-agent"], "x \"y\"", "{line}");
            assert_eq!(headers["x-api-key"], "k", "{line}");
            assert!(entry.user.is_empty() && !headers.contains_key("status"), "{line}");
        }
    }

    #[test]
    fn what_a_path_had_before_it_was_logged_is_found_again() {
        let hostile = "/a\"'\\\n\u{7f}\u{202e}\u{e9}z";
        assert_eq!(undebugged(&hostile.escape_debug().to_string()), hostile);
        assert_eq!(undebugged("/a\\"), "/a\\");
        assert_eq!(undebugged("/a\\u{zz}"), "/au{zz}");
    }

    #[test]
    fn the_size_of_a_body_is_its_length_unless_the_request_says_otherwise() {
        let length = |more: &str| {
            let line = format!(r#"{{"ip":"192.0.2.1","ts":1,"request":"PUT /"{more}}}"#);
            let entry = read_one(&line).unwrap();
            entry.head.headers.get(CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(length(r#","bytes_in":300"#).as_deref(), Some("300"));
        assert_eq!(length(r#","bytes_in":300,"http_content_length":"7""#).as_deref(), Some("7"));
        assert_eq!(length(r#","bytes_in":300,"http_transfer_encoding":"chunked""#), None);
        assert_eq!(length(""), None);
    }

    #[test]
    fn what_is_no_request_is_unreadable() {
        let deep = "[".repeat(10_000);
        for line in [
            "",
            "null",
            "[]",
            "{",
            "{} {}",
            r#"{"ip":"192.0.2.1","ts":1,"method":"GET"}"#,
            r#"{"ip":"example.org","ts":1,"method":"GET","path":"/"}"#,
            r#"{"ip":"192.0.2.1","ts":"now","method":"GET","path":"/"}"#,
            r#"{"ip":"192.0.2.1","ts":1,"method":"G T","path":"/"}"#,
            r#"{"ip":"192.0.2.1","ts":1,"request":"-"}"#,
            deep.as_str(),
            &format!("{{\"a\":{deep}"),
        ] {
            assert!(read_one(line).is_err(), "{line:.80}");
        }
        assert!(read_one(r#"{"ip":"192.0.2.1","ts":1,"request":"GET /"}"#).is_ok());
    }
}
