//! `[upstreams.NAME]`: servers that answer requests.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::UpstreamTls;
use crate::rules::statuses::Statuses;

/// Servers that answer the same requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// 1 to 64 of them.
    pub servers: Vec<UpstreamServer>,
    /// What they speak.
    pub protocol: Protocol,
    /// How they prove who they are; `None`: without TLS.
    pub tls: Option<UpstreamTls>,
    /// How often an HTTP/2 connection is asked whether it lives; `None`: never.
    pub ping_interval: Option<Duration>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of a response.
    pub read_timeout: Duration,
    /// Longest wait until a server takes the next bytes.
    pub write_timeout: Duration,
    /// How long a pooled connection waits for its next request.
    pub idle_timeout: Duration,
    /// How requests are divided between the servers.
    pub balance: Balance,
    /// Most requests under way at one server; 0: no bound.
    pub max_connections: usize,
    /// Most attempts of a request beyond the first.
    pub retries: usize,
    /// `[upstreams.NAME.health]`; `None`: servers are not checked.
    pub health: Option<HealthCheck>,
    /// `[upstreams.NAME.ejection]`.
    pub ejection: Ejection,
}

/// An entry of `servers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it listens.
    pub address: ServerAddress,
    /// Its share of the requests, beside the others'.
    pub weight: u32,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// On a port of a host.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// On a socket of this machine, by its absolute path.
    Unix(PathBuf),
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

/// How requests are divided between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// Whoever has the fewest under way.
    LeastConnections,
}

/// How servers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for; `None`: a connection is enough.
    pub path: Option<String>,
    /// The host that is asked for; `None`: the server's own.
    pub host: Option<String>,
    /// How often.
    pub interval: Duration,
    /// Longest that a check takes.
    pub timeout: Duration,
    /// The statuses that are good; `None`: 200 to 399.
    pub status: Option<Statuses>,
    /// So many bad checks in a row, and a server is down.
    pub unhealthy_after: u32,
    /// So many good ones, and it is up again.
    pub healthy_after: u32,
}

/// When a server that fails gets no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// So many failures in a row; 0: never.
    pub failures: u32,
    /// For how long.
    pub span: Duration,
}

// === impl ServerAddress ===

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
