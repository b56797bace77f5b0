//! The series of how requests are read.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::series::{counter, counters};

/// What was left out before rules were asked.
#[derive(Debug)]
pub(super) struct RequestSeries {
    pub(super) headers_dropped: IntCounterVec,
    pub(super) forwarded_unreadable: IntCounter,
}

// === impl RequestSeries ===

impl RequestSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            headers_dropped: counters(
                registry,
                "headers_dropped_total",
                "Header fields that were taken off requests before rules were asked.",
                &["reason"],
            )?,
            forwarded_unreadable: counter(
                registry,
                "forwarded_unreadable_total",
                "Requests of trusted proxies whose forwarding header has an entry that is no address.",
            )?,
        })
    }
}
