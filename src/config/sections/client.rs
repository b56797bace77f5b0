//! `[client]`.

use super::networks::network;
use crate::config::Client;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{List, Text, listed};

const PROXIES_MAX: usize = 256;
/// The forwarding headers of this version, the default first.
const FORWARDED_HEADERS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "forwarded"];

/// Reads the section; also whether it trusts no peer at all.
pub(super) fn client(mut section: Section<'_>) -> (Client, bool) {
    let proxies = section.list("trusted_proxies", 0..=PROXIES_MAX, network);
    // A list that cannot be read is a mistake of its own.
    let written = proxies.as_ref().map(|proxies| proxies.written);
    let trusts_nobody = written.map_or(!section.has("trusted_proxies"), |written| written == 0);
    for (span, network) in proxies.iter().flat_map(|proxies| &proxies.items) {
        if network.prefix_len() == 0 {
            let mistake = Mistake::new("every client may say which address it has")
                .help("name the networks of your proxies and no others");
            section.reader().warn(span, mistake);
        }
    }
    let ipv4_prefix = section.integer("ipv4_prefix", 8..=32).unwrap_or(32);
    let ipv6_prefix = section.integer("ipv6_prefix", 16..=128).unwrap_or(64);
    let client = Client {
        trusted_proxies: proxies.map(List::into_values).unwrap_or_default(),
        forwarded_header: section
            .parsed("forwarded_header", forwarded_header)
            .unwrap_or_else(|| FORWARDED_HEADERS[0].to_owned()),
        ipv4_prefix: u8::try_from(ipv4_prefix).unwrap_or(32),
        ipv6_prefix: u8::try_from(ipv6_prefix).unwrap_or(64),
    };
    section.finish();
    (client, trusts_nobody)
}

fn forwarded_header(text: &Text) -> Result<String, Mistake> {
    let lower = text.value.to_ascii_lowercase();
    if FORWARDED_HEADERS.contains(&lower.as_str()) {
        return Ok(lower);
    }
    Err(Mistake::new(format!("not a forwarding header of this version: {}", text.shown()))
        .help(format!("one of {}", listed(FORWARDED_HEADERS))))
}
