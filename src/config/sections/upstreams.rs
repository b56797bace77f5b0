//! `[upstreams.NAME]`.

mod security;

use std::path::PathBuf;
use std::time::Duration;

use super::Definition;
use super::host_port::host_port;
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::config::value::Text;
use crate::config::{Protocol, ServerAddress, Upstream};
use security::Spoken;

const SERVERS_MAX: usize = 64;
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
