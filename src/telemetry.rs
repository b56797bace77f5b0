//! Logs: set up once, written as text or JSON to standard error, nothing secret in them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::EnvFilter;

use crate::limit::{Micros, Timestamp};

/// One finished request, for the access log. The path comes without its query, which may hold
/// secrets; headers and cookies never come at all.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// The pattern of the route.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// From head to end.
    pub took: Duration,
    /// The request's id.
    pub request_id: &'a str,
    /// The policies that denied it.
    pub denied_by: &'a str,
}

/// Lets one message through a second, so that a flood of failures is not a flood of logs.
#[derive(Debug, Default)]
pub struct Gate {
    opened_us: AtomicU64,
    held_back: AtomicU64,
}

/// Starts logging. Later calls change nothing.
pub fn start(level: Level, json: bool) {
    // The level is that of our own words. Pingora reports what clients and servers do wrong at its
    // own levels; what matters of it is logged here, in our words and at our rate.
    let filter = format!("warn,sluicegate={level},pingora_core=error,pingora_proxy=off,h2=error");
    let filter = EnvFilter::new(filter);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    // A logger that is already there is one of a test; it stays.
    let _ = if json {
        logs.json().flatten_event(true).try_init()
    } else {
        logs.with_ansi(false).try_init()
    };
}

/// Writes the access line of a request.
pub fn access(request: Access<'_>) {
    tracing::info!(
        client = request.client.map(tracing::field::display),
        method = request.method,
        path = request.path.escape_debug().to_string(),
        route = request.route,
        status = request.status,
        took_ms = request.took.as_micros() as f64 / 1e3,
        request_id = request.request_id,
        denied_by = request.denied_by,
        "request"
    );
}

// === impl Gate ===

impl Gate {
    /// A gate that nothing has passed.
    pub const fn new() -> Self {
        Self { opened_us: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether a message may pass at `now`; if so, how many were held back since the last.
    pub fn pass(&self, now: Timestamp) -> Option<u64> {
        let opened = self.opened_us.load(Ordering::Relaxed);
        let due = Timestamp::from_micros(opened).after(Micros::SECOND) <= now;
        let swap =
            |to| self.opened_us.compare_exchange(opened, to, Ordering::Relaxed, Ordering::Relaxed);
        if due && swap(now.as_micros()).is_ok() {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_a_second_passes_and_the_others_are_counted() {
        let gate = Gate::new();
        let now = Timestamp::from_micros(1_763_000_000_000_000);
        assert_eq!(gate.pass(now), Some(0));
        assert_eq!(gate.pass(now), None);
        assert_eq!(gate.pass(now.after(Micros::new(999_999))), None);
        assert_eq!(gate.pass(now.after(Micros::SECOND)), Some(2));
    }
}
