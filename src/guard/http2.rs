//! What an HTTP/2 connection is told at its beginning: how much it may send, and how long it may be
//! idle. Both are agreed upon then, so a reload acts on connections that begin after it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;

/// The application of one HTTP/2 connection.
pub(super) struct Http2<A> {
    app: Arc<A>,
    options: H2Options,
    server: HttpServerOptions,
}

// === impl Http2 ===

impl<A> Http2<A> {
    /// Requests go to `app`. A connection without one is closed after `idle`.
    pub(super) fn new(app: Arc<A>, options: H2Options, idle: Duration) -> Self {
        let mut server = HttpServerOptions::default();
        server.h2_idle_timeout = Some(idle);
        // Who gets here has said that he speaks it.
        Self { app, options, server }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Http2<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.options.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.server)
    }
}
