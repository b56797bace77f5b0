//! SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads, and so does a changed file of
//! keys or of a certificate.
//!
//! A stop has two steps. Lame duck: `/readyz` says 503 and connections are closed after their
//! answer, but new ones are still taken, so that a load balancer can turn away first. Then Pingora
//! closes the listeners, and the process ends as soon as no request is under way, after
//! `server.drain_timeout` at the latest (Pingora's grace period).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use prometheus::IntGauge;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{interval, sleep, timeout};

use crate::proxy::Proxy;
use crate::reload::Reloader;

/// How long the gateway goes on accepting after it was told to stop.
const LAME_DUCK: Duration = Duration::from_millis(500);
/// How often the gateway looks whether a file with keys or a certificate has changed.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_millis(500);
/// How often a drain looks whether the last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait at the end until Redis knows the last: what was given back, costs and views.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A request that arrived just as the listeners closed may not be counted yet: so many looks in a
/// row must find none.
const IDLE_LOOKS: u32 = 3;

/// What signals do.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) draining: Arc<AtomicBool>,
    pub(super) in_flight: IntGauge,
    pub(super) reloader: Reloader,
}

/// The signals that stop the process.
struct Stops {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let mut stops = Stops::listen();
        let mut hangup = listen(SignalKind::hangup());
        loop {
            tokio::select! {
                () = stops.next() => break,
                () = next(&mut hangup) => self.reloader.reload().await,
                () = sleep(LOOK_AT_FILES_EVERY) => self.reloader.look().await,
            }
        }
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!(requests = self.in_flight.get(), "stopping when the last request has ended");
        tokio::select! {
            () = sleep(LAME_DUCK) => ShutdownSignal::GracefulTerminate,
            () = stops.next() => ShutdownSignal::FastShutdown,
        }
    }
}

/// Waits for the shutdown and then ends the process: as soon as it is idle, or at a second signal.
/// Pingora by itself would sit out its whole grace period.
#[expect(clippy::exit, reason = "Pingora's main thread sleeps through its grace period")]
pub(super) async fn end_when_idle(proxy: Arc<Proxy>, mut shutdown: ShutdownWatch) {
    if shutdown.wait_for(|shutting_down| *shutting_down).await.is_err() {
        return;
    }
    // Only now: the signal that began it all is not the second one.
    let mut stops = Stops::listen();
    let idle = async {
        let (mut looks, mut idle) = (interval(LOOK_EVERY), 0);
        while idle < IDLE_LOOKS {
            looks.tick().await;
            idle = if proxy.metrics.in_flight().get() == 0 { idle + 1 } else { 0 };
        }
        let told = async {
            while !proxy.limiter.all_told() {
                looks.tick().await;
            }
        };
        let last = async { tokio::join!(told, proxy.metering.flushed()) };
        let _ = timeout(LAST_WORDS, last).await;
    };
    tokio::select! {
        () = idle => std::process::exit(0),
        () = stops.next() => std::process::exit(1),
    }
}

// === impl Stops ===

impl Stops {
    fn listen() -> Self {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Self { terminate: listen(terminate), interrupt: listen(interrupt) }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(%error, "cannot listen to a signal")).ok()
}

/// The next signal; never, if it cannot be listened to.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
