//! Addresses as proxies write them, in `X-Forwarded-For` and in `Forwarded` (RFC 7239).
//!
//! Both are read from the right: what stands there was written by the proxy that is nearest, and
//! nothing further left can change how it is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The entries of a line of `X-Forwarded-For`, from the right.
pub(super) fn listed(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.rsplit(|byte| *byte == b',')
}

/// The elements of a line of `Forwarded`, from the right: a comma between quotes parts none.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(line, b',')
}

/// The address of an element of `Forwarded`: that of its one `for`.
pub(super) fn element(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in parts(element, b';') {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        if !pair[..at].trim_ascii().eq_ignore_ascii_case(b"for") {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(address(unquoted(pair[at + 1..].trim_ascii())?)?);
    }
    found
}

/// What stands between the quotes, if there are any. No address needs an escape.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\"")?,
        None => value,
    };
    (!inner.contains(&b'"') && !inner.contains(&b'\\')).then_some(inner)
}

/// An address as proxies write it: bare, with a port, in brackets, in brackets with a port. No zone,
/// no leading zeros, no hexadecimal: what readers disagree about is none.
pub(super) fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop.trim_ascii()).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        let plain = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return inner.parse::<Ipv6Addr>().ok().filter(|_| plain).map(IpAddr::V6);
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => {
            host.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
        }
        _ => text.parse::<IpAddr>().ok(),
    }
}

/// A number, or a made-up name that begins with `_`.
fn is_port(text: &str) -> bool {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    number || text.len() > 1 && text.starts_with('_') && text.bytes().all(letter)
}

/// The parts of `text` between the `separator`s outside of quotes, from the right.
fn parts(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        for at in (0..text.len()).rev() {
            match text[at] {
                b'"' if !(quoted && is_escaped(text, at)) => quoted = !quoted,
                byte if byte == separator && !quoted => {
                    rest = Some(&text[..at]);
                    return Some(&text[at + 1..]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

/// Whether an odd number of backslashes stands before that place.
fn is_escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_the_forms_that_proxies_write() {
        for (hop, expected) in [
            ("203.0.113.9", Some("203.0.113.9")),
            (" 203.0.113.9:4711 ", Some("203.0.113.9")),
            ("203.0.113.9:_x", Some("203.0.113.9")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:443", Some("2001:db8::7")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("010.0.0.1", None),
            ("0x7f.0.0.1", None),
            ("2130706433", None),
            ("1.2.3", None),
            ("1.2.3.4.", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:99999", None),
            ("1.2.3.4:+1", None),
            ("fe80::1%eth0", None),
            ("[fe80::1%1]:80", None),
            ("[1.2.3.4]", None),
            ("[::1", None),
            ("[::1]x", None),
            ("\u{a0}1.2.3.4", None),
        ] {
            let address = address(hop.as_bytes()).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{hop}");
        }
    }

    #[test]
    fn an_element_names_one_address() {
        for (text, expected) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("For=192.0.2.1;proto=http;by=203.0.113.4", Some("192.0.2.1")),
            ("proto=https; for=\"192.0.2.1:80\"", Some("192.0.2.1")),
            ("for=\"[2001:db8::7]:443\";host=\"a;for=9.9.9.9\"", Some("2001:db8::7")),
            ("for=_hidden", None),
            ("for=unknown", None),
            ("for=192.0.2.1;for=192.0.2.2", None),
            ("for=\"192.0.2.1", None),
            ("for=\"192.0.2\\.1\"", None),
            ("proto=http", None),
            ("192.0.2.1", None),
            ("", None),
        ] {
            let address = element(text.as_bytes()).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_client_wrote_first_changes_nothing_behind_it() {
        let last = b"for=203.0.113.9;host=\"a, b \\\" c\"";
        for first in ["", "for=\"", "for=\"x\\", "\"\"\"", "for=\"1.1.1.1\\\"", "a\\"] {
            let line = [first.as_bytes(), b", ", last].concat();
            let rightmost = elements(&line).next().unwrap();
            assert_eq!(rightmost.trim_ascii(), last, "{first}");
        }
    }
}
