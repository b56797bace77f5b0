//! What `[server]` holds connections and requests to.

use std::time::Duration;

/// The bounds of all listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBounds {
    /// Connections open at once.
    pub max_connections: usize,
    /// The same of one client; 0: no bound of its own.
    pub max_connections_per_address: usize,
    /// Whether trusted proxies begin connections with the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long a preamble, a TLS handshake and the head of a request may take, each.
    pub header_timeout: Duration,
    /// Bytes of a head.
    pub max_header_size: usize,
    /// Header fields.
    pub max_headers: usize,
    /// Bytes of a request target.
    pub max_target_size: usize,
    /// Bytes of a body, where its route does not say otherwise.
    pub max_body: u64,
    /// Fewest bytes a second of a body; 0: no bound.
    pub min_body_rate: u64,
    /// How long a client that has closed its side still gets an answer.
    pub half_close_timeout: Duration,
}
