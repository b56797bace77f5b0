//! The series of upstreams.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::series::{counters, gauges};

/// The series of upstreams.
#[derive(Debug)]
pub(super) struct UpstreamSeries {
    pub(super) errors: IntCounterVec,
    servers: IntGaugeVec,
    servers_up: IntGaugeVec,
    retries: IntCounterVec,
    ejections: IntCounterVec,
    health_checks: IntCounterVec,
}

/// How an upstream is at a scrape, and what has happened at it since the last.
#[derive(Clone, Debug)]
pub struct UpstreamReading {
    /// Its name.
    pub name: String,
    /// Its servers.
    pub servers: usize,
    /// Those that get requests.
    pub up: usize,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Servers that were ejected.
    pub ejections: u64,
    /// Checks, by result.
    pub checks: [(&'static str, u64); 2],
}

// === impl UpstreamSeries ===

impl UpstreamSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of_each = ["upstream"];
        Ok(Self {
            errors: counters(
                registry,
                "upstream_errors_total",
                "Requests that an upstream failed to answer, by kind.",
                &["upstream", "kind"],
            )?,
            servers: gauges(
                registry,
                "upstream_servers",
                "Servers of an upstream: as many as its names have addresses.",
                &of_each,
            )?,
            servers_up: gauges(
                registry,
                "upstream_servers_up",
                "Those of them that get requests.",
                &of_each,
            )?,
            retries: counters(
                registry,
                "upstream_retries_total",
                "Attempts of requests beyond the first.",
                &of_each,
            )?,
            ejections: counters(
                registry,
                "upstream_ejections_total",
                "Servers that got no requests for a while because they failed.",
                &of_each,
            )?,
            health_checks: counters(
                registry,
                "upstream_health_checks_total",
                "Checks of servers, by result.",
                &["upstream", "result"],
            )?,
        })
    }

    pub(super) fn show(&self, readings: &[UpstreamReading]) {
        self.servers.reset();
        self.servers_up.reset();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for reading in readings {
            let name = reading.name.as_str();
            self.servers.with_label_values(&[name]).set(number(reading.servers));
            self.servers_up.with_label_values(&[name]).set(number(reading.up));
            self.retries.with_label_values(&[name]).inc_by(reading.retries);
            self.ejections.with_label_values(&[name]).inc_by(reading.ejections);
            for (result, count) in reading.checks {
                self.health_checks.with_label_values(&[name, result]).inc_by(count);
            }
        }
    }
}
