//! The series of what limits do.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::series::{counter, counters, gauge};

/// The series of what limits do.
#[derive(Debug)]
pub(super) struct LimitSeries {
    pub(super) decisions: IntCounterVec,
    pub(super) settlements: IntCounterVec,
    pub(super) exemptions: IntCounterVec,
    pub(super) turned_away: IntCounter,
    pub(super) enforcement: IntGauge,
}

// === impl LimitSeries ===

impl LimitSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            decisions: counters(
                registry,
                "decisions_total",
                "Decisions of each policy, by who decided. A shadow policy's denials count as deny and refuse nothing.",
                &["policy", "decision", "provenance"],
            )?,
            settlements: counters(
                registry,
                "settlements_total",
                "Checks that cost otherwise in the end than was taken for them, by who has settled them.",
                &["by"],
            )?,
            exemptions: counters(
                registry,
                "exemptions_total",
                "Requests that no limit concerned, by what exempts them.",
                &["by"],
            )?,
            turned_away: counter(
                registry,
                "deny_list_refusals_total",
                "Requests from addresses that are not let in.",
            )?,
            enforcement: gauge(
                registry,
                "enforcement",
                "How far limits are enforced: 2 as each policy says, 1 not at all but counted (shadow), 0 off.",
            )?,
        })
    }
}
