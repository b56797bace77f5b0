//! Servers as the configuration lists them: each may stand for several, one for each address that
//! its name has at present.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::server::At;

/// Longest that a name holds up the others of its upstream.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are used at most.
const ADDRESSES_MAX: usize = 64;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address without brackets, and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// An entry of the configuration's list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) address: Address,
    pub(super) weight: u32,
    /// What the name stands for at present; empty until it is resolved. Unused for a Unix socket.
    resolved: ArcSwap<Vec<SocketAddr>>,
    /// The last look-up failed and was told of.
    unresolvable: AtomicBool,
}

// === impl Address ===

impl Address {
    /// The host, if there is one.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp(host, _) => Some(host),
            Self::Unix(_) => None,
        }
    }

    /// What to call it in `Host`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp(..) => self.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Whether it takes a look-up.
    pub(super) fn has_name(&self) -> bool {
        self.host().is_some_and(|host| host.parse::<IpAddr>().is_err())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Listed ===

impl Listed {
    pub(super) fn new(address: Address, weight: u32) -> Self {
        let known = match &address {
            Address::Tcp(host, port) => {
                host.parse().map(|ip| SocketAddr::new(ip, *port)).into_iter().collect()
            }
            Address::Unix(_) => Vec::new(),
        };
        let unresolvable = AtomicBool::new(false);
        Self { address, weight, resolved: ArcSwap::from_pointee(known), unresolvable }
    }

    pub(super) fn is_known(&self) -> bool {
        matches!(self.address, Address::Unix(_)) || !self.resolved.load().is_empty()
    }

    /// Where its servers are.
    pub(super) fn places(&self) -> Vec<At> {
        match &self.address {
            Address::Tcp(..) => self.resolved.load().iter().map(|at| At::Inet(*at)).collect(),
            Address::Unix(path) => vec![At::Unix(path.clone())],
        }
    }

    /// Takes over what another has resolved.
    pub(super) fn adopt(&self, known: &Self) {
        self.resolved.store(known.resolved.load_full());
    }

    /// Takes these addresses for what the name stands for. True if that is news.
    pub(super) fn found(&self, found: impl Iterator<Item = SocketAddr>) -> bool {
        let mut found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        found.sort_unstable();
        found.dedup();
        self.unresolvable.store(false, Ordering::Relaxed);
        let news = !found.is_empty() && **self.resolved.load() != found;
        if news {
            self.resolved.store(Arc::new(found));
        }
        news
    }

    /// Looks the name up; what is known stays if that fails, and the log says so once. True if the
    /// addresses are not those that were known.
    pub(super) async fn resolve(&self, upstream: &str) -> bool {
        let Address::Tcp(host, port) = &self.address else { return false };
        let found = timeout(LOOK_UP_TIMEOUT, lookup_host((host.as_str(), *port))).await;
        match found.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
            Ok(found) => return self.found(found),
            Err(error) if self.unresolvable.swap(true, Ordering::Relaxed) => {
                tracing::debug!(upstream, host, %error, "still cannot resolve the server's name");
            }
            Err(error) => {
                tracing::warn!(upstream, host, %error, "cannot resolve the server's name");
            }
        }
        false
    }
}
