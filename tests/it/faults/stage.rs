//! What holds the counts in a row: one Redis, a master with its Sentinels, or a cluster.

use std::net::TcpStream;
use std::thread::JoinHandle;

use crate::support::cluster::{self, Cluster};
use crate::support::fault_proxy::FaultProxy;
use crate::support::redis::RedisServer;
use crate::support::sentinels::{self, Sentinels};

/// What a fault is done to. A row's fault and its repair get it as it is.
pub(super) trait Stage: Sized {
    /// What a row needs from the start.
    type Plan: Copy;
    /// Clients with a quota each. Several spread over the masters, and share another quota that is
    /// another subject; one has a quota for itself.
    const CLIENTS: usize;

    fn start(plan: Self::Plan) -> Self;

    /// The beginning of a gateway's configuration: `[store]` with `more` keys.
    fn store(&self, more: &str) -> String;

    /// Whether nobody is there when the gateways start.
    fn is_dead(_plan: Self::Plan) -> bool {
        false
    }

    /// Fails if the load does not reach all that the row is about.
    fn assert_reached(&self) {}
}

/// What a row with one Redis needs from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// Further arguments of the Redis server.
    pub(super) arguments: &'static [&'static str],
    /// With a proxy between Redis and both gateways.
    pub(super) proxied: bool,
    /// Redis is dead when the gateways start.
    pub(super) dead: bool,
}

/// One Redis.
pub(super) struct Single {
    pub(super) redis: RedisServer,
    proxy: Option<FaultProxy>,
    /// What a fault holds until it is repaired.
    helpers: Vec<JoinHandle<()>>,
    pub(super) others: Vec<RedisServer>,
    pub(super) held: Vec<TcpStream>,
}

// === impl Single ===

impl Stage for Single {
    type Plan = Setup;
    const CLIENTS: usize = 1;

    fn start(setup: Setup) -> Self {
        let mut redis = RedisServer::start_with(setup.arguments);
        let proxy = setup.proxied.then(|| FaultProxy::start(redis.address()));
        if setup.dead {
            redis.kill();
        }
        Self { redis, proxy, helpers: Vec::new(), others: Vec::new(), held: Vec::new() }
    }

    fn store(&self, more: &str) -> String {
        let url = self.proxy.as_ref().map_or_else(|| self.redis.url(), FaultProxy::url);
        format!("[store]\nurl = \"{url}\"\n{more}")
    }

    fn is_dead(setup: Setup) -> bool {
        setup.dead
    }
}

impl Single {
    pub(super) fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("a row that asked for a proxy")
    }

    /// Runs `work` beside the row, which joins it when it repairs.
    pub(super) fn beside(&mut self, work: impl FnOnce() + Send + 'static) {
        self.helpers.push(std::thread::spawn(work));
    }

    /// Waits for what runs beside.
    pub(super) fn join(&mut self) {
        for helper in self.helpers.drain(..) {
            helper.join().expect("it does not panic");
        }
    }
}

// === impl Sentinels ===

impl Stage for Sentinels {
    type Plan = sentinels::Plan;
    const CLIENTS: usize = 12;

    fn start(plan: Self::Plan) -> Self {
        Self::start_with(plan)
    }

    fn store(&self, more: &str) -> String {
        self.store(more)
    }
}

// === impl Cluster ===

impl Stage for Cluster {
    type Plan = cluster::Plan;
    const CLIENTS: usize = 12;

    fn start(plan: Self::Plan) -> Self {
        Self::start_with(plan)
    }

    fn store(&self, more: &str) -> String {
        self.store(more)
    }

    fn assert_reached(&self) {
        for master in self.masters() {
            let keys: Vec<String> = self.server(master).command(&["KEYS", "*:sliding:*"]);
            assert!(!keys.is_empty(), "no client is counted by {}", self.server(master).url());
        }
    }
}
