//! Settlements on their way, and refunds of what a request took that another part of it was denied:
//! no request waits for one.
//!
//! They are carried out in the order in which they came, as many in a call as have come while the
//! last call was under way. What Redis does not take is charged to this gateway's own store, which
//! tells Redis of it when it is back. What was to be given back is then given back here alone: a
//! client is never charged less than it cost, and may for once be charged more.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Limiter, Shared};
use crate::limit::{Clock, Provenance, Settlement};

/// Settlements that wait for Redis at most.
const WAITING_MAX: usize = 16_384;
/// Settled in one call at most: half a millisecond of Redis' time.
const CALL_MAX: usize = 128;

/// Settlements on their way to the shared store.
#[derive(Debug)]
pub(super) struct Settling {
    sender: Sender<Sent>,
    receiver: Mutex<Receiver<Sent>>,
    /// Those that were sent and have not been counted.
    open: AtomicU64,
    counts: [[AtomicU64; 3]; 2],
}

/// A settlement on its way.
type Sent = (Settlement, Reason);

/// Why something is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It cost otherwise in the end than was taken for it.
    Cost,
    /// It was taken, and the request was denied elsewhere.
    Denied,
}

/// What became of a settlement: the label of a metric, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The shared store has settled it.
    Redis,
    /// This gateway's own store has; the shared one is told of what was charged.
    Local,
    /// The shared store had charged, and was not there to give back.
    Lost,
}

// === impl Settling ===

impl Settling {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel(WAITING_MAX);
        Self {
            sender,
            receiver: Mutex::new(receiver),
            open: AtomicU64::new(0),
            counts: Default::default(),
        }
    }

    /// Puts a settlement on its way; gives it back if too many are.
    fn send(&self, settlement: Sent) -> Result<(), Sent> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(settlement).map_err(|refused| {
            self.done(1);
            refused.into_inner()
        })
    }

    /// The next ones that are to be carried out, of which there is at least one.
    async fn next(&self) -> Vec<Sent> {
        let mut next = Vec::new();
        self.receiver.lock().await.recv_many(&mut next, CALL_MAX).await;
        next
    }

    /// `settlements` have been carried out.
    fn done(&self, settlements: usize) {
        self.open.fetch_sub(settlements as u64, Ordering::Relaxed);
    }

    /// Whether none is on its way.
    pub(super) fn is_done(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    fn count(&self, reason: Reason, fate: Fate) {
        self.counts[reason as usize][fate as usize].fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Limiter ===

impl<C: Clock> Limiter<C> {
    /// Settles a check of which `by` has taken what the receipt says. Nobody waits for it: it may be
    /// some moments until the next decision meets it.
    pub fn settle(&self, settlement: Settlement, by: Provenance) {
        if settlement.adjustment().is_none() {
            return;
        }
        self.settle_for(Reason::Cost, settlement, by);
    }

    pub(super) fn settle_for(&self, reason: Reason, settlement: Settlement, by: Provenance) {
        if by != Provenance::Redis {
            return self.settle_here(reason, &settlement, Fate::Local);
        }
        if let Err((settlement, _)) = self.settling.send((settlement, reason)) {
            self.settle_without_store(reason, &settlement);
        }
    }

    /// Carries out what is to be settled in the shared store, for as long as the process runs.
    pub(super) async fn keep_settling(&self, shared: &Shared) {
        loop {
            let sent = self.settling.next().await;
            let keys = sent.iter().map(|(settlement, _)| settlement.check.key.as_str());
            let parts = shared.redis.groups(keys).into_iter().map(|places| {
                let mine = places.into_iter().map(|place| sent[place].clone());
                self.settle_part(shared, mine.collect())
            });
            join_all(parts).await;
            self.settling.done(sent.len());
        }
    }

    /// Settles what may be in one call.
    async fn settle_part(&self, shared: &Shared, sent: Vec<Sent>) {
        let (settlements, reasons): (Vec<Settlement>, Vec<Reason>) = sent.into_iter().unzip();
        let settled = shared.redis.settle(&settlements).await;
        if let Ok((now, checks, standings)) = &settled {
            self.local.learn(checks, standings, *now);
        }
        for (settlement, reason) in settlements.iter().zip(reasons) {
            if settled.is_ok() {
                shared.deny_cache.forget(&settlement.check.key);
                self.settling.count(reason, Fate::Redis);
            } else {
                self.settle_without_store(reason, settlement);
            }
        }
    }

    /// Settles in the local store what the shared one has charged.
    fn settle_without_store(&self, reason: Reason, settlement: &Settlement) {
        let gives_back = settlement.cost < settlement.check.cost;
        self.settle_here(reason, settlement, if gives_back { Fate::Lost } else { Fate::Local });
    }

    fn settle_here(&self, reason: Reason, settlement: &Settlement, fate: Fate) {
        let now = self.now_of(&settlement.check.key);
        self.local.settle(settlement, now, self.instances());
        self.settling.count(reason, fate);
    }

    /// How many settlements for that reason have ended so.
    pub fn settled(&self, reason: Reason, fate: Fate) -> u64 {
        self.settling.counts[reason as usize][fate as usize].load(Ordering::Relaxed)
    }
}

// === impl Fate ===

impl Fate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Local, Self::Lost];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Local => "local",
            Self::Lost => "lost",
        }
    }
}
