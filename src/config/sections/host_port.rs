//! Host and port of a server.

use std::net::Ipv6Addr;

const HOST_MAX: usize = 253;

/// What `address` names: a host, IPv6 in brackets (which are left out of what is given), and a port
/// other than 0.
pub(super) fn host_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let digits = port.chars().all(|c| c.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        address.parse::<Ipv6Addr>().ok()?;
        return Some((address.to_owned(), port));
    }
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (1..=HOST_MAX).contains(&host.len()) && host.chars().all(host_char);
    named.then(|| (host.to_owned(), port))
}
