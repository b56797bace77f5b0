//! Who is asking: the client's address, whatever headers claim, and its verified user.

mod claims;
mod forwarded;
mod networks;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::identity::Identity;
use crate::identity::credential::Person;

pub use claims::{ADDRESS_CLAIMS, is_address_claim};
pub use networks::Networks;

/// Most hops of a forwarding header that are looked at, from the right.
const HOPS_MAX: usize = 32;

/// The header whose entries are elements, not addresses.
const FORWARDED: &str = "forwarded";
/// The well-known prefix under which translators write IPv4 addresses (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
/// Bits of a 6to4 address (RFC 3056) that belong to one IPv4 address.
const SIX_TO_FOUR_BITS: u8 = 48;

/// How clients are told apart.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header by which they name the client, in lower case.
    pub forwarded_header: String,
    /// Bits of an IPv4 address that make a client.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that make a client: a household has at least a /64.
    pub ipv6_prefix: u8,
    /// Where users come from.
    pub identity: Identity,
}

/// The one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The full address, IPv4 also where it came mapped into IPv6.
    pub address: IpAddr,
    /// The address cut to its prefix: what limits count by.
    pub network: IpAddr,
    /// The verified user.
    pub user: Option<Vec<u8>>,
    /// What the user has subscribed to, if whoever verified the user says so.
    pub tier: Option<String>,
    /// Whether the peer that sent the request is a trusted proxy.
    pub via_trusted_proxy: bool,
}

// === impl Clients ===

impl Clients {
    /// The client behind a request that `peer` sent, by its address: nobody has asked yet who the
    /// user is.
    pub fn locate(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        self.find(peer, headers).0
    }

    /// The same, and whether a trusted proxy wrote an entry that is no address.
    pub fn find(&self, peer: IpAddr, headers: &HeaderMap) -> (Client, bool) {
        let peer = peer.to_canonical();
        let via_trusted_proxy = self.trusts(peer);
        let (address, unreadable) =
            if via_trusted_proxy { self.forwarded(peer, headers) } else { (peer, false) };
        let address = canonical(address);
        let client = Client {
            address,
            network: self.network(address),
            user: None,
            tier: None,
            via_trusted_proxy,
        };
        (client, unreadable)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The rightmost hop that is not itself a trusted proxy. An entry that is no address ends the
    /// search: what stands left of it was written by nobody we know.
    fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, bool) {
        let lines: Vec<&[u8]> = headers
            .get_all(&self.forwarded_header)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect();
        let lines = lines.iter().rev();
        if self.forwarded_header == FORWARDED {
            let elements = lines.flat_map(|line| forwarded::elements(line));
            self.nearest(peer, elements.map(forwarded::element))
        } else {
            let hops = lines.flat_map(|line| forwarded::listed(line));
            self.nearest(peer, hops.map(forwarded::address))
        }
    }

    /// The first of `hops` that is no trusted proxy; else the last that is an address.
    fn nearest(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> (IpAddr, bool) {
        let mut client = peer;
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = hop.map(|address| address.to_canonical()) else {
                return (client, true);
            };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        (client, false)
    }

    fn network(&self, address: IpAddr) -> IpAddr {
        network(address, self.ipv4_prefix, self.ipv6_prefix)
    }
}

// === impl Client ===

impl Client {
    /// The same client with its verified user.
    #[must_use]
    pub fn with(mut self, person: Option<Person>) -> Self {
        if let Some(Person { user, tier }) = person {
            self.user = Some(user.into_bytes());
            self.tier = tier;
        }
        self
    }

    /// The client in a key.
    pub fn subject(&self) -> String {
        self.network.to_string()
    }
}

/// The address that a client is known by: IPv4 also where it came mapped into IPv6 or translated from
/// it (NAT64), if it is one of the public network. Private ones no translator may write so.
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    if v6.segments()[..6] != NAT64 {
        return address;
    }
    let [.., a, b, c, d] = v6.octets();
    let v4 = Ipv4Addr::new(a, b, c, d);
    let shared = a == 100 && (64..128).contains(&b);
    let local = v4.is_private() || v4.is_loopback() || v4.is_link_local() || a == 0 || shared;
    if local { address } else { v4.into() }
}

/// `address` cut to a prefix: what limits count by. Of a 6to4 address to 48 bits at most: whoever has
/// the IPv4 address in it has all that is below.
pub fn network(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & mask32(ipv4_prefix)).into(),
        IpAddr::V6(v6) => {
            let is_6to4 = v6.segments()[0] == 0x2002;
            let prefix = if is_6to4 { ipv6_prefix.min(SIX_TO_FOUR_BITS) } else { ipv6_prefix };
            Ipv6Addr::from_bits(v6.to_bits() & mask128(prefix)).into()
        }
    }
}

fn mask32(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

fn mask128(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Clients {
        Clients {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            forwarded_header: "x-forwarded-for".to_owned(),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            identity: Identity::default(),
        }
    }

    fn identify(peer: &str, lines: &[&str]) -> Client {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        clients().locate(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let cases: [(&str, &[&str], &str); 12] = [
            ("192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.9", "10.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", &["010.0.0.1"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ];
        for (peer, lines, expected) in cases {
            assert_eq!(identify(peer, lines).address.to_string(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_and_ipv6_counts_by_prefix() {
        assert_eq!(identify("::ffff:192.0.2.1", &[]).subject(), "192.0.2.1");
        assert_eq!(identify("10.0.0.1", &["::ffff:192.0.2.1"]).subject(), "192.0.2.1");
        assert_eq!(identify("2001:db8:1:2:3:4:5:6", &[]).subject(), "2001:db8:1:2::");
        assert_eq!(identify("2001:db8:1:2::ffff", &[]).subject(), "2001:db8:1:2::");
        assert_ne!(identify("2001:db8:1:3::", &[]).subject(), "2001:db8:1:2::");
        assert_eq!(mask32(0), 0);
        assert_eq!(mask128(128), u128::MAX);
    }

    #[test]
    fn translated_addresses_are_the_ipv4_addresses_in_them() {
        assert_eq!(identify("64:ff9b::192.0.2.1", &[]).subject(), "192.0.2.1");
        assert_eq!(identify("10.0.0.1", &["64:ff9b::c000:201"]).subject(), "192.0.2.1");
        for private in ["10.0.0.1", "127.0.0.1", "192.168.1.1", "169.254.0.1", "100.64.0.1"] {
            let peer = format!("64:ff9b::{private}");
            let client = identify(&peer, &["203.0.113.9"]);
            assert!(client.address.is_ipv6() && !client.via_trusted_proxy, "{peer}");
        }
        assert_eq!(identify("2002:c000:201:1::1", &[]).subject(), "2002:c000:201::");
        assert_eq!(identify("2002:c000:201:2::1", &[]).subject(), "2002:c000:201::");
        assert_ne!(identify("2002:c000:202:1::1", &[]).subject(), "2002:c000:201::");
    }

    #[test]
    fn forwarded_is_read_like_the_other() {
        let clients = Clients { forwarded_header: "forwarded".to_owned(), ..clients() };
        let find = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("forwarded", line.parse().unwrap());
            }
            let (client, unreadable) = clients.find("10.0.0.1".parse().unwrap(), &headers);
            (client.address.to_string(), unreadable)
        };
        let is = |address: &str, unreadable| (address.to_owned(), unreadable);
        assert_eq!(find(&[]), is("10.0.0.1", false));
        assert_eq!(find(&["for=203.0.113.9;proto=https"]), is("203.0.113.9", false));
        assert_eq!(find(&["for=1.1.1.1, for=203.0.113.9, for=10.2.3.4"]), is("203.0.113.9", false));
        assert_eq!(
            find(&["for=1.1.1.1", "for=203.0.113.9", "for=10.2.3.4"]),
            is("203.0.113.9", false)
        );
        assert_eq!(find(&["for=1.1.1.1, for=_x, for=10.2.3.4"]), is("10.2.3.4", true));
        assert_eq!(find(&["for=\", for=203.0.113.9"]), is("203.0.113.9", false));
        let long = vec!["for=10.1.1.1"; 10_000].join(", ");
        assert_eq!(find(&[&long]), is("10.1.1.1", false));
    }

    proptest::proptest! {
        #[test]
        fn no_forwarding_header_is_too_odd(
            lines in proptest::collection::vec(
                "([0-9.:,;=\\[\\]\"\\\\ _a-f]|for=|10\\.0\\.0\\.1|::1){0,40}", 0..4),
            named in "(forwarded|x-forwarded-for)",
        ) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(named.parse::<http::HeaderName>().unwrap(), line.parse().unwrap());
            }
            let clients = Clients { forwarded_header: named, ..clients() };
            let (trusted, _) = clients.find("10.0.0.1".parse().unwrap(), &headers);
            let joined = lines.join(",").to_ascii_lowercase();
            let said = trusted.address.is_ipv6() || joined.contains(&trusted.address.to_string());
            proptest::prop_assert!(said || trusted.address.to_string() == "10.0.0.1");
            let (other, unreadable) = clients.find("192.0.2.1".parse().unwrap(), &headers);
            proptest::prop_assert_eq!((other.address.to_string(), unreadable), ("192.0.2.1".to_owned(), false));
        }
    }

    #[test]
    fn ten_thousand_hops_are_bounded() {
        let long = vec!["10.1.1.1"; 10_000].join(", ");
        assert_eq!(identify("10.0.0.1", &[&long]).address.to_string(), "10.1.1.1");
    }
}
