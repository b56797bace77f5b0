//! The upstreams of a configuration.

use std::sync::Arc;

use crate::config::{Config, Pem, Protocol, ServerAddress, UpstreamTls};
use crate::upstream::{Address, Settings, Tls, Upstream};

/// In the order of the configuration.
pub(super) fn upstreams(config: &Config) -> Result<Vec<Arc<Upstream>>, String> {
    let each = config.upstreams.iter().map(|upstream| {
        let settings = Settings {
            h2: upstream.protocol == Protocol::H2,
            tls: upstream.tls.as_ref().map(tls).transpose()?,
            ping_interval: upstream.ping_interval,
            connect_timeout: upstream.connect_timeout,
            read_timeout: upstream.read_timeout,
            write_timeout: upstream.write_timeout,
            idle_timeout: upstream.idle_timeout,
        };
        let servers = upstream.servers.iter().map(address).collect();
        Ok(Arc::new(Upstream::new(upstream.name.clone(), servers, settings)))
    });
    each.collect()
}

fn address(address: &ServerAddress) -> Address {
    match address {
        ServerAddress::Tcp { host, port } => Address::Tcp(host.clone(), *port),
        ServerAddress::Unix(path) => Address::Unix(path.clone()),
    }
}

fn tls(tls: &UpstreamTls) -> Result<Tls, String> {
    let own = tls.trust.client.as_ref();
    let own = own.map(|own| (own.certificate.expose(), own.key.expose()));
    Tls::new(tls.server_name.clone(), tls.trust.ca.as_ref().map(Pem::expose), own)
}
