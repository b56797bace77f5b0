//! `servers` of an upstream: addresses, or tables with an address and a weight.

use std::path::PathBuf;

use crate::config::diagnostic::Mistake;
use crate::config::reader::{Entry, Section};
use crate::config::sections::host_port::host_port;
use crate::config::value::{List, Text};
use crate::config::{ServerAddress, UpstreamServer};

const SERVERS_MAX: usize = 64;
const WEIGHT_MAX: u64 = 100;
const EXAMPLE: (&str, &str) =
    ("an array of strings and tables", "[\"a:1\", { address = \"b:1\", weight = 3 }]");

pub(super) fn servers(section: &mut Section<'_>) -> Option<List<UpstreamServer>> {
    section.require("servers", "[\"127.0.0.1:3000\"]");
    section.entries("servers", 1..=SERVERS_MAX, EXAMPLE, |entry| match entry {
        Entry::Text(text) => {
            address(&text).map(|address| Some(UpstreamServer { address, weight: 1 }))
        }
        Entry::Table(mut table) => {
            table.require("address", "\"127.0.0.1:3000\"");
            let address = table.parsed("address", address);
            let weight = table.integer("weight", 1..=WEIGHT_MAX).unwrap_or(1);
            table.finish();
            let weight = u32::try_from(weight).unwrap_or(1);
            Ok(address.map(|address| UpstreamServer { address, weight }))
        }
    })
}

fn address(text: &Text) -> Result<ServerAddress, Mistake> {
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => unix(path),
        None => host_port(&text.value).map(|(host, port)| ServerAddress::Tcp { host, port }),
    };
    address.ok_or_else(|| {
        let help = if text.value.contains("://") {
            "leave the scheme out, as in `127.0.0.1:3000`"
        } else {
            "as in `127.0.0.1:3000`, `app.internal:3000`, `[::1]:3000` or `unix:/run/app.sock`"
        };
        Mistake::new(format!("not the address of a server: {}", text.shown())).help(help)
    })
}

fn unix(path: &str) -> Option<ServerAddress> {
    let absolute = path.len() > 1 && path.starts_with('/') && !path.contains('\0');
    absolute.then(|| ServerAddress::Unix(PathBuf::from(path)))
}
