//! One server: an address that requests go to, and what is known of it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pingora_core::upstreams::peer::HttpPeer;

use super::address::Address;
use super::ejection::Ejection;
use super::health::Health;
use super::tls::Tls;

/// A server as one configuration knows it.
#[derive(Debug)]
pub struct Server {
    /// What the configuration calls it.
    pub(super) address: Address,
    /// Where it is.
    pub(super) at: At,
    /// Its share of the requests, beside the others'.
    pub(super) weight: u32,
    /// The same in all configurations that know it.
    pub(super) condition: Arc<Condition>,
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// What is known of a server, whichever configuration is in force.
#[derive(Debug, Default)]
pub(super) struct Condition {
    under_way: AtomicUsize,
    /// A check is under way.
    checking: AtomicBool,
    found: Mutex<Found>,
}

/// What checks and requests have found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) health: Health,
    pub(super) ejection: Ejection,
}

/// A request under way at a server: counted for as long as this lives, however the request ends.
#[derive(Debug)]
pub struct Lease {
    server: Arc<Server>,
}

/// A check under way: one at a time for each server.
#[derive(Debug)]
pub(super) struct Checking(Arc<Server>);

// === impl Server ===

impl Server {
    /// The way to it; `None` if there is no name to verify, or its path is no text.
    pub(super) fn peer(&self, tls: Option<&Tls>) -> Option<Box<HttpPeer>> {
        // Without a name nothing would be verified, and then rather nobody is asked.
        let name = match tls {
            Some(tls) => tls.name(self.address.host()).filter(|name| !name.is_empty())?.to_owned(),
            None => String::new(),
        };
        Some(Box::new(match &self.at {
            At::Inet(address) => HttpPeer::new(*address, tls.is_some(), name),
            // The path comes from TOML, so it is text.
            At::Unix(path) => HttpPeer::new_uds(path.to_str()?, tls.is_some(), name).ok()?,
        }))
    }

    /// Whether both are one and the same, be it in different configurations.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.condition, &other.condition)
    }

    /// Requests under way at it.
    pub(super) fn under_way(&self) -> usize {
        self.condition.under_way.load(Ordering::Relaxed)
    }

    /// What was found of it.
    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.condition.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request as under way, unless there are `most` already (0: no bound).
    pub(super) fn lease(self: &Arc<Self>, most: usize) -> Option<Lease> {
        let more = |count: usize| (most == 0 || count < most).then_some(count + 1);
        let under_way = &self.condition.under_way;
        under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Lease { server: Arc::clone(self) })
    }

    /// Begins a check, unless there is one.
    pub(super) fn begin_check(self: &Arc<Self>) -> Option<Checking> {
        let begun = !self.condition.checking.swap(true, Ordering::Relaxed);
        begun.then(|| Checking(Arc::clone(self)))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match &self.at {
            At::Inet(at) if self.address.has_name() => write!(f, " ({at})"),
            _ => Ok(()),
        }
    }
}

// === impl Lease ===

impl Lease {
    /// Where the request is.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.condition.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Checking ===

impl Checking {
    pub(super) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.condition.checking.store(false, Ordering::Relaxed);
    }
}
