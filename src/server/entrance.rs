//! The listeners of a service: on our sockets, open for as long as the stages say.

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;

use super::sockets::Sockets;
use super::stages::Stages;

/// What all listeners have in common.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) sockets: Arc<Sockets>,
    pub(super) stages: Arc<Stages>,
}

/// A service with a runtime of its own, that accepts as long as the gateway does.
pub(super) struct Attended<A> {
    pub(super) service: Service<A>,
    pub(super) entrance: Entrance,
}

// === impl Entrance ===

impl Entrance {
    /// Runs the listeners of `service` from the moment on that they may accept until they may not.
    /// Who comes before waits in the sockets.
    pub(super) async fn attend<A: ServerApp + Send + Sync + 'static>(
        &self,
        service: &mut Service<A>,
        table: Option<ListenFds>,
        listeners_per_fd: usize,
    ) {
        if let Some(table) = &table {
            for address in service.listen_addresses().unwrap_or_default() {
                self.sockets.lend(&address, table);
            }
        }
        self.stages.opened().await;
        service.start_service(table, self.stages.shutting(), listeners_per_fd).await;
    }
}

// === impl Attended ===

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> pingora_core::services::Service for Attended<A> {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        self.entrance.attend(&mut self.service, table, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }
}
