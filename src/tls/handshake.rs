//! The handshake, under a deadline of its own, and what comes behind it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as Connection;
use pingora_core::server::ShutdownWatch;
use tokio::time::timeout;

use super::{Certificates, acceptor};
use crate::metrics::{Handshake, Metrics};

/// Longest that a handshake may take: some round trips of a bad line.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes with clients.
pub struct Handshakes {
    acceptor: Acceptor,
    metrics: Arc<Metrics>,
}

/// An application behind TLS.
pub struct Terminating<A> {
    app: Arc<A>,
    handshakes: Handshakes,
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

// === impl Terminating ===

impl<A> Terminating<A> {
    /// `app` behind these handshakes.
    pub fn new(app: A, handshakes: Handshakes) -> Self {
        Self { app: Arc::new(app), handshakes }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Terminating<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // Only a connection as it was accepted: one that was handed back has had its handshake.
        let connection = stream.into_any().downcast::<Connection>().ok()?;
        let mut next = self.handshakes.shake(*connection, HANDSHAKE_TIMEOUT).await;
        while let Some(stream) = next {
            next = self.app.process_new(stream, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}
