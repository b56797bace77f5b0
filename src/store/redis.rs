//! The shared store: one script call for each server that a request's keys are on, on connections
//! that supervisors keep.
//!
//! It is one Redis, one behind Sentinel, or a cluster. Each of its servers is a shard, by
//! itself: connected, proven with the real script, watched, and connected anew when it fails, for
//! ever. No request ever waits for a connect: while a server has no proven connection, a call to it
//! fails at once and the limiter decides without it. All of this must run on the runtime that also
//! makes the calls: a connection lives on the runtime that opened it.
//!
//! The client library's own cluster and Sentinel connections are not used: they connect on the way
//! of a call, and they send calls again of which nobody knows whether they were carried out.
//!
//! Not promised: a call that timed out may still have been carried out; then the request was
//! charged both here and locally.

mod address;
mod advice;
mod cluster;
mod common;
mod complaint;
mod count;
mod decide;
mod export;
mod fault;
mod heartbeat;
mod hint;
mod inspect;
mod keeper;
mod link;
mod lookup;
mod penalize;
mod restore;
mod route;
mod scripts;
mod sentinel;
mod settle;
mod shard;
mod slots;
mod status;
mod supervisor;
mod teller;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::RedisError;

use crate::limit::{Clock, Key, LimitError, Timestamp};
use crate::store::local::LocalStore;

pub use address::{Address, Login, Place};
use common::Common;
use complaint::Complaint;
pub use count::{Counted, Counting, Sighting};
pub use export::{Batch, Closed, PENDING_MAX, Standing};
pub use fault::{Fault, FaultKind};
use route::Shards;
pub use sentinel::SentinelAddress;
use shard::{Server, Shard};
pub use status::{Reading, State, Status};

/// The shared store.
pub struct RedisStore {
    common: Arc<Common>,
    /// Servers of a cluster that are asked first who serves what; `None`: it is none.
    seeds: Option<Vec<Place>>,
    shards: ArcSwap<Shards>,
    /// That look-ups are refused.
    lookups_refused: Complaint,
    /// That calls are refused where a slot is moving to.
    guests_refused: Complaint,
}

/// Where the servers of the store are.
#[derive(Clone, Copy)]
pub enum Topology<'a> {
    /// One, at the address.
    Single,
    /// The master that Sentinel names.
    Sentinel(SentinelAddress<'a>),
    /// Those of a cluster: besides the address, these can be asked where the others are.
    Cluster(&'a [Place]),
}

/// Why the store cannot be set up at all.
#[derive(Debug)]
pub enum SetupError {
    /// The address or its certificates are not such that the client understands them.
    Address(RedisError),
    /// The policy of the probe is not valid.
    Probe(LimitError),
}

// === impl RedisStore ===

impl RedisStore {
    /// A store at `address`, asked with `timeout`; it is away until [`Self::supervise`] runs.
    pub fn new(
        address: &Address<'_>,
        topology: Topology<'_>,
        timeout: Duration,
        key_prefix: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let access = address.access().map_err(SetupError::Address)?;
        // Certificates that are none are better found now.
        access.client().map_err(SetupError::Address)?;
        let seeds = match topology {
            Topology::Cluster(nodes) => {
                Some(access.place().into_iter().chain(nodes.iter().cloned()).collect())
            }
            _ => None,
        };
        let server = match topology {
            Topology::Sentinel(sentinels) => {
                let sentinels = sentinels.sentinels().map_err(SetupError::Address)?;
                Server::Watched(Box::new(sentinels), Mutex::default())
            }
            _ => Server::Configured,
        };
        let common = Common::new(access, timeout, key_prefix, clock).map_err(SetupError::Probe)?;
        let common = Arc::new(common);
        let shards = match &seeds {
            None => Shards::only(Shard::only(Arc::clone(&common), server)),
            Some(_) => Shards::unknown(),
        };
        let shards = ArcSwap::from_pointee(shards);
        let (lookups_refused, guests_refused) = (Complaint::default(), Complaint::default());
        Ok(Self { common, seeds, shards, lookups_refused, guests_refused })
    }

    /// Keeps the store connected for as long as the process runs, and tells it what `local` decided
    /// without it.
    pub async fn supervise(&self, local: &Arc<LocalStore>) {
        if let Some(seeds) = &self.seeds {
            return self.keep_map(seeds, local).await;
        }
        self.common.mapped();
        let shards = self.shards.load_full();
        if let Some(only) = shards.all.first() {
            tokio::join!(only.supervise(local), only.follow());
        }
    }

    /// Returns when the first attempts to connect have ended, well or not.
    pub async fn tried(&self) {
        let all_tried = || self.shards.load().all.iter().all(|shard| shard.is_tried());
        while !self.common.is_mapped() || !all_tried() {
            self.common.tried.notified().await;
        }
    }

    /// The present moment by Redis' clock, as it was last met: states are told in its time, and
    /// the two clocks need not agree.
    ///
    /// Of several servers it is the clock in the middle: one that is wrong is nobody's.
    pub fn now(&self) -> Timestamp {
        let shards = self.shards.load();
        let met = shards.all.iter().filter_map(|shard| shard.ahead_us());
        let mut ahead: Vec<i64> = met.collect();
        ahead.sort_unstable();
        let now = self.common.clock.now();
        ahead.get(ahead.len() / 2).map_or(now, |ahead| now.moved(*ahead))
    }

    /// The same by the clock of the server that has `key`.
    pub fn now_of(&self, key: &Key) -> Timestamp {
        let shards = self.shards.load();
        shards.serving(key.as_str()).map_or_else(|| self.now(), |shard| shard.now())
    }

    /// Gateways that share the quotas, as last counted.
    pub fn instances(&self) -> u64 {
        self.common.instances()
    }

    /// What the operator sees.
    pub fn status(&self) -> Status {
        let shards = self.shards.load();
        // A master that has just come is neither up nor away before the first attempt to connect.
        let tried = shards.all.iter().filter(|shard| shard.is_tried());
        let nodes = tried.map(|shard| shard.reading()).collect();
        Status::of(nodes, shards.serve_all())
    }

    /// How often each kind of fault has happened.
    pub fn faults(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        self.common.faults()
    }

    /// The longest a decision waits.
    pub fn timeout(&self) -> Duration {
        self.common.timeout()
    }

    /// From now on a decision waits no longer than this; one that waits goes on as it began.
    pub fn set_timeout(&self, timeout: Duration) {
        self.common.set_timeout(timeout);
    }
}

impl fmt::Debug for RedisStore {
    /// Without the address: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A key of a meter: all of them in one slot of a cluster.
fn meter_key(key_prefix: &str, meter: &str, what: &str) -> String {
    format!("{key_prefix}:{{meter:{meter}}}:{what}")
}

// === impl SetupError ===

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => write!(f, "`[store]` is not the address of a Redis: {error}"),
            Self::Probe(error) => write!(f, "the probe's policy is not valid: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}
