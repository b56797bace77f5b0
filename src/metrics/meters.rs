//! The series of meters, brought over from what counts at each scrape.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::series::{counters, gauges};

/// What became of the views and batches of a meter, as it stands at a scrape.
#[derive(Clone, Debug)]
pub struct MeterReading {
    /// Its name.
    pub name: String,
    /// Views so far, by what became of them.
    pub views: Vec<(&'static str, u64)>,
    /// Attempts to hand batches over so far, by what came of them.
    pub batches: Vec<(&'static str, u64)>,
    /// Views that wait to be counted.
    pub waiting: usize,
    /// Batches that wait to be acknowledged.
    pub pending: usize,
}

/// The series.
#[derive(Debug)]
pub(super) struct MeterSeries {
    views: IntCounterVec,
    batches: IntCounterVec,
    waiting: IntGaugeVec,
    pending: IntGaugeVec,
}

// === impl MeterSeries ===

impl MeterSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            views: counters(
                registry,
                "meter_views_total",
                "Views of each meter, by what became of them.",
                &["meter", "result"],
            )?,
            batches: counters(
                registry,
                "meter_batches_total",
                "Attempts to hand a batch to the application, by what came of them.",
                &["meter", "result"],
            )?,
            waiting: gauges(
                registry,
                "meter_waiting_views",
                "Views of this gateway that Redis has not counted yet.",
                &["meter"],
            )?,
            pending: gauges(
                registry,
                "meter_pending_batches",
                "Batches of each meter that wait to be acknowledged, as this gateway last looked.",
                &["meter"],
            )?,
        })
    }

    pub(super) fn show(&self, readings: &[MeterReading]) {
        for reading in readings {
            let meter = reading.name.as_str();
            for (counters, totals) in
                [(&self.views, &reading.views), (&self.batches, &reading.batches)]
            {
                for (result, total) in totals {
                    let counter = counters.with_label_values(&[meter, *result]);
                    counter.inc_by(total.saturating_sub(counter.get()));
                }
            }
            let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            self.waiting.with_label_values(&[meter]).set(gauge(reading.waiting));
            self.pending.with_label_values(&[meter]).set(gauge(reading.pending));
        }
    }
}
