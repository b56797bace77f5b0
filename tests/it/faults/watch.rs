//! Follows what each gateway says of the store in its readiness report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use reqwest::blocking::Response;
use serde_json::Value;

use crate::support::gateway::Gateway;

const EVERY: Duration = Duration::from_millis(10);

/// What a gateway says of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Some of its servers are away.
    Partly,
    Away,
}

/// Threads that ask; ended when dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Seen>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What was seen of a gateway: every change, and the latest look.
struct Seen {
    changes: Vec<(Instant, State)>,
    /// When the latest report was asked for.
    asked: Instant,
}

// === impl State ===

impl State {
    fn read(report: &str) -> Self {
        let report: Value = serde_json::from_str(report).expect("JSON");
        match report["store"]["state"].as_str() {
            Some("up") => Self::Up,
            Some("partly") => Self::Partly,
            Some("away") => Self::Away,
            other => panic!("the store is {other:?}: {report}"),
        }
    }
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
                    lock(&mine).note(asked, State::read(&text));
                    sleep(EVERY);
                }
            }));
        }
        Self { stop, seen, threads }
    }

    /// When each gateway first said after `from` that not all of the store is there; `None` if one
    /// never did.
    pub(super) fn all_noticed_since(&self, from: Instant) -> Option<Instant> {
        self.each(|seen| seen.first(from, |state| state != State::Up))
    }

    /// The same, that nothing of it is there.
    pub(super) fn all_away_since(&self, from: Instant) -> Option<Instant> {
        self.each(|seen| seen.first(from, |state| state == State::Away))
    }

    /// When all gateways had said after `from` that the store decides. One that says so already says
    /// it again.
    pub(super) fn all_up_since(&self, from: Instant) -> Option<Instant> {
        self.each(|seen| seen.is_up_since(from))
    }

    /// Whether a gateway came to this state within this time.
    pub(super) fn is_any(&self, state: State, from: Instant, to: Instant) -> bool {
        self.any_within(from, to, |own| own == state)
    }

    /// Whether a gateway came to another state within this time.
    pub(super) fn is_any_but(&self, state: State, from: Instant, to: Instant) -> bool {
        self.any_within(from, to, |own| own != state)
    }

    fn any_within(&self, from: Instant, to: Instant, wanted: impl Fn(State) -> bool) -> bool {
        let within = |(at, own): &(Instant, State)| wanted(*own) && *at > from && *at < to;
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
    fn note(&mut self, asked: Instant, state: State) {
        self.asked = asked;
        if self.changes.last().is_none_or(|(_, before)| *before != state) {
            self.changes.push((Instant::now(), state));
        }
    }

    fn first(&self, from: Instant, wanted: impl Fn(State) -> bool) -> Option<Instant> {
        let mut later = self.changes.iter().filter(|(at, state)| *at > from && wanted(*state));
        later.next().map(|(at, _)| *at)
    }

    /// Since when it has been up, `from` at the earliest; only a look after `from` counts.
    fn is_up_since(&self, from: Instant) -> Option<Instant> {
        let (at, state) = self.changes.last()?;
        (*state == State::Up && self.asked > from).then_some((*at).max(from))
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
