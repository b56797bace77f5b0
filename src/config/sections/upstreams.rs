//! `[upstreams.NAME]`.

mod security;

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::Definition;
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::config::value::Text;
use crate::config::{Protocol, ServerAddress, Upstream};
use security::Spoken;

const SERVERS_MAX: usize = 64;
const HOST_MAX: usize = 253;
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const IDLE_MIN: Duration = Duration::from_millis(100);
const PING_MIN: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const CONNECT_DEFAULT: Duration = Duration::from_secs(1);
const TRANSFER_DEFAULT: Duration = Duration::from_secs(60);
const IDLE_DEFAULT: Duration = Duration::from_secs(4);

pub(super) fn upstreams(root: &mut Section<'_>) -> Vec<Definition<Upstream>> {
    let Some(named) = root.named("upstreams") else { return Vec::new() };
    if named.is_empty() {
        let mistake = Mistake::new("no upstream: requests have nowhere to go")
            .help("add `[upstreams.app]` with `servers = [\"127.0.0.1:3000\"]`");
        root.error(&root.span_of("upstreams"), mistake);
    }
    named.into_iter().map(upstream).collect()
}

fn upstream(named: Named<'_>) -> Definition<Upstream> {
    let Named { name, mut section } = named;
    let span = section.span().clone();
    section.require("servers", "[\"127.0.0.1:3000\"]");
    let servers = section.list("servers", 1..=SERVERS_MAX, server_address);
    let Spoken { protocol, tls } = security::spoken(&mut section, servers.as_ref());
    let ping_interval = ping_interval(&mut section, protocol);
    let mut timeout = |key, least| section.duration(key, least..=HOUR);
    let connect = timeout("connect_timeout", TIMEOUT_MIN);
    let read = timeout("read_timeout", TIMEOUT_MIN);
    let write = timeout("write_timeout", TIMEOUT_MIN);
    let idle = timeout("idle_timeout", IDLE_MIN);
    section.finish();
    let meaning = servers.map(|servers| Upstream {
        name: name.clone(),
        servers: servers.into_values(),
        protocol,
        tls,
        ping_interval,
        connect_timeout: connect.unwrap_or(CONNECT_DEFAULT),
        read_timeout: read.unwrap_or(TRANSFER_DEFAULT),
        write_timeout: write.unwrap_or(TRANSFER_DEFAULT),
        idle_timeout: idle.unwrap_or(IDLE_DEFAULT),
    });
    Definition { name, span, meaning }
}

fn ping_interval(section: &mut Section<'_>, protocol: Protocol) -> Option<Duration> {
    let interval = section.duration("ping_interval", PING_MIN..=HOUR);
    if section.has("ping_interval") && protocol == Protocol::H1 {
        let mistake = Mistake::new("`ping_interval` is of no use: HTTP/1.1 knows no pings")
            .help("leave it out, or set `protocol` to `h2` or `h2c`");
        section.error(&section.key_span("ping_interval"), mistake);
    }
    interval
}

fn server_address(text: &Text) -> Result<ServerAddress, Mistake> {
    let address = match text.value.strip_prefix("unix:") {
        Some(path) => unix(path),
        None => tcp(&text.value),
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

fn tcp(address: &str) -> Option<ServerAddress> {
    let (host, port) = address.rsplit_once(':')?;
    let digits = port.chars().all(|c| c.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        address.parse::<Ipv6Addr>().ok()?;
        return Some(ServerAddress::Tcp { host: address.to_owned(), port });
    }
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = (1..=HOST_MAX).contains(&host.len()) && host.chars().all(host_char);
    named.then(|| ServerAddress::Tcp { host: host.to_owned(), port })
}
