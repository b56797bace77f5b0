//! The batches of meters on their way to the application.
//!
//! Of the gateways one at a time hands over the batches of a meter, the oldest first: it holds a
//! lease in Redis. What is open becomes a batch when its first view is old enough. A batch is sent
//! with its name until the application answers 2xx; only then it is forgotten. Should two gateways
//! hold the lease for a moment, or an answer be lost, the application gets a batch twice, and knows
//! it by its name.

mod post;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use pingora_core::connectors::http::Connector;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::limit::{Clock, Micros, Timestamp};
use crate::metering::Delivered;
use crate::proxy::Proxy;
use crate::store::redis::{Closed, Fault, RedisStore, Standing};
use crate::upstream::Upstream;

pub use post::document;

/// How often meters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a gateway has a meter to itself without a sign of life: longer than an attempt takes.
const LEASE: Duration = Duration::from_secs(45);
/// The pause after the first failed attempt; it doubles with each.
const PAUSE_MIN: Micros = Micros::new(1_000_000);
/// The longest pause.
const PAUSE_MAX: Micros = Micros::new(60_000_000);

/// Where the batches of a meter go.
#[derive(Clone, Debug)]
pub struct Push {
    /// The name of the meter.
    pub meter: String,
    /// Who gets them.
    pub upstream: Arc<Upstream>,
    /// The path.
    pub path: String,
    /// The host; `None`: the upstream's own.
    pub host: Option<HeaderValue>,
    /// Further header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How old the first view of a batch is when it is closed.
    pub every: Duration,
}

/// Hands batches over for as long as the process runs.
pub struct Delivery {
    proxy: Arc<Proxy>,
    redis: Arc<RedisStore>,
    connector: Connector,
    /// The meters whose batches are not taken at present.
    failing: Mutex<BTreeMap<String, Failing>>,
    /// The meters of which it was said that too many batches are pending.
    full: Mutex<BTreeSet<String>>,
}

/// Attempts that failed in a row.
#[derive(Clone, Copy, Debug)]
struct Failing {
    pause: Micros,
    until: Timestamp,
}

// === impl Push ===

impl Push {
    /// Whether what is open has to become a batch.
    fn is_due(&self, standing: &Standing) -> bool {
        let every_ms = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        let age = standing.open_since_ms.map(|since| standing.now_ms.saturating_sub(since));
        age.is_some_and(|age| age >= every_ms)
    }
}

// === impl Delivery ===

impl Delivery {
    /// The delivery of what the meters of `proxy` count in `redis`.
    pub fn new(proxy: Arc<Proxy>, redis: Arc<RedisStore>) -> Self {
        let connector = Connector::new(None);
        Self { proxy, redis, connector, failing: Mutex::default(), full: Mutex::default() }
    }

    /// Looks at every meter once a second, and sees to it that what is due is handed over: of each
    /// meter by a task of its own, so that none waits for the application of another.
    pub async fn run(self) {
        let me = Arc::new(self);
        let mut under_way: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let state = me.proxy.state.load_full();
            under_way.retain(|_, task| !task.is_finished());
            for meter in state.meters.all() {
                // The others may have better keys, or be on a server that is there.
                let Ok(standing) = me.redis.look_at(&meter.name).await else { continue };
                me.proxy.metering.pending(&meter.name, standing.pending.len());
                let push = state.pushes.iter().find(|push| push.meter == meter.name);
                let Some(push) = push.filter(|_| !under_way.contains_key(&meter.name)) else {
                    continue;
                };
                let (me, push) = (Arc::clone(&me), push.clone());
                let task = tokio::spawn(async move { me.look_after(&push, standing).await });
                under_way.insert(meter.name.clone(), task);
            }
        }
    }

    /// Does what is due for a meter. A fault of Redis is but a reason to look again in a second.
    async fn look_after(&self, push: &Push, standing: Standing) {
        if let Err(fault) = self.close_and_deliver(push, standing).await {
            tracing::debug!(meter = push.meter, %fault, "batches wait for Redis");
        }
    }

    async fn close_and_deliver(&self, push: &Push, mut standing: Standing) -> Result<(), Fault> {
        let due = push.is_due(&standing);
        let rests = self.rests(&push.meter);
        if !due && (standing.pending.is_empty() || rests) {
            return Ok(());
        }
        if !self.redis.lease(&push.meter, LEASE).await? {
            return Ok(());
        }
        if due {
            let closed = self.redis.close(&push.meter).await?;
            self.tell_full(&push.meter, closed == Closed::Full);
            standing = self.redis.look_at(&push.meter).await?;
        }
        for name in &standing.pending {
            if rests || !self.deliver(push, name).await? {
                break;
            }
            if !self.redis.lease(&push.meter, LEASE).await? {
                break;
            }
        }
        Ok(())
    }

    /// Hands a batch over. False if the next one has to wait.
    async fn deliver(&self, push: &Push, name: &str) -> Result<bool, Fault> {
        let Some(batch) = self.redis.read(&push.meter, Some(name)).await? else {
            if self.redis.acknowledge(&push.meter, name).await? {
                tracing::error!(meter = push.meter, batch = name, "Redis has dropped this batch");
            }
            return Ok(true);
        };
        let body = document(&push.meter, name, &batch);
        let result = match post::post(&self.connector, push, name, body).await {
            Ok(status) if (200..300).contains(&status) => {
                // Else it is sent again, which changes nothing for an application that knows it.
                self.redis.acknowledge(&push.meter, name).await?;
                self.took(&push.meter);
                Delivered::Acknowledged
            }
            Ok(status) => {
                self.failed(&push.meter, &format!("it answered {status}"));
                Delivered::Refused
            }
            Err(reason) => {
                self.failed(&push.meter, &reason);
                Delivered::Failed
            }
        };
        self.proxy.metering.delivered(&push.meter, result);
        Ok(result == Delivered::Acknowledged)
    }

    fn rests(&self, meter: &str) -> bool {
        let now = self.proxy.clock.now();
        lock(&self.failing).get(meter).is_some_and(|failing| failing.until > now)
    }

    /// Pauses, longer each time, and says so the first time.
    fn failed(&self, meter: &str, reason: &str) {
        let now = self.proxy.clock.now();
        let mut failing = lock(&self.failing);
        let before = failing.get(meter).map(|failing| failing.pause);
        if before.is_none() {
            tracing::warn!(
                meter,
                reason,
                "the application does not take a batch: it is tried again"
            );
        }
        let pause = before
            .map_or(PAUSE_MIN, |pause| Micros::new(pause.get().saturating_mul(2)).min(PAUSE_MAX));
        failing.insert(meter.to_owned(), Failing { pause, until: now.after(pause) });
    }

    fn took(&self, meter: &str) {
        if lock(&self.failing).remove(meter).is_some() {
            tracing::info!(meter, "the application takes batches again");
        }
    }

    fn tell_full(&self, meter: &str, is_full: bool) {
        let mut full = lock(&self.full);
        if !is_full {
            full.remove(meter);
        } else if full.insert(meter.to_owned()) {
            tracing::error!(meter, "too many batches are pending: what is open stays open");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
