//! The series of bans.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::series::{counter, counters};
use crate::limit::Verdict;

/// What bans do.
#[derive(Debug)]
pub(super) struct PenaltySeries {
    bans: IntCounterVec,
    refusals: IntCounterVec,
    dropped: IntCounter,
}

/// What the limiter counts of bans itself, as it stands at a scrape.
#[derive(Clone, Debug)]
pub struct PenaltyReading {
    /// Bans that began with denials told by this gateway, by policy.
    pub bans: Vec<(String, u64)>,
    /// Denials that could bring none, for want of room.
    pub dropped: u64,
}

// === impl PenaltySeries ===

impl PenaltySeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            bans: counters(
                registry,
                "bans_total",
                "Bans that began with denials told by this gateway.",
                &["policy"],
            )?,
            refusals: counters(
                registry,
                "ban_refusals_total",
                "Requests that a ban refused.",
                &["policy"],
            )?,
            dropped: counter(
                registry,
                "penalty_denials_dropped_total",
                "Denials that could bring no ban, because too many clients were denied at once.",
            )?,
        })
    }

    /// Records the refusals of a verdict.
    pub(super) fn decided(&self, verdict: &Verdict) {
        let denials = verdict.denials().filter(|outcome| outcome.is_of_ban());
        for outcome in denials.filter(|outcome| outcome.has_state()) {
            self.refusals.with_label_values(&[outcome.policy.name.as_str()]).inc();
        }
    }

    pub(super) fn show(&self, reading: &PenaltyReading) {
        for (policy, total) in &reading.bans {
            let counter = self.bans.with_label_values(&[policy.as_str()]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.dropped.inc_by(reading.dropped.saturating_sub(self.dropped.get()));
    }
}
