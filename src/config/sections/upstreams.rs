//! `[upstreams.NAME]`.

mod availability;
mod security;
mod servers;

use std::time::Duration;

use super::Definition;
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::config::{Balance, Protocol, Upstream};
use security::Spoken;

const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const IDLE_MIN: Duration = Duration::from_millis(100);
const PING_MIN: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const CONNECT_DEFAULT: Duration = Duration::from_secs(1);
const TRANSFER_DEFAULT: Duration = Duration::from_secs(60);
const IDLE_DEFAULT: Duration = Duration::from_secs(4);
const BALANCES: [(&str, Balance); 2] =
    [("round-robin", Balance::RoundRobin), ("least-connections", Balance::LeastConnections)];
const CONNECTIONS_MAX: u64 = 1_000_000;
/// What the proxy carries out at most.
const RETRIES_MAX: u64 = 5;
const RETRIES_DEFAULT: u64 = 2;

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
    let servers = servers::servers(&mut section);
    let Spoken { protocol, tls } = security::spoken(&mut section, servers.as_ref());
    let ping_interval = ping_interval(&mut section, protocol);
    let mut timeout = |key, least| section.duration(key, least..=HOUR);
    let connect = timeout("connect_timeout", TIMEOUT_MIN);
    let read = timeout("read_timeout", TIMEOUT_MIN);
    let write = timeout("write_timeout", TIMEOUT_MIN);
    let idle = timeout("idle_timeout", IDLE_MIN);
    let balance = section.word("balance", &BALANCES);
    let mut count = |key, most| section.integer(key, 0..=most);
    let max_connections = count("max_connections", CONNECTIONS_MAX);
    let retries = count("retries", RETRIES_MAX);
    let health = availability::health(section.table("health"));
    let ejection = availability::ejection(section.table("ejection"));
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
        balance: balance.unwrap_or(Balance::RoundRobin),
        max_connections: usize::try_from(max_connections.unwrap_or(0)).unwrap_or(usize::MAX),
        retries: usize::try_from(retries.unwrap_or(RETRIES_DEFAULT)).unwrap_or(usize::MAX),
        health,
        ejection,
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
