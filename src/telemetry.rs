//! Logs: set up once, written as text or JSON to standard error, nothing secret in them.
//!
//! Whatever clients do, each kind of line comes ten times a second at most, and no byte of a
//! request acts in a terminal or begins a line of its own. Only access lines come as often as
//! requests do: who turns them on asks for that.

mod escape;
mod flood;
mod panics;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::limit::{Clock, Micros, Timestamp};
use escape::{Fields, Printable};
use flood::{Flood, Throttle};

/// The target of access lines.
const ACCESS: &str = "sluicegate::access";

/// What the logs of this process have not shown, and how often it has panicked.
#[derive(Debug, Default)]
pub struct Logs {
    flood: Flood,
    panics: AtomicU64,
    form: OnceLock<Form>,
}

/// How lines look, in one of two ways.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;
/// Below the filter, which therefore sees both.
type Written = Layered<reload::Layer<Lines, Registry>, Registry>;

/// What can be changed while lines are written.
struct Form {
    lines: reload::Handle<Lines, Registry>,
    filter: reload::Handle<EnvFilter, Written>,
    /// The way to make lines, where they go.
    make: Box<dyn Fn(bool) -> Lines + Send + Sync>,
}

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

/// Starts logging, by the time of `clock`; also of panics, which end the request they are in and no
/// other. Later calls change nothing.
pub fn start(level: Level, json: bool, clock: impl Clock + 'static) -> Arc<Logs> {
    let logs = Arc::new(Logs::default());
    // A logger that is already there is one of a test; it stays.
    let throttle = Throttle::new(Arc::clone(&logs), clock);
    if let Some(form) = subscribe(level, json, throttle, std::io::stderr) {
        let _ = logs.form.set(form);
        panics::note(Arc::clone(&logs));
    }
    logs
}

/// Whether the lines of this process go to `writer` from now on.
fn subscribe<W>(
    level: Level,
    json: bool,
    throttle: Throttle<impl Clock + 'static>,
    writer: W,
) -> Option<Form>
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let make = move |json| lines(json, writer.clone());
    let (now, lines) = reload::Layer::new(make(json));
    let (seen, filter) = reload::Layer::new(filter(level));
    tracing_subscriber::registry().with(now).with(seen).with(throttle).try_init().ok()?;
    Some(Form { lines, filter, make: Box::new(make) })
}

/// The level is that of our own words. Pingora reports what clients and servers do wrong at its own
/// levels; what matters of it is logged here, in our words and at our rate.
fn filter(level: Level) -> EnvFilter {
    let filter = format!("warn,sluicegate={level},pingora_core=error,pingora_proxy=off,h2=error");
    EnvFilter::new(filter)
}

fn lines<W>(json: bool, writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_target(false);
    if json {
        return lines.json().flatten_event(true).with_writer(Printable(writer)).boxed();
    }
    lines.fmt_fields(Fields).with_ansi(false).with_writer(writer).boxed()
}

/// Writes the access line of a request.
pub fn access(request: Access<'_>) {
    tracing::info!(
        target: ACCESS,
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

// === impl Logs ===

impl Logs {
    /// Lines that were held back so far, by their level.
    pub fn suppressed(&self) -> [(&'static str, u64); 5] {
        self.flood.suppressed()
    }

    /// From now on lines are written from `level` on and in this form.
    pub fn write(&self, level: Level, json: bool) {
        let Some(form) = self.form.get() else { return };
        // Either fails only where there is no logger any more.
        let _ = form.lines.reload((form.make)(json));
        let _ = form.filter.reload(filter(level));
    }

    /// Panics so far.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Says how many lines were held back since it was last said, if any were: one line, whatever
    /// was held back.
    pub fn tell_suppressed(&self) {
        if let Some(flood::HeldBack { lines, most }) = self.flood.take_held_back() {
            tracing::warn!(lines, most, "lines were held back: too many of a kind");
        }
    }
}

// === impl Form ===

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form")
    }
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
