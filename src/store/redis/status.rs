//! What the operator sees of the shared store.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::fault::FaultKind;
use crate::limit::Micros;
use crate::store::breaker::Position;

/// Counters and levels, read at every scrape.
#[derive(Debug, Default)]
pub struct Status {
    position: AtomicU8,
    latency_us: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

// === impl Status ===

impl Status {
    pub(super) fn new() -> Self {
        let status = Self::default();
        status.position.store(Position::Open.number(), Ordering::Relaxed);
        status
    }

    pub(super) fn show(&self, position: Position) {
        self.position.store(position.number(), Ordering::Relaxed);
    }

    pub(super) fn took(&self, latency: Micros) {
        self.latency_us.store(latency.get(), Ordering::Relaxed);
    }

    pub(super) fn count(&self, kind: FaultKind) {
        self.faults[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Where the breaker stands.
    pub fn position(&self) -> Position {
        let number = self.position.load(Ordering::Relaxed);
        let all = [Position::Closed, Position::Open, Position::HalfOpen];
        all.into_iter().find(|position| position.number() == number).unwrap_or(Position::Open)
    }

    /// How long the last probe took.
    pub fn latency(&self) -> Micros {
        Micros::new(self.latency_us.load(Ordering::Relaxed))
    }

    /// How often each kind of fault has happened.
    pub fn faults(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let count = |kind: FaultKind| self.faults[kind as usize].load(Ordering::Relaxed);
        FaultKind::ALL.into_iter().map(move |kind| (kind, count(kind)))
    }
}
