//! Connections that are in the middle of something that no request says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are of each kind. Who ends the process waits for them.
#[derive(Debug, Default)]
pub struct Counts {
    /// Those of HTTP/2 that are open.
    pub multiplexed: AtomicUsize,
    /// Those on which a preamble, a handshake or a head has begun to come and is not whole.
    pub begun: AtomicUsize,
    /// Those that are closed but for what their clients still send.
    pub lingering: AtomicUsize,
}

/// One of them, for as long as it lives.
pub(super) struct Counted {
    counts: Arc<Counts>,
    kind: fn(&Counts) -> &AtomicUsize,
}

// === impl Counted ===

impl Counted {
    pub(super) fn new(counts: &Arc<Counts>, kind: fn(&Counts) -> &AtomicUsize) -> Self {
        kind(counts).fetch_add(1, Ordering::Relaxed);
        Self { counts: Arc::clone(counts), kind }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.kind)(&self.counts).fetch_sub(1, Ordering::Relaxed);
    }
}
