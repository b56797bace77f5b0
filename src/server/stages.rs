//! How far the process is between its first connection and its last.
//!
//! Pingora knows one moment, the shutdown, and tells everybody at once. Here there are three, each
//! for those whom it concerns: the listeners begin to accept, connections are asked to close, the
//! listeners end. A connection that is asked to close is answered and not broken off: what ends it
//! is its own next answer (HTTP/1.1), its last stream (HTTP/2), or the end of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pingora_core::server::ShutdownWatch;
use tokio::sync::watch;

use crate::guard::{Counts, Leave};

/// The stages, and whoever waits for them.
#[derive(Debug)]
pub(super) struct Stages {
    prepared: watch::Sender<bool>,
    opened: watch::Sender<bool>,
    asked: watch::Sender<bool>,
    shut: watch::Sender<bool>,
    /// Of the proxy: answers close their connections.
    draining: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

// === impl Stages ===

impl Stages {
    pub(super) fn new(draining: Arc<AtomicBool>) -> Self {
        let [prepared, opened, asked, shut] = [(); 4].map(|()| watch::Sender::new(false));
        Self { prepared, opened, asked, shut, draining, counts: Arc::default() }
    }

    /// Everything that requests need has been tried once.
    pub(super) fn prepare(&self) {
        self.prepared.send_replace(true);
    }

    /// Returns once everything has been tried.
    pub(super) async fn prepared(&self) {
        reached(&self.prepared).await;
    }

    /// The listeners accept from now on.
    pub(super) fn open(&self) {
        self.opened.send_replace(true);
    }

    /// Returns once the listeners may accept.
    pub(super) async fn opened(&self) {
        reached(&self.opened).await;
    }

    /// Every connection is to close behind what is under way on it, also those that are yet to come.
    pub(super) fn ask_to_close(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.asked.send_replace(true);
    }

    /// What connections are told.
    pub(super) fn leave(&self) -> Leave {
        Leave { asked: self.asked.subscribe(), counts: Arc::clone(&self.counts) }
    }

    /// Connections of HTTP/2 that are open: they end by themselves once they were asked to and their
    /// clients have taken everything.
    pub(super) fn multiplexed(&self) -> usize {
        self.counts.multiplexed.load(Ordering::Relaxed)
    }

    /// Connections on which a handshake or a head has begun to come and is not whole.
    pub(super) fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::Relaxed)
    }

    /// Connections that are closed but for what their clients still send.
    pub(super) fn lingering(&self) -> usize {
        self.counts.lingering.load(Ordering::Relaxed)
    }

    /// The listeners end: no connection is accepted any more.
    pub(super) fn shut(&self) {
        self.shut.send_replace(true);
    }

    /// True once the listeners are to end.
    pub(super) fn shutting(&self) -> ShutdownWatch {
        self.shut.subscribe()
    }
}

/// The sender is there for as long as who waits: it is the same one's.
async fn reached(stage: &watch::Sender<bool>) {
    let _ = stage.subscribe().wait_for(|reached| *reached).await;
}
