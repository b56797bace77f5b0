//! The application's servers, and which of them a request goes to.

mod patient;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::sleep;

use patient::PatientConnect;
pub use tls::Tls;

/// How long a resolved name is used before it is looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon a name that could not be resolved is looked up again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// Addresses of one name that are used at most.
const ADDRESSES_MAX: usize = 64;
/// Streams on one HTTP/2 connection to a server. Pingora's default is one.
const H2_STREAMS_MAX: u32 = 100;
/// Bytes of one answer that may be under way on an HTTP/2 connection. All streams together get
/// theirs: were the connection's window smaller than their sum, one client that reads slowly would
/// hold up the answers of all others. So this times the streams is the most that a connection
/// keeps in memory, 25 MiB, and a stream carries some 250 MB/s over a millisecond's distance.
const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// A group of servers that answer the same requests.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    servers: Vec<Server>,
    next: AtomicUsize,
    settings: Settings,
    /// Notified after each look-up.
    resolved: Notify,
}

/// How the servers are spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// HTTP/2 instead of HTTP/1.1.
    pub h2: bool,
    /// TLS, and how both sides prove who they are; `None`: in plain.
    pub tls: Option<Tls>,
    /// How often an HTTP/2 connection is asked whether it lives; `None`: never.
    pub ping_interval: Option<Duration>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of a response.
    pub read_timeout: Duration,
    /// Longest wait for the server to take bytes of a request.
    pub write_timeout: Duration,
    /// How long a connection waits in the pool: shorter than the application keeps it, or a
    /// request meets a connection that is just being closed.
    pub idle_timeout: Duration,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address without brackets, and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

#[derive(Debug)]
struct Server {
    address: Address,
    /// What the name stands for at present; empty until it is resolved. Unused for a Unix socket.
    resolved: ArcSwap<Vec<SocketAddr>>,
    /// The last look-up failed and was told of.
    unresolvable: AtomicBool,
}

// === impl Upstream ===

impl Upstream {
    /// An upstream whose names are not resolved yet: see [`Self::keep_resolved`].
    pub fn new(name: String, servers: Vec<Address>, settings: Settings) -> Self {
        let servers = servers.into_iter().map(Server::new).collect();
        Self { name, servers, next: AtomicUsize::new(0), settings, resolved: Notify::new() }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next server in turn; `None` while no name of the upstream is resolved.
    pub fn peer(&self) -> Option<Box<HttpPeer>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let of = self.servers.len();
        let mut peers = (0..of).map(|more| {
            self.servers[(turn + more) % of].peer(turn / of, self.settings.tls.as_ref())
        });
        // A server whose name is not resolved is passed over while there is another.
        let mut peer = peers.find_map(|peer| peer)?;
        self.settings.apply(&mut peer);
        Some(peer)
    }

    /// The next server in turn, for a request that wants an upgrade: on a connection of its own.
    pub fn peer_for_upgrade(&self) -> Option<Box<HttpPeer>> {
        let mut peer = self.peer()?;
        if self.settings.h2 && self.settings.tls.is_none() {
            // Nobody has said that it speaks anything but HTTP/2, which knows no such upgrades.
            return Some(peer);
        }
        let longest = self.settings.connect_timeout;
        let connect = PatientConnect { longest, tls: self.settings.tls.is_some() };
        peer.options.custom_l4 = Some(Arc::new(connect));
        // An upgrade is a matter of HTTP/1.1 alone. The handshake tells whether the server has it.
        peer.options.set_http_version(1, 1);
        // No other request shares it: it is not one that the pool knows how to watch.
        peer.group_key = fastrand::u64(1..);
        Some(peer)
    }

    /// What to call the upstream in `Host` when the client's is not passed on: its first server.
    pub fn host(&self) -> String {
        match self.servers.first().map(|server| &server.address) {
            Some(Address::Tcp(host, port)) if host.contains(':') => format!("[{host}]:{port}"),
            Some(Address::Tcp(host, port)) => format!("{host}:{port}"),
            Some(Address::Unix(_)) | None => "localhost".to_owned(),
        }
    }

    /// Servers that could be asked: attempts beyond that only repeat themselves.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Takes over what is known of the names that `old` has too.
    pub fn adopt(&self, old: &Self) {
        for server in &self.servers {
            let known = old.servers.iter().find(|known| known.address == server.address);
            if let Some(known) = known {
                server.resolved.store(known.resolved.load_full());
            }
        }
    }

    /// Returns when something is known of each name.
    pub async fn resolved(&self) {
        while !self.servers.iter().all(Server::is_known) {
            self.resolved.notified().await;
        }
    }

    /// Keeps the names resolved for as long as the upstream is in use. Requests never look up.
    pub async fn keep_resolved(self: Arc<Self>) {
        if !self.servers.iter().any(Server::has_name) {
            return;
        }
        let me = Arc::downgrade(&self);
        drop(self);
        while let Some(upstream) = me.upgrade() {
            for server in upstream.servers.iter().filter(|server| server.has_name()) {
                server.resolve(&upstream.name).await;
            }
            upstream.resolved.notify_one();
            let all = upstream.servers.iter().all(Server::is_known);
            drop(upstream);
            sleep(if all { RESOLVE_EVERY } else { RESOLVE_AGAIN }).await;
        }
    }
}

// === impl Settings ===

impl Settings {
    fn apply(&self, peer: &mut HttpPeer) {
        if let Some(tls) = &self.tls {
            tls.secure(peer);
        }
        let options = &mut peer.options;
        options.connection_timeout = Some(self.connect_timeout);
        options.total_connection_timeout = Some(self.connect_timeout);
        options.read_timeout = Some(self.read_timeout);
        options.write_timeout = Some(self.write_timeout);
        options.idle_timeout = Some(self.idle_timeout);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(5),
            count: 5,
            user_timeout: self.read_timeout,
        });
        if self.h2 {
            options.set_http_version(2, 2);
            options.max_h2_streams = H2_STREAMS_MAX as usize;
            options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
            options.h2_connection_window_size = Some(H2_STREAMS_MAX * H2_STREAM_WINDOW);
            options.h2_ping_interval = self.ping_interval;
        } else {
            options.set_http_version(1, 1);
        }
    }
}

// === impl Server ===

impl Server {
    fn new(address: Address) -> Self {
        let known = match &address {
            Address::Tcp(host, port) => {
                host.parse().map(|ip| SocketAddr::new(ip, *port)).into_iter().collect()
            }
            Address::Unix(_) => Vec::new(),
        };
        let unresolvable = AtomicBool::new(false);
        Self { address, resolved: ArcSwap::from_pointee(known), unresolvable }
    }

    fn has_name(&self) -> bool {
        matches!(&self.address, Address::Tcp(host, _)
            if host.parse::<std::net::IpAddr>().is_err())
    }

    fn peer(&self, turn: usize, tls: Option<&Tls>) -> Option<Box<HttpPeer>> {
        let host = match &self.address {
            Address::Tcp(host, _) => Some(host.as_str()),
            Address::Unix(_) => None,
        };
        // Without a name nothing would be verified, and then rather nobody is asked.
        let name = match tls {
            Some(tls) => tls.name(host).filter(|name| !name.is_empty())?.to_owned(),
            None => String::new(),
        };
        if let Address::Unix(path) = &self.address {
            // The path comes from TOML, so it is text.
            let peer = HttpPeer::new_uds(path.to_str()?, tls.is_some(), name);
            return peer.map(Box::new).ok();
        }
        let resolved = self.resolved.load();
        let address = resolved.get(turn % resolved.len().max(1))?;
        Some(Box::new(HttpPeer::new(*address, tls.is_some(), name)))
    }

    fn is_known(&self) -> bool {
        matches!(self.address, Address::Unix(_)) || !self.resolved.load().is_empty()
    }

    /// Looks the name up; what is known stays if that fails, and the log says so once.
    async fn resolve(&self, upstream: &str) {
        let Address::Tcp(host, port) = &self.address else { return };
        match lookup_host((host.as_str(), *port)).await {
            Ok(found) => {
                let mut found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
                found.sort_unstable();
                found.dedup();
                self.resolved.store(Arc::new(found));
                self.unresolvable.store(false, Ordering::Relaxed);
            }
            Err(error) if self.unresolvable.swap(true, Ordering::Relaxed) => {
                tracing::debug!(upstream, host, %error, "still cannot resolve the server's name");
            }
            Err(error) => {
                tracing::warn!(upstream, host, %error, "cannot resolve the server's name");
            }
        }
    }
}
