//! The PROXY protocol, versions 1 and 2: a proxy that passes connections on says first whose they
//! are (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use pingora_core::protocols::l4::stream::Stream as Plain;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use ppp::{v1, v2};
use tokio::io::AsyncReadExt;

/// Longest preamble of version 2: the addresses, and what clouds add to them.
const BINARY_MAX: usize = 4 * 1024;
/// Bytes of a preamble of version 2 before what they announce.
const BINARY_START: usize = 16;
/// Where its version stands, in the upper half of a byte.
const BINARY_VERSION: usize = 12;
/// Longest line of version 1, with its end.
const TEXT_MAX: usize = 107;
/// What it begins with.
const TEXT: &[u8] = b"PROXY ";

/// Whom a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The proxy itself, which looks whether we are alive.
    Proxy,
    /// Somebody; of whom the proxy does not say who it is, nobody's address.
    Client(SocketAddr),
}

/// Reads the preamble off a connection and gives it the address of its client. False if there is
/// none that can be read.
pub(super) async fn take(connection: &mut Plain) -> bool {
    let mut read = Vec::new();
    let (owner, length) = loop {
        match parse(&read) {
            Some(Ok(found)) => break found,
            Some(Err(())) => return false,
            None => match connection.read_buf(&mut read).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            },
        }
    };
    connection.rewind(&read[length..]);
    if let Owner::Client(address) = owner {
        name(connection, address);
    }
    true
}

/// Owner and length of a whole preamble; nothing yet if there is more to come. What is not whole is
/// not shown to the parser, which could take a part of an address for a wrong one.
fn parse(bytes: &[u8]) -> Option<Result<(Owner, usize), ()>> {
    let begins = |with: &[u8]| with.iter().zip(bytes).all(|(a, b)| a == b);
    if begins(v2::PROTOCOL_PREFIX) {
        if bytes.get(BINARY_VERSION).is_some_and(|byte| byte >> 4 != 2) {
            return Some(Err(()));
        }
        let announced = bytes.get(BINARY_START - 2..BINARY_START)?;
        let length = BINARY_START + usize::from(announced[0]) * 256 + usize::from(announced[1]);
        if length > BINARY_MAX {
            return Some(Err(()));
        }
        return Some(binary(bytes.get(..length)?));
    }
    if !begins(TEXT) {
        return Some(Err(()));
    }
    match bytes.iter().take(TEXT_MAX).position(|byte| *byte == b'\n') {
        Some(end) => Some(text(&bytes[..=end])),
        None if bytes.len() >= TEXT_MAX => Some(Err(())),
        None => None,
    }
}

fn text(line: &[u8]) -> Result<(Owner, usize), ()> {
    let header = v1::Header::try_from(line).map_err(|_| ())?;
    let owner = match header.addresses {
        v1::Addresses::Tcp4(pair) => client(pair.source_address, pair.source_port),
        v1::Addresses::Tcp6(pair) => client(pair.source_address, pair.source_port),
        v1::Addresses::Unknown => client(Ipv4Addr::UNSPECIFIED, 0),
    };
    Ok((owner, line.len()))
}

fn binary(preamble: &[u8]) -> Result<(Owner, usize), ()> {
    let header = v2::Header::try_from(preamble).map_err(|_| ())?;
    let owner = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(pair)) => {
            client(pair.source_address, pair.source_port)
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(pair)) => {
            client(pair.source_address, pair.source_port)
        }
        (v2::Command::Local, _) => Owner::Proxy,
        // What such a client says must not pass for the proxy's own words.
        (v2::Command::Proxy, _) => client(Ipv4Addr::UNSPECIFIED, 0),
    };
    Ok((owner, preamble.len()))
}

fn client(address: impl Into<IpAddr>, port: u16) -> Owner {
    Owner::Client(SocketAddr::new(address.into(), port))
}

/// The address of the other end, as everybody who asks the connection will hear it.
fn name(connection: &mut Plain, client: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(connection.as_raw_fd());
    // A fresh cell takes its first value.
    let _ = digest.peer_addr.set(Some(client.into()));
    connection.set_socket_digest(digest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(bytes: &[u8]) -> Option<Result<(Owner, usize), ()>> {
        for end in 0..bytes.len() {
            if let Some(early) = parse(&bytes[..end]) {
                return Some(early);
            }
        }
        parse(bytes)
    }

    #[test]
    fn both_versions_name_the_client() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
        let Some(Ok((Owner::Client(address), length))) = owner(text) else { panic!("not read") };
        assert_eq!((address.to_string().as_str(), length), ("192.0.2.7:5000", text.len()));
        let text = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n";
        let Some(Ok((Owner::Client(address), _))) = owner(text) else { panic!("not read") };
        assert_eq!(address.to_string(), "[2001:db8::7]:5000");
        assert_eq!(owner(b"PROXY UNKNOWN\r\n"), Some(Ok((client(Ipv4Addr::UNSPECIFIED, 0), 15))));
        let mut binary = v2::PROTOCOL_PREFIX.to_vec();
        binary.extend([0x21, 0x11, 0, 16, 192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 187]);
        binary.extend([4, 0, 1, 42]);
        let Some(Ok((Owner::Client(address), length))) = owner(&binary) else { panic!("not read") };
        assert_eq!((address.to_string().as_str(), length), ("192.0.2.7:5000", binary.len()));
        let mut local = v2::PROTOCOL_PREFIX.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(owner(&local), Some(Ok((Owner::Proxy, 16))));
    }

    #[test]
    fn what_is_no_preamble_is_none() {
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"PROXY TCP4 a b 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n",
            b"proxy UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        ] {
            assert_eq!(owner(bytes), Some(Err(())), "{bytes:?}");
        }
    }
}
