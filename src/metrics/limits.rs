//! The series of what limits do.

use std::collections::BTreeMap;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::series::{counter, counters, gauge, gauges};

/// The series of what limits do.
#[derive(Debug)]
pub(super) struct LimitSeries {
    pub(super) decisions: IntCounterVec,
    pub(super) settlements: IntCounterVec,
    pub(super) refunds: IntCounterVec,
    pub(super) exemptions: IntCounterVec,
    pub(super) turned_away: IntCounter,
    pub(super) enforcement: IntGauge,
    permits: IntGaugeVec,
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
            refunds: counters(
                registry,
                "refunds_total",
                "Checks that were charged for requests which another server's checks denied, by who has given back.",
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
            permits: gauges(
                registry,
                "permits_held",
                "Permits of concurrency policies that this gateway holds: requests under way.",
                &["policy"],
            )?,
        })
    }

    pub(super) fn show_permits(&self, held: &BTreeMap<String, usize>) {
        self.permits.reset();
        for (policy, held) in held {
            let held = i64::try_from(*held).unwrap_or(i64::MAX);
            self.permits.with_label_values(&[policy.as_str()]).set(held);
        }
    }
}
