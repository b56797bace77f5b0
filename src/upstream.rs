//! The application's servers, and which of them a request goes to.

mod address;
mod balance;
mod budget;
mod check;
mod ejection;
mod health;
mod patient;
mod pool;
mod server;
mod tally;
mod tls;
mod watch;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::sync::watch::Sender;

use crate::limit::{Clock as _, SystemClock, Timestamp};
use address::Listed;
use patient::PatientConnect;
use pool::{Choice, Pool};
use tally::{Tally, count};

pub use address::Address;
pub use balance::Balance;
pub use budget::{RETRY_FLOOR, RETRY_PERCENT, RETRY_SLICES};
pub use ejection::EjectionRule;
pub use health::HealthCheck;
pub use pool::Unavailable;
pub use server::{Lease, Server};
pub use tally::{Happened, Standing};
pub use tls::Tls;

/// Most attempts of a request beyond the first, whatever the configuration.
pub const RETRIES_MAX: usize = 5;
/// Streams on one HTTP/2 connection to a server. Pingora's default is one.
const H2_STREAMS_MAX: u32 = 100;
/// Bytes of one answer that may be under way on an HTTP/2 connection. All streams together get
/// theirs: were the connection's window smaller than their sum, one client that reads slowly would
/// hold up the answers of all others. So this times the streams is the most that a connection
/// keeps in memory, 25 MiB, and a stream carries some 250 MB/s over a millisecond's distance.
const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// What is known of servers outlives the configuration, and so does the clock that dates it.
static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::start);

/// A group of servers that answer the same requests.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    listed: Vec<Listed>,
    settings: Settings,
    pool: Mutex<Pool>,
    tally: ArcSwap<Tally>,
    /// Told when something more is known of names or servers.
    news: Sender<()>,
    /// Told when another configuration has taken this one's place.
    retired: Sender<bool>,
}

/// How the servers are spoken to, and which are.
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
    /// How requests are divided.
    pub balance: Balance,
    /// Most requests under way at one server; 0: no bound.
    pub max_connections: usize,
    /// Most attempts of a request beyond the first.
    pub retries: usize,
    /// How servers are checked; `None`: they are not.
    pub health: Option<HealthCheck>,
    /// When a server gets no requests for a while.
    pub ejection: EjectionRule,
}

// === impl Upstream ===

impl Upstream {
    /// An upstream, each server with its weight. Its names are not resolved yet: see
    /// [`Self::start`].
    pub fn new(name: String, servers: Vec<(Address, u32)>, settings: Settings) -> Self {
        let listed = servers.into_iter().map(|(address, weight)| Listed::new(address, weight));
        let upstream = Self {
            name,
            listed: listed.collect(),
            settings,
            pool: Mutex::default(),
            tally: ArcSwap::default(),
            news: Sender::new(()),
            retired: Sender::new(false),
        };
        upstream.rebuild(None);
        upstream
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to call the upstream in `Host` when the client's is not passed on: its first server.
    pub fn host(&self) -> String {
        self.listed.first().map_or_else(String::new, |listed| listed.address.authority())
    }

    /// Takes a place for a request at the next server, but none of those at which it was `tried`,
    /// unless `again` says that they may be asked if there is no other.
    pub fn lease(&self, tried: &[Arc<Server>], again: bool) -> Result<Lease, Unavailable> {
        let now = now();
        if tried.is_empty() {
            self.tally().budget().request(now);
        }
        self.pool().next(&self.choice(tried, again), now)
    }

    /// The way to the server of a lease. `None` if it has no name that could be verified.
    pub fn peer(&self, lease: &Lease) -> Option<Box<HttpPeer>> {
        let mut peer = lease.server().peer(self.settings.tls.as_ref())?;
        self.settings.apply(&mut peer);
        Some(peer)
    }

    /// The same for a request that wants an upgrade: on a connection of its own.
    pub fn peer_for_upgrade(&self, lease: &Lease) -> Option<Box<HttpPeer>> {
        let mut peer = self.peer(lease)?;
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

    /// Whether a request that has failed so often, at these servers, is tried once more: where
    /// there is a server for it, and the retries of the last while leave room. If so, it is counted.
    pub fn retries(&self, attempts: usize, tried: &[Arc<Server>], again: bool) -> bool {
        let now = now();
        let may = attempts <= self.settings.retries
            && self.pool().has_next(&self.choice(tried, again), now)
            && self.tally().budget().retry(now, self.under_way());
        if may {
            count(&self.tally().retries);
        }
        may
    }

    /// Requests under way, at all servers.
    fn under_way(&self) -> usize {
        self.servers().iter().map(|server| server.under_way()).sum()
    }

    /// Notes that a request failed at this server, and by the server's fault.
    pub fn failed(&self, server: &Server) {
        let (now, rule) = (now(), &self.settings.ejection);
        if self.pool().failed(server, rule, self.is_checked(), now) {
            count(&self.tally().ejections);
            let until = server.found().ejection.until(now);
            let seconds = until.map_or(0, |until| until.since(now).as_secs_ceil());
            let (upstream, server) = (&self.name, server.to_string());
            tracing::warn!(upstream, server, seconds, "the server fails: it is ejected");
        }
    }

    /// Notes that this server has answered a request.
    pub fn succeeded(&self, server: &Server) {
        if server.found().ejection.succeeded() {
            let (upstream, server) = (&self.name, server.to_string());
            tracing::info!(upstream, server, "the server is back: it answers again");
        }
    }

    /// When a request that no server has taken may come again: at the next check, or when the first
    /// ejection ends; in whole seconds, and at least one. Where it was only that all are `full`, soon.
    pub fn retry_after(&self, why: Option<Unavailable>) -> u64 {
        if why == Some(Unavailable::Full) {
            return 1;
        }
        let now = now();
        let health = self.settings.health.as_ref();
        let servers = self.servers();
        let moments = servers.iter().filter_map(|server| {
            let found = server.found();
            let check = health.filter(|_| !found.health.is_up());
            let check = check.and_then(|check| found.health.due(check.interval));
            check.into_iter().chain(found.ejection.until(now)).min()
        });
        moments.min().map_or(1, |moment| moment.since(now).as_secs_ceil().max(1))
    }

    /// How it is.
    pub fn standing(&self) -> Standing {
        let pool = self.pool();
        let (servers, up) = (pool.servers().len(), pool.up(self.is_checked(), now()));
        Standing { name: self.name.clone(), servers, up }
    }

    /// What has happened since this was last asked, whatever configuration was in force.
    pub fn happened(&self) -> Happened {
        self.tally().take()
    }

    /// Takes over what is known of the names that `old` has too; and if it is the same upstream, of
    /// its servers: what is under way there, and how they are.
    pub fn adopt(&self, old: &Self) {
        for listed in &self.listed {
            let known = old.listed.iter().find(|known| known.address == listed.address);
            if let Some(known) = known.filter(|known| known.is_known()) {
                listed.adopt(known);
            }
        }
        let same = old.name == self.name;
        if same {
            self.tally.store(old.tally.load_full());
        }
        self.rebuild(same.then_some(old));
        if same && !self.settings.asks_as(&old.settings) {
            for server in self.servers() {
                server.found().health.doubt();
            }
        }
    }

    /// Ends what goes on beside the requests: another configuration has taken over. Requests that
    /// still meet this one are served.
    pub fn retire(&self) {
        self.retired.send_replace(true);
    }

    fn rebuild(&self, old: Option<&Self>) {
        let old = old.map(Self::pool);
        self.pool().rebuild(&self.listed, old.as_deref());
        self.news.send_replace(());
    }

    fn choice<'a>(&self, tried: &'a [Arc<Server>], again: bool) -> Choice<'a> {
        let (balance, most) = (self.settings.balance, self.settings.max_connections);
        Choice { balance, most, checked: self.is_checked(), tried, again }
    }

    fn is_checked(&self) -> bool {
        self.settings.health.is_some()
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.pool().servers().to_vec()
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> Arc<Tally> {
        self.tally.load_full()
    }
}

fn now() -> Timestamp {
    CLOCK.now()
}

// === impl Settings ===

impl Settings {
    /// Whether health checks find out the same by both: there are none, or they ask alike.
    fn asks_as(&self, other: &Self) -> bool {
        match (&self.health, &other.health) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => one.asks_as(other),
        }
    }

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
