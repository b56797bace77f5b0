//! Settlements on their way: no request waits for one.
//!
//! They are carried out in the order in which they came, as many in a call as have come while the
//! last call was under way. What Redis does not take is charged to this gateway's own store, which
//! tells Redis of it when it is back. What was to be given back is then given back here alone: a
//! client is never charged less than it cost, and may for once be charged more.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::limit::Settlement;

/// Settlements that wait for Redis at most.
const WAITING_MAX: usize = 16_384;
/// Settled in one call at most: half a millisecond of Redis' time.
const CALL_MAX: usize = 128;

/// Settlements on their way to the shared store.
#[derive(Debug)]
pub(super) struct Settling {
    sender: Sender<Settlement>,
    receiver: Mutex<Receiver<Settlement>>,
    counts: [AtomicU64; 3],
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
        Self { sender, receiver: Mutex::new(receiver), counts: Default::default() }
    }

    /// Puts a settlement on its way; gives it back if too many are.
    pub(super) fn send(&self, settlement: Settlement) -> Result<(), Settlement> {
        self.sender.try_send(settlement).map_err(TrySendError::into_inner)
    }

    /// The next ones that are to be carried out, of which there is at least one.
    pub(super) async fn next(&self) -> Vec<Settlement> {
        let mut next = Vec::new();
        self.receiver.lock().await.recv_many(&mut next, CALL_MAX).await;
        next
    }

    pub(super) fn count(&self, fate: Fate) {
        self.counts[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many settlements have ended so.
    pub(super) fn counted(&self, fate: Fate) -> u64 {
        self.counts[fate as usize].load(Ordering::Relaxed)
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
