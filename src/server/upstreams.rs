//! The upstreams of a configuration.

use std::sync::Arc;

use crate::config::{self, Config, Pem, Protocol, ServerAddress, UpstreamServer, UpstreamTls};
use crate::upstream::{Address, Balance, EjectionRule, HealthCheck, Settings, Tls, Upstream};

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
            balance: match upstream.balance {
                config::Balance::RoundRobin => Balance::RoundRobin,
                config::Balance::LeastConnections => Balance::LeastConnections,
            },
            max_connections: upstream.max_connections,
            retries: upstream.retries,
            health: upstream.health.as_ref().map(health),
            ejection: EjectionRule {
                failures: upstream.ejection.failures,
                span: upstream.ejection.span,
            },
        };
        let servers = upstream.servers.iter().map(server).collect();
        Ok(Arc::new(Upstream::new(upstream.name.clone(), servers, settings)))
    });
    each.collect()
}

fn server(server: &UpstreamServer) -> (Address, u32) {
    let address = match &server.address {
        ServerAddress::Tcp { host, port } => Address::Tcp(host.clone(), *port),
        ServerAddress::Unix(path) => Address::Unix(path.clone()),
    };
    (address, server.weight)
}

fn health(check: &config::HealthCheck) -> HealthCheck {
    let is_good = |status: &u16| match &check.status {
        Some(good) => good.contain(*status),
        None => *status < 400,
    };
    HealthCheck {
        path: check.path.clone(),
        host: check.host.clone(),
        interval: check.interval,
        timeout: check.timeout,
        good: Arc::new((200..=599).filter(is_good).collect()),
        unhealthy_after: check.unhealthy_after,
        healthy_after: check.healthy_after,
    }
}

fn tls(tls: &UpstreamTls) -> Result<Tls, String> {
    let own = tls.trust.client.as_ref();
    let own = own.map(|own| (own.certificate.expose(), own.key.expose()));
    Tls::new(tls.server_name.clone(), tls.trust.ca.as_ref().map(Pem::expose), own)
}
