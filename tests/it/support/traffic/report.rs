//! What came of the traffic: answers by their status, and every failure with its words.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Kind, LONGEST};

/// Failures of a kind that are kept with their words; the others are only counted.
const FAILURES_KEPT: usize = 200;
/// Failures that a panic shows.
const FAILURES_SHOWN: usize = 20;

/// What the gateway did instead of giving a whole, right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// No connection could be made.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer did.
    Ended,
    /// Nothing came for a long time.
    TimedOut,
    /// It is not what was ordered.
    Wrong,
    /// An answer, but no good one.
    Status(u16),
    Other,
}

/// A request, or a message of a WebSocket, that got no whole, right answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// Which of the clients of this kind.
    pub(crate) client: usize,
    pub(crate) at: Instant,
    /// The same since the traffic began.
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
    pub(crate) words: String,
}

/// What came of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Whole answers by their status; of web sockets the messages that came back, as 101.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Connections that were made.
    pub(crate) connections: u64,
    /// Connections that the gateway ended while nothing was under way on them: no failure.
    pub(crate) ended_idle: u64,
    /// How many failures there were. Not all of them are kept.
    pub(crate) failed: u64,
    pub(crate) failures: Vec<Failure>,
}

/// What came of all traffic.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    outcomes: BTreeMap<Kind, Outcome>,
    lasted: Duration,
}

/// Where the clients note what they see.
#[derive(Debug)]
pub(crate) struct Notes {
    begun: Instant,
    stopping: AtomicBool,
    outcomes: Mutex<BTreeMap<Kind, Outcome>>,
    /// Whatever shows that a kind gets on: answers, messages, parts of bodies.
    steps: BTreeMap<Kind, AtomicU64>,
}

/// The notes of one client.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) notes: Arc<Notes>,
    pub(crate) kind: Kind,
    pub(crate) client: usize,
}

// === impl Fault ===

impl Fault {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Self::Reset,
            ErrorKind::UnexpectedEof => Self::Ended,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::InvalidData => Self::Wrong,
            _ => Self::Other,
        }
    }
}

// === impl Notes ===

impl Notes {
    pub(crate) fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        let steps: BTreeMap<Kind, AtomicU64> =
            kinds.map(|kind| (kind, AtomicU64::new(0))).collect();
        let outcomes = steps.keys().map(|kind| (*kind, Outcome::default())).collect();
        let (begun, stopping) = (Instant::now(), AtomicBool::new(false));
        Self { begun, stopping, outcomes: Mutex::new(outcomes), steps }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether no client begins anything any more.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed) || self.begun.elapsed() > LONGEST
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.steps.iter().map(|(kind, steps)| (*kind, steps.load(Ordering::Relaxed)))
    }

    pub(crate) fn report(&self) -> Report {
        Report { outcomes: self.outcomes().clone(), lasted: self.begun.elapsed() }
    }

    fn outcomes(&self) -> MutexGuard<'_, BTreeMap<Kind, Outcome>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reporter ===

impl Reporter {
    pub(crate) fn stopping(&self) -> bool {
        self.notes.stopping()
    }

    /// A seed that no other order has.
    pub(crate) fn seed(&self, number: u64) -> u64 {
        (self.kind as u64) << 56 | (self.client as u64) << 40 | number
    }

    pub(crate) fn step(&self) {
        self.notes.steps[&self.kind].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.outcome(|outcome| outcome.connections += 1);
    }

    pub(crate) fn ended_idle(&self) {
        self.outcome(|outcome| outcome.ended_idle += 1);
    }

    /// Notes what came of a request.
    pub(crate) fn note(&self, result: io::Result<u16>) {
        match result {
            Ok(status) if status < 500 => {
                self.step();
                self.outcome(|outcome| *outcome.answers.entry(status).or_default() += 1);
            }
            Ok(status) => self.fail(Fault::Status(status), format!("answered {status}")),
            Err(error) => self.fail(Fault::of(&error), error.to_string()),
        }
    }

    fn fail(&self, fault: Fault, words: String) {
        let (at, after) = (Instant::now(), self.notes.begun.elapsed());
        let failure = Failure { kind: self.kind, client: self.client, at, after, fault, words };
        self.outcome(|outcome| {
            outcome.failed += 1;
            if outcome.failures.len() < FAILURES_KEPT {
                outcome.failures.push(failure);
            }
        });
    }

    fn outcome(&self, change: impl FnOnce(&mut Outcome)) {
        change(self.notes.outcomes().entry(self.kind).or_default());
    }
}

// === impl Report ===

impl Report {
    /// What came of that kind.
    pub(crate) fn of(&self, kind: Kind) -> &Outcome {
        &self.outcomes[&kind]
    }

    /// All failures that were kept, of all kinds.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.outcomes.values().flat_map(|outcome| &outcome.failures)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.outcomes.values().map(|outcome| outcome.failed).sum()
    }

    /// Whole answers of that kind with that status.
    pub(crate) fn answered(&self, kind: Kind, status: u16) -> u64 {
        self.of(kind).answers.get(&status).copied().unwrap_or_default()
    }

    /// Each kind was answered, and nothing failed. What was denied was answered too.
    pub(crate) fn assert_unbroken(&self) {
        assert_eq!(self.failed(), 0, "{self}");
        let silent = self.outcomes.iter().find(|(_, outcome)| outcome.answers.is_empty());
        assert!(silent.is_none(), "nothing came back of {silent:?}");
    }

    /// The same, and each answer is the application's own.
    pub(crate) fn assert_clean(&self) {
        self.assert_unbroken();
        let statuses = self.outcomes.values().flat_map(|outcome| outcome.answers.keys());
        let others: Vec<&u16> = statuses.filter(|status| ![101, 200].contains(*status)).collect();
        assert!(others.is_empty(), "answered by another than the application: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} failures in {:?}", self.failed(), self.lasted)?;
        for (kind, outcome) in &self.outcomes {
            let Outcome { answers, connections, ended_idle, failed, .. } = outcome;
            writeln!(
                f,
                "{kind:?}: answers {answers:?}, {failed} failures, {connections} connections, \
                 {ended_idle} ended idle"
            )?;
        }
        for failure in self.failures().take(FAILURES_SHOWN) {
            let Failure { kind, client, after, fault, words, .. } = failure;
            writeln!(f, "{after:?} {kind:?} {client}: {fault:?}: {words}")?;
        }
        Ok(())
    }
}
