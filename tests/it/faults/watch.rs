//! Follows what each gateway says of Redis in its readiness report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use reqwest::blocking::Response;

use crate::support::gateway::Gateway;

const EVERY: Duration = Duration::from_millis(10);

/// Threads that ask; ended when dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What was seen of a gateway: every change, and the latest look.
struct Seen {
    changes: Vec<(Instant, bool)>,
    /// When the latest report was asked for.
    asked: Instant,
}

// === impl Watch ===

impl Watch {
    pub(super) fn start(gateways: &[Gateway]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut seen, mut threads) = (Vec::new(), Vec::new());
        for gateway in gateways {
            let (client, url) = (gateway.client().clone(), gateway.admin_url("/readyz"));
            let now = Instant::now();
            let mine = Arc::new(Mutex::new(Seen { changes: Vec::new(), asked: now }));
            seen.push(Arc::clone(&mine));
            let stop = Arc::clone(&stop);
            threads.push(spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = client.get(&url).send().and_then(Response::text);
                    let text = answer.expect("the admin listener answers");
                    lock(&mine).note(asked, text.contains("\"state\":\"up\""));
                    sleep(EVERY);
                }
            }));
        }
        Self { stop, seen, threads }
    }

    /// When each gateway first said after `from` that Redis is away; `None` if one never did.
    pub(super) fn all_away_since(&self, from: Instant) -> Option<Instant> {
        self.each(|seen| seen.first(from, false))
    }

    /// When all gateways had said after `from` that Redis decides. One that says so already says
    /// it again.
    pub(super) fn all_up_since(&self, from: Instant) -> Option<Instant> {
        self.each(|seen| seen.is_up_since(from))
    }

    /// Whether a gateway said within this time that Redis decides.
    pub(super) fn any_up_within(&self, from: Instant, to: Instant) -> bool {
        let within = |(at, up): &(Instant, bool)| *up && *at > from && *at < to;
        self.seen.iter().any(|seen| lock(seen).changes.iter().any(within))
    }

    /// The latest of what `find` gives for each gateway, if it does for all.
    fn each(&self, find: impl Fn(&Seen) -> Option<Instant>) -> Option<Instant> {
        let all: Option<Vec<Instant>> = self.seen.iter().map(|seen| find(&lock(seen))).collect();
        all?.into_iter().max()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

// === impl Seen ===

impl Seen {
    fn note(&mut self, asked: Instant, up: bool) {
        self.asked = asked;
        if self.changes.last().is_none_or(|(_, before)| *before != up) {
            self.changes.push((Instant::now(), up));
        }
    }

    fn first(&self, from: Instant, wanted: bool) -> Option<Instant> {
        let mut later = self.changes.iter().filter(|(at, up)| *at > from && *up == wanted);
        later.next().map(|(at, _)| *at)
    }

    /// Since when it has been up, `from` at the earliest; only a look after `from` counts.
    fn is_up_since(&self, from: Instant) -> Option<Instant> {
        let (at, up) = self.changes.last()?;
        (*up && self.asked > from).then_some((*at).max(from))
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
