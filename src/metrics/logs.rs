//! The series of what the logs do not show.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::series::{catch_up, counter, counters};
use crate::telemetry::Logs;

/// Lines that were held back, and panics.
#[derive(Debug)]
pub(super) struct LogSeries {
    suppressed: IntCounterVec,
    panics: IntCounter,
}

// === impl LogSeries ===

impl LogSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            suppressed: counters(
                registry,
                "log_lines_suppressed_total",
                "Lines of the log that were held back, because there were too many of a kind.",
                &["level"],
            )?,
            panics: counter(
                registry,
                "panics_total",
                "Panics. Each has ended the request or the task it was in: a fault of the gateway.",
            )?,
        })
    }

    pub(super) fn show(&self, logs: &Logs) {
        catch_up(&self.suppressed, &logs.suppressed());
        self.panics.inc_by(logs.panics().saturating_sub(self.panics.get()));
    }
}
