//! The public listeners: Pingora's proxy with our guard in front of it.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::Server as Pingora;
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;

use super::service::Gateway;
use crate::config::Server;
use crate::guard::{Caller, Doors, Guard, GuardSettings, HeadBounds};
use crate::proxy::{Bounds, Phases, Proxy};
use crate::telemetry::Logs;

/// What is read at once from a client. The guard and Pingora have buffers of their own.
const READ_BUFFER: usize = 8 * 1024;
/// What is written at once: about a packet, as Pingora has it.
const WRITE_BUFFER: usize = 1460;

/// The gateway as a service, with all its public listeners.
pub(super) fn gateway(
    pingora: &Pingora,
    config: &Server,
    proxy: &Arc<Proxy>,
    logs: &Arc<Logs>,
    greeting: Option<String>,
) -> Gateway {
    let mut app = http_proxy(&pingora.configuration, Phases(Arc::clone(proxy)));
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(config.keepalive_timeout);
    app.server_options = Some(options);
    let knows = Arc::clone(proxy);
    let caller = move |address: IpAddr| {
        let state = knows.state.load();
        let client = state.clients.locate(address, &HeaderMap::new());
        Caller { network: client.network, is_trusted: client.via_trusted_proxy }
    };
    let doors = Arc::new(Doors::new(settings(config), caller, Arc::clone(&proxy.metrics)));
    let guard = Guard::new(Arc::new(app), doors, None);
    let mut service = Service::new("gateway".to_owned(), guard);
    for address in &config.listen {
        service.add_listener(listener(&address.to_string()));
    }
    Gateway::new(vec![service], Arc::clone(proxy), Arc::clone(logs), greeting)
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

/// A plain listener: whatever comes before HTTP, the guard reads it.
fn listener(address: &str) -> ListenerConfig {
    ListenerConfig::tcp(address).l4_buffer(L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER))
}

const fn settings(config: &Server) -> GuardSettings {
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
        proxy_protocol: bounds.proxy_protocol,
        h2c: config.h2c,
    }
}
