//! What clients are held to once their request has been read.

use std::time::Duration;

/// How long a client may take, and how much it may send.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// An idle connection is kept so long.
    pub keepalive: Duration,
    /// Longest wait for the next bytes of a request.
    pub read: Duration,
    /// Longest wait for the client to take bytes of a response.
    pub write: Duration,
    /// Most bytes of a body, where its route does not say otherwise.
    pub body: u64,
    /// Fewest bytes a second of a body, over all of it; 0: no bound.
    pub body_rate: u64,
}
