//! `[server]`, `[admin]` and `[log]`.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::diagnostic::{Mistake, Span};
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::config::{Format, Level, Log, Server, ServerBounds};

pub(super) const LISTEN_MAX: usize = 16;
const THREADS_MAX: u64 = 1024;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LAME_DUCK: Duration = Duration::from_millis(500);
/// Longest path of a Unix socket, less what this process puts behind it while it makes one.
const SOCKET_PATH_MAX: usize = 96;
/// Each takes a file descriptor, and one more towards the application.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// As many as Pingora reads.
const HEADERS_MAX: u64 = 256;
const KIB: u64 = 1024;
/// Most that `max_body` may say, also of a route: a tebibyte, where there is no bound in practice.
pub(super) const BODY_MAX: u64 = 1 << 40;
const DEFAULT_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

/// What connections and requests are held to: enough for applications as they are, and far too
/// little for whoever wants to fill the memory.
fn bounds(section: &mut Section<'_>) -> ServerBounds {
    let mut count = |key, bounds: RangeInclusive<u64>, default| {
        section
            .integer(key, bounds)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(default)
    };
    let max_connections = count("max_connections", 1..=CONNECTIONS_MAX, 8_192);
    let each = count("max_connections_per_address", 0..=CONNECTIONS_MAX, 1_024);
    let max_headers = count("max_headers", 10..=HEADERS_MAX, 100);
    let mut size =
        |key, bounds: RangeInclusive<u64>, default| section.size(key, bounds).unwrap_or(default);
    let header_size = size("max_header_size", KIB..=512 * KIB, 32 * KIB);
    let target_size = size("max_target_size", 256..=64 * KIB, 8 * KIB);
    let timeout = Duration::from_secs(10);
    ServerBounds {
        max_connections,
        max_connections_per_address: each,
        max_headers,
        max_header_size: usize::try_from(header_size).unwrap_or(usize::MAX),
        max_target_size: usize::try_from(target_size).unwrap_or(usize::MAX),
        max_body: size("max_body", 0..=BODY_MAX, 64 * KIB * KIB),
        min_body_rate: size("min_body_rate", 0..=KIB * KIB, 240),
        proxy_protocol: section.boolean("proxy_protocol").unwrap_or(false),
        header_timeout: section.duration("header_timeout", TIMEOUT_MIN..=HOUR).unwrap_or(timeout),
        half_close_timeout: section
            .duration("half_close_timeout", Duration::ZERO..=HOUR)
            .unwrap_or(Duration::from_secs(5)),
    }
}

/// Gives also the place of the addresses. There may be none of them where others speak TLS.
pub(super) fn server(mut section: Section<'_>, has_tls: bool) -> (Server, Span) {
    let least = usize::from(!has_tls);
    let listen = section.list("listen", least..=LISTEN_MAX, address).map(|list| {
        let mut seen = HashSet::new();
        for (span, address) in &list.items {
            if address.port() != 0 && !seen.insert(*address) {
                let mistake = Mistake::new("this address is listed twice").help("remove one");
                section.error(span, mistake);
            }
        }
        list.into_values()
    });
    let threads = section.integer("threads", 0..=THREADS_MAX).unwrap_or(0);
    let bounds = bounds(&mut section);
    let server = Server {
        bounds,
        listen: listen.unwrap_or_else(|| vec![loopback(DEFAULT_PORT)]),
        threads: usize::try_from(threads).unwrap_or(0),
        h2c: section.boolean("h2c").unwrap_or(false),
        keepalive_timeout: section
            .duration("keepalive_timeout", Duration::from_secs(1)..=HOUR)
            .unwrap_or(MINUTE),
        read_timeout: section.duration("read_timeout", TIMEOUT_MIN..=HOUR).unwrap_or(HALF_MINUTE),
        write_timeout: section.duration("write_timeout", TIMEOUT_MIN..=HOUR).unwrap_or(HALF_MINUTE),
        watch_config: section.boolean("watch_config").unwrap_or(true),
        drain_timeout: section
            .duration("drain_timeout", Duration::ZERO..=HOUR)
            .unwrap_or(HALF_MINUTE),
        lame_duck: section.duration("lame_duck", Duration::ZERO..=HOUR).unwrap_or(LAME_DUCK),
        upgrade_socket: section.parsed("upgrade_socket", socket),
        handover_timeout: section
            .duration("handover_timeout", Duration::ZERO..=DAY)
            .unwrap_or(10 * MINUTE),
    };
    let span = section.span_of("listen");
    section.finish();
    (server, span)
}

/// `taken` are the public addresses, listed at `taken_at`.
pub(super) fn admin(mut section: Section<'_>, taken: &[SocketAddr], taken_at: &Span) -> SocketAddr {
    let listen = section.parsed("listen", address).unwrap_or_else(|| loopback(ADMIN_PORT));
    // The default may clash as well: then the place is the other listener's.
    let span = if section.has("listen") { section.span_of("listen") } else { taken_at.clone() };
    if listen.port() != 0 && taken.contains(&listen) {
        let mistake = Mistake::new("the admin listener has an address of `[server]`")
            .help("give `listen` in `[admin]` an address of its own");
        section.error(&span, mistake);
    }
    if !listen.ip().to_canonical().is_loopback() {
        let mistake = Mistake::new("the admin listener has no password, and others can reach it")
            .help(format!("listen on a loopback address, as in `127.0.0.1:{ADMIN_PORT}`"));
        section.reader().warn(&span, mistake);
    }
    section.finish();
    listen
}

pub(super) fn log(mut section: Section<'_>) -> Log {
    let levels = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
    let formats = [("text", Format::Text), ("json", Format::Json)];
    let log = Log {
        level: section.word("level", &levels).unwrap_or(Level::Info),
        format: section.word("format", &formats).unwrap_or(Format::Text),
        access: section.boolean("access").unwrap_or(false),
    };
    section.finish();
    log
}

fn socket(text: &Text) -> Result<PathBuf, Mistake> {
    let path = Path::new(&text.value);
    let mistake = if !path.is_absolute() || path.file_name().is_none() {
        Mistake::new(format!("not the absolute path of a socket: {}", text.shown()))
    } else if text.value.len() > SOCKET_PATH_MAX || text.value.contains('\0') {
        Mistake::new(format!("too long for a socket: more than {SOCKET_PATH_MAX} bytes"))
    } else {
        return Ok(path.to_owned());
    };
    Err(mistake.help("as in `/run/sluicegate/upgrade.sock`, in a folder of the gateway's own"))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(super) fn address(text: &Text) -> Result<SocketAddr, Mistake> {
    text.value.parse().map_err(|_| {
        let host = text.value.rsplit_once(':').map_or(text.value.as_str(), |(host, _)| host);
        let named = !host.contains(':') && host.contains(|c: char| c.is_ascii_alphabetic());
        let message = if named { "an address is needed, not a name" } else { "not an address" };
        Mistake::new(format!("{message}: {}", text.shown()))
            .help("write an IP address and a port, as in `127.0.0.1:8080` or `[::1]:8080`")
    })
}
