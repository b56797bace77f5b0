//! The shared store: one script call a request, on a connection that a supervisor keeps.
//!
//! No request ever waits for a connect: while there is no proven connection, [`RedisStore::decide`]
//! fails at once and the limiter decides without it. [`RedisStore::supervise`] connects, proves the
//! connection with the real script, publishes it, watches it, and starts over when it fails, for
//! ever. It must run on the runtime that also makes the calls: a connection lives on the runtime
//! that opened it.
//!
//! Not promised: a call that timed out may still have been carried out; then the request was
//! charged both here and locally.

mod address;
mod advice;
mod fault;
mod heartbeat;
mod hint;
mod inspect;
mod link;
mod lookup;
mod penalize;
mod restore;
mod scripts;
mod settle;
mod status;
mod supervisor;
mod teller;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Client, RedisError};
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::instances::Instances;
use super::script::Answer;
use crate::limit::token_bucket::TokenBucket;
use crate::limit::{
    Check, Clock, Key, Limit, LimitError, Micros, Mode, OnStoreError, Policy, Quota, Timestamp,
};

pub use address::Address;
pub use fault::{Fault, FaultKind};
use link::Link;
use restore::Debts;
pub use status::Status;

/// The least patience with calls that no request waits for.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// The shared store.
pub struct RedisStore {
    client: Client,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    probe: Check,
    link: ArcSwapOption<Link>,
    breaker: Mutex<Breaker>,
    /// The fault of a call that opened the breaker, for the supervisor.
    cause: Mutex<Option<Fault>>,
    broken: Notify,
    tried: Notify,
    status: Status,
    heart: Heart,
    instances: Mutex<Instances>,
    debts: Mutex<Debts>,
    /// Microseconds by which Redis' clock is ahead of this process'.
    ahead_us: AtomicI64,
    /// When it was last said that a look-up was refused.
    complained_us: AtomicU64,
}

/// This gateway among those that share the store.
struct Heart {
    /// The set of gateways that live.
    live: String,
    /// The set of those that have told a forgetful Redis what they had seen.
    told: String,
    /// The number of this gateway's last call of restore.lua.
    calls: String,
    /// This process' own.
    name: String,
    /// By Redis' clock.
    beaten_at: Mutex<Option<Timestamp>>,
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
        timeout: Duration,
        key_prefix: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let name = format!("{:016x}", fastrand::u64(..));
        Ok(Self {
            client: address.client().map_err(SetupError::Address)?,
            timeout,
            probe: probe(key_prefix).map_err(SetupError::Probe)?,
            link: ArcSwapOption::empty(),
            breaker: Mutex::new(Breaker::new(clock.now())),
            clock,
            cause: Mutex::new(None),
            broken: Notify::new(),
            tried: Notify::new(),
            status: Status::new(),
            heart: Heart {
                calls: format!("{key_prefix}:{{gateway}}:calls:{name}"),
                live: format!("{key_prefix}:{{gateway}}:live"),
                told: format!("{key_prefix}:{{gateway}}:told"),
                name,
                beaten_at: Mutex::new(None),
            },
            instances: Mutex::new(Instances::new()),
            debts: Mutex::default(),
            ahead_us: AtomicI64::new(0),
            complained_us: AtomicU64::new(0),
        })
    }

    /// Decides all checks of one request in one call, which may take `longest`.
    pub async fn decide(&self, checks: &[Check], longest: Duration) -> Result<Answer, Fault> {
        let Some(link) = self.link.load_full() else {
            return Err(self.count(Fault::away()));
        };
        match link.decide(checks, longest).await {
            Ok(answer) => {
                if self.answered_on(&link) {
                    self.meet(answer.now);
                }
                Ok(answer)
            }
            Err(fault) => Err(self.note(&link, fault)),
        }
    }

    /// Returns when the first attempt to connect has ended, well or not.
    pub async fn tried(&self) {
        self.tried.notified().await;
    }

    /// The present moment by Redis' clock, as it was last met: states are told in its time, and
    /// the two clocks need not agree.
    pub fn now(&self) -> Timestamp {
        self.clock.now().moved(self.ahead_us.load(Ordering::Relaxed))
    }

    /// Gateways that share the quotas, as last counted.
    pub fn instances(&self) -> u64 {
        lock(&self.instances).count()
    }

    /// What the operator sees.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The longest a decision waits.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Tells the breaker of an answer; false if `link` is no longer the present one.
    fn answered_on(&self, link: &Arc<Link>) -> bool {
        let present = self.is_present(link);
        if present {
            self.breaker().answered();
        }
        present
    }

    /// Counts the fault of a call on `link` and tells the breaker; if that opens it, the link is
    /// given up. Late faults of a link given up earlier say nothing about the present one.
    fn note(&self, link: &Arc<Link>, fault: Fault) -> Fault {
        if self.is_present(link) {
            let now = self.clock.now();
            let opened = match fault.kind() {
                // One key with a foreign value is no reason to give the whole store up.
                FaultKind::Timeout | FaultKind::MalformedReply => {
                    self.breaker().unanswered(now, fastrand::f64())
                }
                _ => self.breaker().failed(now, fastrand::f64()),
            };
            if opened {
                *lock(&self.cause) = Some(fault.clone());
                self.link.store(None);
                self.show_position();
                self.broken.notify_one();
            }
        }
        self.count(fault)
    }

    /// Longest wait for what no request waits for.
    fn patience(&self) -> Duration {
        self.timeout.max(PATIENCE_MIN)
    }

    /// Sets this gateway's idea of Redis' clock by an answer that has just come.
    fn meet(&self, theirs: Timestamp) {
        self.ahead_us.store(theirs.ahead_of(self.clock.now()), Ordering::Relaxed);
    }

    fn is_present(&self, link: &Arc<Link>) -> bool {
        self.link.load().as_ref().is_some_and(|present| Arc::ptr_eq(present, link))
    }

    fn show_position(&self) {
        self.status.show(self.breaker().position());
    }

    fn count(&self, fault: Fault) -> Fault {
        self.status.count(fault.kind());
        fault
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        lock(&self.breaker)
    }
}

impl fmt::Debug for RedisStore {
    /// Without the address: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("status", &self.status).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn probe(key_prefix: &str) -> Result<Check, LimitError> {
    let quota = Quota::new(1_000, Micros::SECOND)?;
    let policy = Arc::new(Policy {
        id: 0,
        generation: 0,
        variant: 0,
        name: "probe".to_owned(),
        limit: Limit::TokenBucket(TokenBucket::new(quota, 1_000)?),
        mode: Mode::Enforce,
        on_store_error: OnStoreError::Local,
    });
    let key = Key::new(key_prefix, "gateway", &policy);
    Ok(Check::new(policy, key, 1))
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
