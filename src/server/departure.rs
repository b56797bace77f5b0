//! How the process ends without breaking anything off.
//!
//! *Stop.* First it is a lame duck: `/readyz` says 503 and connections are asked to close, but new
//! ones are still accepted, so that a load balancer can turn away before anybody is refused. Then
//! the listeners end, and the process does as soon as nothing is under way, after
//! `server.drain_timeout` at the latest.
//!
//! *Leaving*, when a new process serves on the same sockets: the listeners end at once, and the
//! process when its last connection has, after `server.handover_timeout` at the latest. Connections
//! that are idle are kept: only their clients know whether a request is on its way.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{interval, sleep, timeout};

use super::RunError;
use super::handover::offer::Offer;
use super::signals::Stops;
use super::sockets::Sockets;
use super::stages::Stages;
use crate::metrics::{Metrics, Upgrade};
use crate::proxy::{Delays, Proxy};

/// How often a drain looks whether the last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A request that arrived just as the listeners closed may not be counted yet: so many looks in a
/// row must find none.
const IDLE_LOOKS: u32 = 3;
/// Longest wait at the end until clients have taken what was written to them: those of HTTP/2, and
/// those who were still sending when they got their answer.
const LAST_BYTES: Duration = Duration::from_millis(700);
/// Longest wait at the end until Redis knows the last: what was given back, costs and views.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the end of the process takes.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) stages: Arc<Stages>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) upgrade_socket: Option<PathBuf>,
    pub(super) proxy: Arc<Proxy>,
}

// === impl Departure ===

impl Departure {
    /// From the first signal to the end, which a second one brings at once.
    pub(super) async fn stop(
        &self,
        offer: Option<Offer>,
        stops: &mut Stops,
    ) -> Result<(), RunError> {
        // Nobody answers there any more.
        if let Some(offer) = offer {
            offer.withdraw();
        }
        self.proxy.stopping.store(true, Ordering::Relaxed);
        self.stages.ask_to_close();
        tracing::info!(
            requests = self.metrics().in_flight().get(),
            "stopping when the last request has ended"
        );
        let stopping = async {
            sleep(self.delays().lame_duck).await;
            self.end_listening();
            self.drain().await;
        };
        tokio::select! {
            () = stopping => Ok(()),
            () = stops.next() => Err(self.broken_off()),
        }
    }

    /// Until the last connection has ended. A signal turns it into a stop.
    pub(super) async fn leave(
        &self,
        pid: Option<i32>,
        offer: Option<Offer>,
        stops: &mut Stops,
    ) -> Result<(), RunError> {
        self.stages.ask_to_close();
        self.end_listening();
        tracing::info!(
            pid,
            connections = self.metrics().connections().get(),
            "another process serves: leaving when the last connection has ended"
        );
        let left = async {
            let gone = || self.metrics().connections().get() == 0;
            let ended = timeout(self.delays().handover, self.until(gone)).await;
            let connections = self.metrics().connections().get();
            if ended.is_err() && connections > 0 {
                tracing::warn!(connections, "`handover_timeout` has passed: they are broken off");
            }
            self.last_words().await;
            if let Some(offer) = offer {
                offer.withdraw();
            }
        };
        tokio::select! {
            () = left => return Ok(()),
            () = stops.next() => {}
        }
        tokio::select! {
            () = self.drain() => Ok(()),
            () = stops.next() => Err(self.broken_off()),
        }
    }

    /// Notes that a process that was started to take over has not.
    pub(super) fn upgrade_failed(&self, why: &str) {
        self.metrics().upgraded(Upgrade::Failed);
        tracing::error!(why, "the upgrade has failed: this process goes on");
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.proxy.metrics
    }

    /// As the configuration in force has them.
    fn delays(&self) -> Delays {
        self.proxy.state.load().delays
    }

    fn end_listening(&self) {
        self.stages.shut();
        self.sockets.close();
    }

    /// Until nothing is under way: no request, and nothing of one that has begun to come.
    async fn drain(&self) {
        let stages = &self.stages;
        let idle = || self.metrics().in_flight().get() == 0 && stages.begun() == 0;
        let drained = timeout(self.delays().drain, self.until(idle)).await;
        let requests = self.metrics().in_flight().get();
        if drained.is_err() && requests > 0 {
            tracing::warn!(requests, "`drain_timeout` has passed: they are broken off");
        }
        let written = || stages.multiplexed() == 0 && stages.lingering() == 0;
        let _ = timeout(LAST_BYTES, self.until(written)).await;
        self.last_words().await;
    }

    async fn last_words(&self) {
        let told = self.until(|| self.proxy.limiter.all_told());
        let last = async { tokio::join!(told, self.proxy.metering.flushed()) };
        let _ = timeout(LAST_WORDS, last).await;
    }

    /// Until it has been so for a few looks.
    async fn until(&self, is_so: impl Fn() -> bool) {
        let (mut looks, mut in_a_row) = (interval(LOOK_EVERY), 0);
        while in_a_row < IDLE_LOOKS {
            looks.tick().await;
            in_a_row = if is_so() { in_a_row + 1 } else { 0 };
        }
    }

    fn broken_off(&self) -> RunError {
        RunError::BrokenOff { requests: self.metrics().in_flight().get() }
    }
}
