//! The series of the process: which program it is, and what has become of its configuration and of
//! those that were to take its place.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::series::{counters, gauge};

/// What the process is.
#[derive(Debug)]
pub(super) struct ProcessSeries {
    config_reloads: IntCounterVec,
    config_read: IntGauge,
    upgrades: IntCounterVec,
}

/// What happened to a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration is in force.
    Applied,
    /// It was refused and the old one stays.
    Rejected,
}

/// What happened to an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// A new process serves in the place of this one.
    HandedOver,
    /// None does, and this one goes on.
    Failed,
}

// === impl ProcessSeries ===

impl ProcessSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("sluicegate_build_info", "Always 1; the version is a label.");
        let build = IntGaugeVec::new(opts, &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let series = Self {
            config_reloads: counters(
                registry,
                "config_reloads_total",
                "Reloads of the configuration, by result.",
                &["result"],
            )?,
            config_read: gauge(
                registry,
                "config_reload_timestamp_seconds",
                "When the configuration in force was applied, in seconds since the epoch.",
            )?,
            upgrades: counters(
                registry,
                "upgrades_total",
                "Attempts of a new process to take over, by result.",
                &["result"],
            )?,
        };
        for result in [Reload::Applied, Reload::Rejected] {
            series.config_reloads.with_label_values(&[result.name()]);
        }
        for result in [Upgrade::HandedOver, Upgrade::Failed] {
            series.upgrades.with_label_values(&[result.name()]);
        }
        Ok(series)
    }

    pub(super) fn reloaded(&self, result: Reload) {
        self.config_reloads.with_label_values(&[result.name()]).inc();
    }

    pub(super) fn in_force_since(&self, seconds: u64) {
        self.config_read.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    pub(super) fn upgraded(&self, result: Upgrade) {
        self.upgrades.with_label_values(&[result.name()]).inc();
    }
}

// === impl Reload ===

impl Reload {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}

// === impl Upgrade ===

impl Upgrade {
    const fn name(self) -> &'static str {
        match self {
            Self::HandedOver => "handed-over",
            Self::Failed => "failed",
        }
    }
}
