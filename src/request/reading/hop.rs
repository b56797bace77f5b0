//! What a request says to the next hop alone: `Connection`, and the protocol that it wants to change
//! to.

use std::collections::BTreeSet;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use super::{Changes, Malformed, is_token};

/// Most headers that `Connection` may name: Pingora refuses more than these in the middle of a
/// request.
const NAMED_MAX: usize = 9;
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Headers that `Connection` may take off of no request: they frame it, or say who sends it what.
const NEVER: [&str; 8] = [
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "transfer-encoding",
    "x-request-id",
];

/// How the names of headers begin in which proxies tell of the client.
const FORWARDED: &str = "x-forwarded";

/// Refuses a `Connection` that names what decides something: one reader would see it, and the next
/// not.
pub(super) fn read_connection(
    headers: &HeaderMap,
    deciding: &BTreeSet<String>,
) -> Result<(), Malformed> {
    for (at, name) in named(headers).enumerate() {
        let plain = String::from_utf8_lossy(name).to_ascii_lowercase().replace('_', "-");
        let decides = NEVER.contains(&&*plain)
            || plain.starts_with(FORWARDED)
            || deciding.iter().any(|known| known.replace('_', "-") == plain);
        // What is no token was meant for somebody who reads otherwise.
        if at >= NAMED_MAX || decides || !name.iter().all(|byte| is_token(*byte)) {
            return Err(Malformed::Connection);
        }
    }
    Ok(())
}

/// What `Connection` names, without blanks.
fn named(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let names = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty())
}

/// Leaves the upgrade to a WebSocket and takes off every other. `length` is that of the body.
pub(super) fn read_upgrade(
    head: &Parts,
    length: Option<u64>,
    changes: &mut Changes,
) -> Result<(), Malformed> {
    let headers = &head.headers;
    if headers.contains_key(&HTTP2_SETTINGS) {
        changes.off.push(HTTP2_SETTINGS);
    }
    let mut lines = headers.get_all(UPGRADE).iter();
    let Some(first) = lines.next() else { return Ok(()) };
    let wanted = named(headers).any(|name| name.eq_ignore_ascii_case(b"upgrade"));
    let websocket = first.as_bytes().eq_ignore_ascii_case(b"websocket") && lines.next().is_none();
    if !websocket || !wanted || head.version != Version::HTTP_11 {
        changes.off.push(UPGRADE);
        return Ok(());
    }
    // What follows the head is a body to one and frames to another.
    let has_body =
        length.is_some_and(|length| length > 0) || headers.contains_key(TRANSFER_ENCODING);
    if has_body || head.method != Method::GET {
        return Err(Malformed::Upgrade);
    }
    Ok(())
}
