//! The address of a client: whatever a forwarding header says, only trusted proxies are believed,
//! and nobody on their left.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use sluicegate::client::{Clients, canonical, network};
use sluicegate::identity::Identity;

use crate::ITERATIONS;
use crate::text::text;

const WORDS: [&str; 20] = [
    ",",
    ", ",
    "10.0.0.1",
    "10.255.0.2",
    "203.0.113.9",
    "[2001:db8::7]",
    "2001:db8::7",
    "::1",
    "::ffff:10.0.0.3",
    "::ffff:203.0.113.9",
    ":80",
    "]:443",
    "[",
    "]",
    "unknown",
    "010.0.0.1",
    "for=",
    "64:ff9b::1.2.3.4",
    "\n",
    "fe80::1%eth0",
];

#[test]
fn forwarded_is_believed_from_the_right() {
    let clients = Clients {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        forwarded_header: "x-forwarded-for".to_owned(),
        ipv4_prefix: 24,
        ipv6_prefix: 64,
        identity: Identity::default(),
    };
    bolero::check!(name = "forwarded")
        .with_iterations(ITERATIONS)
        .with_max_len(96)
        .for_each(|input| is_believed_from_the_right(&clients, &text(input, &WORDS)));
}

fn is_believed_from_the_right(clients: &Clients, said: &str) {
    let headers = lines(said);
    let [stranger, proxy]: [IpAddr; 2] =
        ["192.0.2.1", "10.9.9.9"].map(|address| address.parse().unwrap());
    let ignored = clients.locate(stranger, &headers);
    assert_eq!((ignored.address, ignored.via_trusted_proxy), (stranger, false), "{said:?}");

    let found = clients.locate(proxy, &headers);
    let address = found.address;
    assert_eq!(address, address.to_canonical(), "{said:?}: IPv4 is IPv4 however it comes");
    assert_eq!(found.network, network(address, 24, 64), "{said:?}");
    assert_eq!(network(found.network, 24, 64), found.network, "{said:?}");
    if !clients.trusted_proxies.iter().any(|one| one.contains(&address)) {
        // Who stands left of him adds what he likes, and changes nothing.
        for between in ["\n", ", "] {
            let longer = lines(&format!("198.51.100.1, 10.0.0.9{between}{said}"));
            assert_eq!(clients.locate(proxy, &longer), found, "{said:?}");
        }
    }
    // What no proxy of ours has added is not there.
    let is_said = address == proxy || said.contains(&address.to_string());
    assert!(is_said || spelled_otherwise(said, address), "{said:?}: {address}");
}

/// The lines of a header, those that HTTP lets through.
fn lines(said: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in said.split('\n') {
        if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
            headers.append("x-forwarded-for", value);
        }
    }
    headers
}

/// Whether some part of what was said is another spelling of `address`.
fn spelled_otherwise(said: &str, address: IpAddr) -> bool {
    let marks = |c: char| matches!(c, ',' | '\n' | '[' | ']' | '\t' | ' ');
    let parts = said.split(marks).map(str::trim);
    parts
        .flat_map(|part| [Some(part), part.rsplit_once(':').map(|(host, _)| host)])
        .flatten()
        .filter_map(|part| part.parse::<IpAddr>().ok())
        .any(|one| canonical(one) == address)
}
