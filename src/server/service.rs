//! The gateway as a service of Pingora: the proxy, and what must run on the proxy's own runtime.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::listening::Service;
use pingora_proxy::HttpProxy;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::entrance::Entrance;
use super::manager::Manager;
use crate::delivery::Delivery;
use crate::guard::Guard;
use crate::proxy::{Phases, Proxy};
use crate::telemetry::Logs;

/// How long the first look-ups and checks and the first connection to Redis may hold up the listening. After
/// that the gateway serves without them.
const FIRST_TRIES: Duration = Duration::from_secs(1);
/// How often it is said that lines were held back, if any were.
const TELL_SUPPRESSED_EVERY: Duration = Duration::from_secs(1);

/// Listeners with the guard in front of the proxy.
pub(super) type Listening = Service<Guard<HttpProxy<Phases>>>;

/// The proxy with its companions. A connection lives on the runtime that opened it, so the
/// supervisor of the Redis connection is started here and not in a service of its own.
pub(super) struct Gateway {
    services: Vec<Listening>,
    entrance: Entrance,
    proxy: Arc<Proxy>,
    logs: Arc<Logs>,
    manager: Arc<Manager>,
    greeting: Option<String>,
}

// === impl Gateway ===

impl Gateway {
    pub(super) const fn new(
        services: Vec<Listening>,
        entrance: Entrance,
        proxy: Arc<Proxy>,
        logs: Arc<Logs>,
        manager: Arc<Manager>,
        greeting: Option<String>,
    ) -> Self {
        Self { services, entrance, proxy, logs, manager, greeting }
    }

    /// Starts what runs beside the proxy, and waits for its first results for a while. Whatever
    /// takes longer goes on in the background: requests do not wait for it.
    async fn start_companions(&self) {
        let state = self.proxy.state.load_full();
        for upstream in &state.upstreams {
            upstream.start();
        }
        let proxy = Arc::clone(&self.proxy);
        tokio::spawn(async move { proxy.watch_switch().await });
        let logs = Arc::clone(&self.logs);
        tokio::spawn(async move {
            loop {
                sleep(TELL_SUPPRESSED_EVERY).await;
                logs.tell_suppressed();
            }
        });
        let limiter = Arc::clone(&self.proxy.limiter);
        tokio::spawn(async move { limiter.supervise().await });
        let limiter = Arc::clone(&self.proxy.limiter);
        tokio::spawn(async move { limiter.penalize().await });
        if let Some(redis) = self.proxy.limiter.redis() {
            let (metering, store) = (Arc::clone(&self.proxy.metering), Arc::clone(redis));
            tokio::spawn(async move { metering.run(&store).await });
            tokio::spawn(Delivery::new(Arc::clone(&self.proxy), Arc::clone(redis)).run());
        }
        let known = async {
            for upstream in &state.upstreams {
                upstream.known().await;
            }
        };
        let tried = async {
            if let Some(redis) = self.proxy.limiter.redis() {
                redis.tried().await;
            }
        };
        let _ = timeout(FIRST_TRIES, async { tokio::join!(known, tried) }).await;
    }
}

#[async_trait]
impl pingora_core::services::Service for Gateway {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        self.start_companions().await;
        self.entrance.stages.prepare();
        self.entrance.stages.opened().await;
        if let Some(greeting) = self.greeting.take() {
            // Nobody may be reading; that is no reason not to serve.
            let _ = writeln!(std::io::stdout(), "{greeting}");
        }
        // All on this runtime: the connections of one listener are those of the others.
        let mut running = JoinSet::new();
        for mut service in std::mem::take(&mut self.services) {
            let (entrance, table) = (self.entrance.clone(), table.clone());
            running.spawn(async move {
                entrance.attend(&mut service, table, listeners_per_fd).await;
            });
        }
        tokio::spawn(Arc::clone(&self.manager).watch());
        running.join_all().await;
    }

    fn name(&self) -> &'static str {
        "gateway"
    }

    fn threads(&self) -> Option<usize> {
        None
    }
}
