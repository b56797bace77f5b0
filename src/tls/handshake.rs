//! The handshake, under a deadline.

use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as Connection;
use tokio::time::timeout;

use super::{Certificates, acceptor};
use crate::metrics::{Handshake, Metrics};

/// Handshakes with clients.
pub struct Handshakes {
    acceptor: Acceptor,
    metrics: Arc<Metrics>,
}

// === impl Handshakes ===

impl Handshakes {
    /// Those that show `certificates`.
    pub fn new(certificates: &Arc<Certificates>, metrics: Arc<Metrics>) -> Result<Self, String> {
        Ok(Self { acceptor: acceptor(certificates)?, metrics })
    }

    /// The connection behind a handshake that took no longer than `deadline`. Without one nobody
    /// is answered. A line of the log for each that fails would be a flood that clients control:
    /// they are counted.
    pub async fn shake(&self, connection: Connection, deadline: Duration) -> Option<Stream> {
        let (handshake, stream) =
            match timeout(deadline, self.acceptor.tls_handshake(connection)).await {
                Ok(Ok(stream)) => (Handshake::Ok, Some(Box::new(stream) as Stream)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no TLS with a client");
                    (Handshake::Failed, None)
                }
                Err(_) => (Handshake::Timeout, None),
            };
        self.metrics.shaken(handshake);
        stream
    }
}
