//! How the servers of the store hang together.

use super::Secret;

/// Which servers keep the counts, and who says where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server, that of the URL.
    Single,
    /// A master whose place the Sentinels know.
    Sentinel(Sentinel),
    /// Masters that share the keys.
    Cluster {
        /// More nodes to ask where the keys are, besides that of the URL; 0 to 64 hosts and ports.
        nodes: Vec<(String, u16)>,
    },
}

/// `[store.sentinel]`: who says where the master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinel {
    /// What they call the master: letters, digits, `.`, `-` and `_`.
    pub master: String,
    /// 1 to 16 hosts and ports; no port is 0.
    pub servers: Vec<(String, u16)>,
    /// Who the gateway is at the Sentinels; never without a password.
    pub username: Option<String>,
    /// What it says to prove it; never empty.
    pub password: Option<Secret>,
    /// Whether they are spoken to over TLS.
    pub tls: bool,
}
