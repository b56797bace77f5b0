//! What the shards of the store have in common.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::address::Access;
use super::fault::{Fault, FaultKind};
use super::lock;
use crate::limit::token_bucket::TokenBucket;
use crate::limit::{
    Clock, Limit, LimitError, Micros, Mode, OnStoreError, Policy, Quota, Timestamp,
};
use crate::store::instances::Instances;

/// The least patience with calls that no request waits for.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// Gateways are counted once a second; a connection has been lost if they were not for so long.
const UNCOUNTED_MAX: Micros = Micros::new(3_000_000);

/// What the shards of the store have in common.
pub(super) struct Common {
    pub(super) access: Access,
    /// The longest a decision waits, in microseconds; a reload may change it.
    timeout_us: AtomicU64,
    pub(super) key_prefix: String,
    /// This process' own name among the gateways.
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    /// The policy of the probes.
    pub(super) probe: Arc<Policy>,
    instances: Mutex<Instances>,
    /// Something has happened that the map of a cluster may not know of.
    pub(super) remap: Notify,
    /// A first attempt to connect, or to find out where to, has ended.
    pub(super) tried: Notify,
    is_mapped: AtomicBool,
    /// Held by whoever tells of permits: one at a time.
    pub(super) telling: tokio::sync::Mutex<()>,
    faults: [AtomicU64; FaultKind::ALL.len()],
    /// The number of the last call of restore.lua that charges. One for all servers: its record
    /// moves with its slot.
    number: AtomicU64,
    /// When a heartbeat last had an answer.
    counted_us: AtomicU64,
}

// === impl Common ===

impl Common {
    pub(super) fn new(
        access: Access,
        timeout: Duration,
        key_prefix: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LimitError> {
        Ok(Self {
            access,
            timeout_us: AtomicU64::new(Micros::from(timeout).get()),
            key_prefix: key_prefix.to_owned(),
            name: format!("{:016x}", fastrand::u64(..)),
            clock,
            probe: Arc::new(probe()?),
            instances: Mutex::new(Instances::new()),
            remap: Notify::new(),
            tried: Notify::new(),
            is_mapped: AtomicBool::new(false),
            telling: tokio::sync::Mutex::default(),
            faults: Default::default(),
            number: AtomicU64::new(0),
            counted_us: AtomicU64::new(0),
        })
    }

    /// It is known where to connect to, or that nobody says so.
    pub(super) fn mapped(&self) {
        self.is_mapped.store(true, Ordering::Release);
        self.tried.notify_one();
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.is_mapped.load(Ordering::Acquire)
    }

    /// Longest wait for what no request waits for.
    pub(super) fn patience(&self) -> Duration {
        self.timeout().max(PATIENCE_MIN)
    }

    /// The longest a decision waits.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout_us.load(Ordering::Relaxed))
    }

    /// From now on a decision waits no longer than this.
    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.timeout_us.store(Micros::from(timeout).get(), Ordering::Relaxed);
    }

    /// Gateways that share the quotas, as last counted.
    pub(super) fn instances(&self) -> u64 {
        lock(&self.instances).count()
    }

    /// So many gateways were counted. After a while without a count it begins afresh: not all of
    /// them may have come back yet.
    pub(super) fn counted(&self, gateways: u64) {
        let now = self.clock.now();
        let before = self.counted_us.swap(now.as_micros(), Ordering::Relaxed);
        let mut instances = lock(&self.instances);
        if now.since(Timestamp::from_micros(before)) > UNCOUNTED_MAX {
            instances.disconnected();
        }
        instances.counted(gateways, now);
    }

    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn count(&self, fault: Fault) -> Fault {
        self.faults[fault.kind() as usize].fetch_add(1, Ordering::Relaxed);
        fault
    }

    /// How often each kind of fault has happened.
    pub(super) fn faults(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let count = |kind: FaultKind| self.faults[kind as usize].load(Ordering::Relaxed);
        FaultKind::ALL.into_iter().map(move |kind| (kind, count(kind)))
    }
}

fn probe() -> Result<Policy, LimitError> {
    let quota = Quota::new(1_000, Micros::SECOND)?;
    Ok(Policy {
        id: 0,
        generation: 0,
        variant: 0,
        name: "probe".to_owned(),
        limit: Limit::TokenBucket(TokenBucket::new(quota, 1_000)?),
        mode: Mode::Enforce,
        on_store_error: OnStoreError::Local,
    })
}
