//! The public listeners: Pingora's proxy with our guard in front of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::Server as Pingora;
use pingora_core::services::listening::Service;
use pingora_proxy::{HttpProxy, http_proxy};

use super::h2::h2_options;
use super::service::Listening;
use super::stages::Stages;
use crate::config::{Config, Server};
use crate::guard::{Caller, Doors, Guard, GuardSettings, HeadBounds};
use crate::proxy::{Bounds, Phases, Proxy};
use crate::tls::{Certificates, Handshakes};

/// What is read at once from a client. The guard and Pingora have buffers of their own.
const READ_BUFFER: usize = 8 * 1024;
/// What is written at once: about a packet, as Pingora has it.
const WRITE_BUFFER: usize = 1460;

/// All public listeners, those of `[tls]` with their handshakes.
pub(super) fn listeners(
    pingora: &Pingora,
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
    proxy: &Arc<Proxy>,
    stages: &Stages,
) -> Result<Vec<Listening>, String> {
    let mut app = http_proxy(&pingora.configuration, Phases(Arc::clone(proxy)));
    app.server_options = Some(HttpServerOptions::default());
    let app = Arc::new(app);
    let (knows, holds) = (Arc::clone(proxy), Arc::clone(proxy));
    let caller = move |address: IpAddr| {
        let state = knows.state.load();
        let client = state.clients.locate(address, &HeaderMap::new());
        Caller { network: client.network, is_trusted: client.via_trusted_proxy }
    };
    let metrics = || Arc::clone(&proxy.metrics);
    let held = move || holds.state.load().guard;
    let doors = Doors::new(held, caller, h2_options, stages.leave(), metrics());
    let doors = Arc::new(doors);
    let guard = |tls| Guard::new(Arc::clone(&app), Arc::clone(&doors), tls);
    let mut listening = Vec::new();
    // Without an address a service ends at once, and tells the application of all that the process
    // stops.
    if !config.server.listen.is_empty() {
        listening.push(service("gateway", guard(None), &config.server.listen));
    }
    if let Some(certificates) = certificates {
        let handshakes = Handshakes::new(certificates, metrics())?;
        listening.push(service("tls", guard(Some(handshakes)), &config.https.listen));
    }
    Ok(listening)
}

/// Plain listeners: whatever comes before HTTP, the guard reads it.
fn service(name: &str, guard: Guard<HttpProxy<Phases>>, addresses: &[SocketAddr]) -> Listening {
    let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
    let mut service = Service::new(name.to_owned(), guard);
    for address in addresses {
        service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffers));
    }
    service
}

/// What clients are held to after the guard.
pub(super) const fn bounds(config: &Server) -> Bounds {
    Bounds {
        keepalive: config.keepalive_timeout,
        read: config.read_timeout,
        write: config.write_timeout,
        body: config.bounds.max_body,
        body_rate: config.bounds.min_body_rate,
    }
}

/// What connections are held to until then.
pub(super) const fn settings(config: &Server) -> GuardSettings {
    let bounds = &config.bounds;
    GuardSettings {
        connections: bounds.max_connections,
        connections_each: bounds.max_connections_per_address,
        head: HeadBounds {
            bytes: bounds.max_header_size,
            fields: bounds.max_headers,
            target: bounds.max_target_size,
        },
        header_timeout: bounds.header_timeout,
        keepalive_timeout: config.keepalive_timeout,
        half_close_timeout: bounds.half_close_timeout,
        write_timeout: config.write_timeout,
        proxy_protocol: bounds.proxy_protocol,
        h2c: config.h2c,
    }
}
