//! The application's servers, and which of them a request goes to.

mod patient;

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

/// How long a resolved name is used before it is looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon a name that could not be resolved is looked up again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// Addresses of one name that are used at most.
const ADDRESSES_MAX: usize = 64;
/// Streams on one HTTP/2 connection to a server.
const H2_STREAMS_MAX: usize = 100;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// HTTP/2 without TLS instead of HTTP/1.1.
    pub h2c: bool,
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
        let mut peers = (0..of).map(|more| self.servers[(turn + more) % of].peer(turn / of));
        // A server whose name is not resolved is passed over while there is another.
        let mut peer = peers.find_map(|peer| peer)?;
        let options = &mut peer.options;
        options.connection_timeout = Some(self.settings.connect_timeout);
        options.total_connection_timeout = Some(self.settings.connect_timeout);
        options.read_timeout = Some(self.settings.read_timeout);
        options.write_timeout = Some(self.settings.write_timeout);
        options.idle_timeout = Some(self.settings.idle_timeout);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(5),
            count: 5,
            user_timeout: self.settings.read_timeout,
        });
        if self.settings.h2c {
            options.set_http_version(2, 2);
            options.max_h2_streams = H2_STREAMS_MAX;
        } else {
            options.set_http_version(1, 1);
        }
        Some(peer)
    }

    /// The next server in turn, for a request that wants an upgrade: on a connection of its own.
    pub fn peer_for_upgrade(&self) -> Option<Box<HttpPeer>> {
        let mut peer = self.peer()?;
        let longest = self.settings.connect_timeout;
        peer.options.custom_l4 = Some(Arc::new(PatientConnect { longest }));
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

    fn peer(&self, turn: usize) -> Option<Box<HttpPeer>> {
        if let Address::Unix(path) = &self.address {
            // The path comes from TOML, so it is text.
            let peer = HttpPeer::new_uds(path.to_str()?, false, String::new());
            return peer.map(Box::new).ok();
        }
        let resolved = self.resolved.load();
        let address = resolved.get(turn % resolved.len().max(1))?;
        Some(Box::new(HttpPeer::new(*address, false, String::new())))
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
