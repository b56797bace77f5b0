//! The target of a request, and the host that it is for.

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

use super::Malformed;

/// Refuses a target that is no path to every reader, and a host that is not one to every reader.
pub(super) fn read(head: &Parts, target: &[u8]) -> Result<(), Malformed> {
    let odd = |byte: &u8| !byte.is_ascii_graphic() || *byte == b'#';
    if !is_plain_target(&head.method, target) || target.iter().any(odd) {
        return Err(Malformed::Target);
    }
    let mut lines = head.headers.get_all(HOST).iter();
    let host = lines.next().map(HeaderValue::as_bytes);
    if lines.next().is_some() || !host.is_none_or(is_host) {
        return Err(Malformed::Host);
    }
    let named = authority(head, target)?;
    match (host, named) {
        (Some(host), Some(named)) if !host.eq_ignore_ascii_case(named) => Err(Malformed::Host),
        // In HTTP/2 `:authority` stands for it; an absolute target of HTTP/1 has to have both.
        (None, Some(_)) if head.version == Version::HTTP_2 => Ok(()),
        (None, None) if head.version <= Version::HTTP_10 => Ok(()),
        (None, _) => Err(Malformed::Host),
        (Some(_), _) => Ok(()),
    }
}

/// The host and port that the target names, if it does.
fn authority<'a>(head: &'a Parts, target: &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let named = if let Some(authority) = head.uri.authority() {
        Some(authority.as_str().as_bytes())
    } else {
        let colon = target.iter().position(|byte| *byte == b':');
        let behind = colon.and_then(|at| target.get(at + 1..)?.strip_prefix(b"//"));
        behind.filter(|_| !target.starts_with(b"/")).map(|rest| {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            &rest[..end.unwrap_or(rest.len())]
        })
    };
    match named {
        Some(named) if !is_host(named) => Err(Malformed::Host),
        named => Ok(named),
    }
}

/// Whether a request target is one that every reader takes for the same path: a path, an absolute
/// `http` URI, or `*` with OPTIONS. Others (`foo:bar`, `@x`) are matched as one thing here and may
/// be routed as another by the application.
pub fn is_plain_target(method: &Method, target: &[u8]) -> bool {
    let absolute = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    target.starts_with(b"/")
        || absolute(b"http://")
        || absolute(b"https://")
        || (target == b"*" && method == Method::OPTIONS)
}

/// Whether every reader takes this for the same host: a name or an address, with at most a port.
/// What is none (`a:x`, `a, b`) is matched as one thing here and may be taken for another by the
/// application.
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let name = |text: &str| {
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let sign = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        inner.map_or_else(
            || !text.is_empty() && text.chars().all(sign),
            |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
        )
    };
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            name(host) && (port.is_empty() || port.parse::<u16>().is_ok())
        }
        _ => name(text),
    }
}

/// A host in lower case, without port and final dot: `Example.ORG.:8080` is `example.org`; an IPv6
/// address keeps its brackets.
pub fn bare_host(host: &str) -> String {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    without_port.trim_end_matches('.').to_ascii_lowercase()
}
