//! Every series: its name, its help, its labels and its buckets, in one place.
//!
//! Labels come from closed sets: policies, routes and upstreams of the configuration, and words
//! of this program. Never a client, a path or a key: the number of series is known from the
//! configuration, whatever clients send.

mod doors;
mod limits;
mod logs;
mod meters;
mod penalties;
mod process;
mod requests;
mod series;
mod store;
mod tls;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Encoder, Histogram, IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::identity::Identified;
use crate::limit::Verdict;
use crate::telemetry::Logs;
use doors::DoorSeries;
use limits::LimitSeries;
use logs::LogSeries;
use meters::MeterSeries;
use penalties::PenaltySeries;
use process::ProcessSeries;
use requests::RequestSeries;
use series::{catch_up, counters, gauge, histogram, seconds};
use store::StoreSeries;
use tls::TlsSeries;
use upstreams::UpstreamSeries;

pub use meters::MeterReading;
pub use penalties::PenaltyReading;
pub use process::{Reload, Upgrade};
pub use store::StoreReading;
pub use tls::Handshake;
pub use upstreams::UpstreamReading;

/// From 100 us, a fast application's answer, to 100 s, beyond every timeout.
const REQUEST_BUCKETS: [f64; 13] =
    [1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0, 30.0, 100.0];
/// From 10 us, a decision in memory, to 1 s, beyond every sensible `store.timeout`.
const DECISION_BUCKETS: [f64; 12] =
    [1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 0.1, 1.0];

/// All series of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    doors: DoorSeries,
    limits: LimitSeries,
    penalties: PenaltySeries,
    read: RequestSeries,
    requests: IntCounterVec,
    request_duration: Histogram,
    added_latency: Histogram,
    store: StoreSeries,
    upstreams: UpstreamSeries,
    identities: IntCounterVec,
    process: ProcessSeries,
    in_flight: IntGauge,
    local_entries: IntGauge,
    instances: IntGauge,
    meters: MeterSeries,
    logs: LogSeries,
    tls: TlsSeries,
    /// One scrape at a time brings the store's own counters over.
    scrape: Mutex<()>,
}

/// How the local store is at the moment of a scrape.
#[derive(Clone, Debug)]
pub struct LocalReading {
    /// States in it.
    pub entries: usize,
    /// Gateways that share the quotas.
    pub instances: u64,
    /// Settlements so far, by who has settled them.
    pub settled: [(&'static str, u64); 3],
    /// Refunds of what a request took that was denied elsewhere, by who has made them.
    pub refunded: [(&'static str, u64); 3],
    /// Permits that are held, for each policy that has any.
    pub permits: BTreeMap<String, usize>,
}

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The pattern of its route; `none` if no route took it.
    pub route: &'a str,
    /// The status it was answered with; 0 if it was not.
    pub status: u16,
    /// From its head to its end.
    pub took: Duration,
    /// From its head to its verdict.
    pub added: Option<Duration>,
}

// === impl Metrics ===

impl Metrics {
    /// All series, at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Self {
            doors: DoorSeries::new(&registry)?,
            limits: LimitSeries::new(&registry)?,
            penalties: PenaltySeries::new(&registry)?,
            read: RequestSeries::new(&registry)?,
            requests: counters(
                &registry,
                "requests_total",
                "Requests by the route that took them and the class of their status.",
                &["route", "code_class"],
            )?,
            request_duration: histogram(
                &registry,
                "request_duration_seconds",
                "From a request's head to the end of its answer.",
                &REQUEST_BUCKETS,
            )?,
            added_latency: histogram(
                &registry,
                "added_latency_seconds",
                "From a request's head to its verdict: what limiting adds.",
                &DECISION_BUCKETS,
            )?,
            store: StoreSeries::new(&registry)?,
            upstreams: UpstreamSeries::new(&registry)?,
            identities: counters(
                &registry,
                "identities_total",
                "Credentials that were presented, by source and by what came of them.",
                &["source", "result"],
            )?,
            in_flight: gauge(&registry, "requests_in_flight", "Requests under way.")?,
            local_entries: gauge(
                &registry,
                "local_entries",
                "States in the local store, those that say nothing any more included.",
            )?,
            instances: gauge(
                &registry,
                "instances",
                "Gateways that share the quotas when each decides by itself.",
            )?,
            meters: MeterSeries::new(&registry)?,
            logs: LogSeries::new(&registry)?,
            process: ProcessSeries::new(&registry)?,
            tls: TlsSeries::new(&registry)?,
            scrape: Mutex::new(()),
            registry,
        })
    }

    /// Records every decision of a verdict; of bans what they refuse.
    pub fn decided(&self, verdict: &Verdict) {
        self.penalties.decided(verdict);
        for outcome in verdict.outcomes.iter().filter(|outcome| !outcome.is_of_ban()) {
            let decision = if outcome.decision.allowed { "allow" } else { "deny" };
            let labels = [outcome.policy.name.as_str(), decision, outcome.provenance.name()];
            self.limits.decisions.with_label_values(&labels).inc();
        }
        if let Some(took) = verdict.store_time {
            self.store.duration.observe(seconds(took));
        }
    }

    /// Brings over what the limiter has counted of bans.
    pub fn penalised(&self, reading: &PenaltyReading) {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.penalties.show(reading);
    }

    /// Brings over how the upstreams are, these and no others, and what has happened at them.
    pub fn upstreams(&self, readings: &[UpstreamReading]) {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.upstreams.show(readings);
    }

    /// Brings over what the logs have not shown, and how often the process has panicked.
    pub fn logged(&self, logs: &Logs) {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.logs.show(logs);
    }

    /// Records what each source of users found.
    pub fn identified(&self, found: &Identified) {
        for (source, finding) in &found.findings {
            if let Some(result) = finding.word() {
                self.identities.with_label_values(&[source.word(), result]).inc();
            }
        }
    }

    /// Records a request that no limit concerned; `by` is one of a few words of this program.
    pub fn exempted(&self, by: &'static str) {
        self.limits.exemptions.with_label_values(&[by]).inc();
    }

    /// Records a request from an address that is not let in.
    pub fn turned_away(&self) {
        self.limits.turned_away.inc();
    }

    /// Records header fields that were taken off a request; `reason` is one of a few words of this
    /// program.
    pub fn headers_dropped(&self, reason: &'static str, count: u64) {
        if count > 0 {
            self.read.headers_dropped.with_label_values(&[reason]).inc_by(count);
        }
    }

    /// Records that a trusted proxy wrote an entry that is no address.
    pub fn forwarded_unreadable(&self) {
        self.read.forwarded_unreadable.inc();
    }

    /// Records a finished request.
    pub fn finished(&self, request: Finished<'_>) {
        let class = match request.status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "none",
        };
        self.requests.with_label_values(&[request.route, class]).inc();
        self.request_duration.observe(request.took.as_secs_f64());
        if let Some(added) = request.added {
            self.added_latency.observe(added.as_secs_f64());
        }
    }

    /// Connections of clients that are open.
    pub const fn connections(&self) -> &IntGauge {
        &self.doors.open
    }

    /// Records a connection that was closed before a request was read; `reason` is one of a few
    /// words of this program.
    pub fn connection_refused(&self, reason: &'static str) {
        self.doors.refused.with_label_values(&[reason]).inc();
    }

    /// Records a request that no rule saw, because it could not be read in one way; `reason` is one
    /// of a few words of this program.
    pub fn malformed(&self, reason: &'static str) {
        self.doors.malformed.with_label_values(&[reason]).inc();
    }

    /// Records that an upstream failed to answer; `kind` is one of a few words of this program.
    pub fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        self.upstreams.errors.with_label_values(&[upstream, kind]).inc();
    }

    /// Says since when the configuration in force is that: in seconds since the epoch.
    pub fn in_force_since(&self, seconds: u64) {
        self.process.in_force_since(seconds);
    }

    /// Records a reload.
    pub fn reloaded(&self, result: Reload) {
        self.process.reloaded(result);
    }

    /// Records that a new process has taken over, or has failed to.
    pub fn upgraded(&self, result: Upgrade) {
        self.process.upgraded(result);
    }

    /// Records how a TLS handshake with a client ended.
    pub fn shaken(&self, handshake: Handshake) {
        self.tls.shaken(handshake);
    }

    /// How many handshakes have ended in each way.
    pub fn handshakes(&self) -> [(&'static str, u64); 3] {
        self.tls.handshakes()
    }

    /// Says until when each certificate is valid, by its name, in seconds since the epoch: these
    /// and no others.
    pub fn certificates(&self, ends: &BTreeMap<String, i64>) {
        self.tls.show(ends);
    }

    /// Requests under way.
    pub const fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// The whole exposition, with the readings of the moment. `store` is `None` where there is no
    /// shared store; then it is neither up nor down and has no errors. `enforcement` is a number: 0
    /// off, 1 shadow, 2 enforce.
    pub fn expose(
        &self,
        store: Option<&StoreReading>,
        local: &LocalReading,
        enforcement: u8,
        meters: &[MeterReading],
    ) -> String {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = store {
            self.store.show(reading);
        }
        self.meters.show(meters);
        self.limits.enforcement.set(i64::from(enforcement));
        catch_up(&self.limits.settlements, &local.settled);
        catch_up(&self.limits.refunds, &local.refunded);
        self.limits.show_permits(&local.permits);
        self.local_entries.set(i64::try_from(local.entries).unwrap_or(i64::MAX));
        self.instances.set(i64::try_from(local.instances).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# the series cannot be written: {error}\n"),
        }
    }
}
