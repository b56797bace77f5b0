//! A panic ends the request it is in: it is counted and told in one line, and what the request held
//! comes back.
//!
//! Nothing in the binary panics when it is asked to, so this runs the parts that a request holds on
//! to (the limiter, its permits, the series) under a clock that panics, in a process of its own.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sluicegate::limit::{Check, Clock, Mode, SystemClock, Timestamp};
use sluicegate::limiter::Limiter;
use sluicegate::metrics::Metrics;
use sluicegate::store::local::LocalStore;
use sluicegate::telemetry;

use crate::support::policies::{check, concurrency, policy, sliding_window};

const REQUESTS: u64 = 400;
/// One request in so many panics, half of them before their decision and half after.
const PANICS_EVERY: u64 = 4;
const AT_ONCE: u64 = 1_000;
/// Set for the process of its own.
const ALONE: &str = "SLUICEGATE_TEST_PANICS";
/// Lines of a kind in any second.
const LINES_MAX: usize = 10;

/// A clock that panics when told to.
struct Faulty {
    clock: SystemClock,
    panics: AtomicU64,
}

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        let due = self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(due.is_err(), "the clock\u{1b}[2J\nhas stopped");
        self.clock.now()
    }
}

/// Run by the test below in a process of its own: it takes over what the whole process logs.
#[test]
#[ignore = "it is run in a process of its own"]
fn requests_that_panic() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let clock = Arc::new(Faulty { clock: SystemClock::start(), panics: AtomicU64::new(0) });
    let logs = telemetry::start(tracing::Level::INFO, true, clock.clock);
    let local = LocalStore::new(1 << 20, false);
    let limiter = Arc::new(Limiter::new(None, local, Shared(Arc::clone(&clock)), None));
    let metrics = Metrics::new().expect("the series");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let request = |number: u64| {
        let (limiter, clock) = (Arc::clone(&limiter), Arc::clone(&clock));
        let panics = number.is_multiple_of(PANICS_EVERY);
        async move {
            let mut checks = checks();
            let mut holding = limiter.offer(&mut checks);
            let before = panics && number.is_multiple_of(2 * PANICS_EVERY);
            clock.panics.fetch_add(u64::from(before), Ordering::SeqCst);
            let verdict = limiter.decide(&checks, None).await;
            holding.keep_charged(&verdict);
            assert!(before || !panics, "after its decision");
            verdict.denials().next().is_some()
        }
    };
    let outcomes = runtime.block_on(async {
        let mut outcomes = Vec::new();
        for number in 0..REQUESTS {
            outcomes.push(tokio::spawn(request(number)).await);
        }
        outcomes
    });
    let panicked = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
    assert_eq!(panicked, REQUESTS / PANICS_EVERY);
    let denied = outcomes.iter().flatten().filter(|denied| **denied).count();
    assert_eq!(denied, 0, "the others were served");
    assert_eq!(logs.panics(), panicked);
    let held: usize = limiter.permits_held().values().sum();
    assert_eq!(held, 0, "what a request holds ends with it");
    metrics.logged(&logs);
    let suppressed: u64 = logs.suppressed().into_iter().map(|(_, count)| count).sum();
    println!("{panicked} panics, {suppressed} held back");
}

/// The clock of all.
struct Shared(Arc<Faulty>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

fn checks() -> Vec<Check> {
    let quota = policy("quota", sliding_window(AT_ONCE, 3_600_000_000, 64), Mode::Enforce);
    let slots = policy("slots", concurrency(2), Mode::Enforce);
    [quota, slots].map(|policy| check("sg", "203.0.113.7", &policy, 1)).into()
}

#[test]
fn a_panic_is_counted_told_once_and_ends_its_request_alone() {
    let this = std::env::current_exe().expect("this binary");
    let run = |backtrace: &str| {
        let name = ["--exact", "panics::requests_that_panic", "--ignored", "--nocapture"];
        let run = Command::new(&this)
            .args(name)
            .env("RUST_BACKTRACE", backtrace)
            .env(ALONE, "1")
            .output();
        let run = run.expect("it runs");
        let [out, err] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(run.status.success(), "{out}\n{err}");
        assert!(out.contains("1 passed") && out.contains("100 panics"), "{out}");
        let lines: Vec<Value> =
            err.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert!(!lines.is_empty(), "it is told");
        lines
    };
    let lines = run("0");
    let line = &lines[0];
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["panic"], "the clock\u{1b}[2J\nhas stopped");
    assert!(line["at"].as_str().unwrap().starts_with("tests/it/panics.rs:"), "{line}");
    assert_eq!(line["backtrace"], Value::Null);
    let within = lines.iter().filter(|other| {
        other["timestamp"].as_str().unwrap()[..19] == line["timestamp"].as_str().unwrap()[..19]
    });
    assert!(within.count() <= LINES_MAX, "of one kind");
    assert!(run("1")[0]["backtrace"].as_str().unwrap().contains("panics"), "as asked for");
}
