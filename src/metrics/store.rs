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
    pub(super) nodes: IntGauge,
    pub(super) nodes_up: IntGauge,
}

/// What the store counts itself, as it stands at a scrape.
#[derive(Clone, Debug)]
pub struct StoreReading {
    /// Whether decisions go to the shared store.
    pub up: bool,
    /// The breaker's position by number: 0 closed, 1 open, 2 half open.
    pub breaker: u8,
    /// Servers that hold counts: one, or the masters of a cluster.
    pub nodes: usize,
    /// Those of them that decide.
    pub nodes_up: usize,
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
            up: gauge(
                registry,
                "store_up",
                "1 while decisions go to Redis, 0 while it is away; of a cluster, while any of it is.",
            )?,
            breaker: gauge(
                registry,
                "breaker_state",
                "The breaker around Redis: 0 closed, 1 open, 2 half open; of a cluster the worst.",
            )?,
            nodes: gauge(
                registry,
                "store_nodes",
                "Servers that hold counts: one, or the masters of a cluster, as last seen.",
            )?,
            nodes_up: gauge(registry, "store_nodes_up", "Those of them that decide.")?,
        })
    }

    pub(super) fn show(&self, reading: &StoreReading) {
        self.up.set(i64::from(reading.up));
        self.breaker.set(i64::from(reading.breaker));
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.nodes.set(number(reading.nodes));
        self.nodes_up.set(number(reading.nodes_up));
        catch_up(&self.errors, &reading.faults);
    }
}
