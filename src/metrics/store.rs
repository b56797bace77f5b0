//! The series of the shared store.

use prometheus::{Histogram, IntCounterVec, IntGauge, Registry};

use super::DECISION_BUCKETS;
use super::series::{catch_up, counters, gauge, histogram};

/// The series of the shared store.
#[derive(Debug)]
pub(super) struct StoreSeries {
    pub(super) duration: Histogram,
    pub(super) errors: IntCounterVec,
    pub(super) up: IntGauge,
    pub(super) breaker: IntGauge,
}

/// What the store counts itself, as it stands at a scrape.
#[derive(Clone, Debug)]
pub struct StoreReading {
    /// Whether decisions go to the shared store.
    pub up: bool,
    /// The breaker's position by number: 0 closed, 1 open, 2 half open.
    pub breaker: u8,
    /// Faults so far, by kind.
    pub faults: Vec<(&'static str, u64)>,
}

// === impl StoreSeries ===

impl StoreSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            duration: histogram(
                registry,
                "store_duration_seconds",
                "How long the shared store took to answer a call, or to fail.",
                &DECISION_BUCKETS,
            )?,
            errors: counters(
                registry,
                "store_errors_total",
                "Calls that the shared store did not answer, by kind.",
                &["kind"],
            )?,
            up: gauge(registry, "store_up", "1 while decisions go to Redis, 0 while it is away.")?,
            breaker: gauge(
                registry,
                "breaker_state",
                "The breaker around Redis: 0 closed, 1 open, 2 half open.",
            )?,
        })
    }

    pub(super) fn show(&self, reading: &StoreReading) {
        self.up.set(i64::from(reading.up));
        self.breaker.set(i64::from(reading.breaker));
        catch_up(&self.errors, &reading.faults);
    }
}
