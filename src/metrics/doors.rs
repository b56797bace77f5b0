//! What the guard counts: connections, and requests that no rule got to see.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::series::{counters, gauge};

/// The series.
#[derive(Debug)]
pub(super) struct DoorSeries {
    pub(super) open: IntGauge,
    pub(super) refused: IntCounterVec,
    pub(super) malformed: IntCounterVec,
}

// === impl DoorSeries ===

impl DoorSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: gauge(registry, "connections", "Connections of clients that are open.")?,
            refused: counters(
                registry,
                "connections_refused_total",
                "Connections that were closed before a request was read, by reason.",
                &["reason"],
            )?,
            malformed: counters(
                registry,
                "requests_malformed_total",
                "Requests that no rule saw because they could not be read in one way, by reason.",
                &["reason"],
            )?,
        })
    }
}
