//! Ten lines of a kind a second: what clients can cause, they can cause a million times.
//!
//! A kind is a place in the code: so its number is known when the program is built, and one kind
//! that floods leaves room for all others.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{ACCESS, Logs};
use crate::limit::{Clock, Micros, Timestamp};

/// Lines of one kind that pass in any second.
const LINES_MAX: usize = 10;
/// Kinds that are told apart. This program and the crates below it have fewer; if not, those that
/// come later count as one kind together.
const KINDS_MAX: usize = 256;
/// Characters of a kind's name that are kept: that of a file and a line has fewer.
const NAME_MAX: usize = 128;

/// The levels, as they are said.
const LEVELS: [(Level, &str); 5] = [
    (Level::ERROR, "error"),
    (Level::WARN, "warn"),
    (Level::INFO, "info"),
    (Level::DEBUG, "debug"),
    (Level::TRACE, "trace"),
];

/// Which lines pass.
#[derive(Debug, Default)]
pub(super) struct Flood {
    kinds: Mutex<HashMap<u64, Kind>>,
    /// Nobody can make two places in the code look the same.
    secret: RandomState,
    suppressed: [AtomicU64; LEVELS.len()],
}

/// The lines of one place in the code.
#[derive(Debug)]
struct Kind {
    name: String,
    /// When the last ones passed, in a ring.
    passed: [Timestamp; LINES_MAX],
    /// The place of the oldest.
    oldest: usize,
    held_back: u64,
}

/// What was held back for a while.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeldBack {
    pub(super) lines: u64,
    /// Where most of them would have come from.
    pub(super) most: String,
}

/// A place in the code. Records of `log` all come through one place of `tracing-log`, which brings
/// their own along as fields.
#[derive(Debug, Default)]
struct Place {
    module: String,
    line: u64,
}

/// Keeps what is too much of a kind from everything that writes lines.
pub(super) struct Throttle<C> {
    logs: Arc<Logs>,
    clock: C,
}

// === impl Flood ===

impl Flood {
    /// Whether a line from this place in the code passes at `now`.
    fn pass(&self, module: &str, line: u64, level: Level, now: Timestamp) -> bool {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = self.secret.hash_one((module, line));
        if !kinds.contains_key(&number) && kinds.len() >= KINDS_MAX {
            number = 0;
        }
        let kind = kinds.entry(number).or_insert_with(|| match number {
            0 => Kind::new("elsewhere"),
            _ => Kind::new(&format!("{module}:{line}")),
        });
        let passes = kind.pass(now);
        drop(kinds);
        if !passes {
            let at = LEVELS.iter().position(|(of, _)| *of == level).unwrap_or_default();
            self.suppressed[at].fetch_add(1, Ordering::Relaxed);
        }
        passes
    }

    /// Lines that were held back so far, by their level.
    pub(super) fn suppressed(&self) -> [(&'static str, u64); LEVELS.len()] {
        std::array::from_fn(|at| (LEVELS[at].1, self.suppressed[at].load(Ordering::Relaxed)))
    }

    /// What was held back since this was last asked.
    pub(super) fn take_held_back(&self) -> Option<HeldBack> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let most = kinds.values().max_by_key(|kind| kind.held_back)?.name.clone();
        let lines = kinds.values_mut().map(|kind| std::mem::take(&mut kind.held_back)).sum();
        (lines > 0).then_some(HeldBack { lines, most })
    }
}

// === impl Kind ===

impl Kind {
    fn new(name: &str) -> Self {
        let name = name.chars().take(NAME_MAX).collect();
        Self { name, passed: [Timestamp::EPOCH; LINES_MAX], oldest: 0, held_back: 0 }
    }

    /// Whether fewer than so many have passed in the second before `now`.
    fn pass(&mut self, now: Timestamp) -> bool {
        let passes = self.passed[self.oldest].after(Micros::SECOND) <= now;
        if passes {
            self.passed[self.oldest] = now;
            self.oldest = (self.oldest + 1) % LINES_MAX;
        } else {
            self.held_back = self.held_back.saturating_add(1);
        }
        passes
    }
}

// === impl Place ===

impl Place {
    fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut place = Self::default();
        if metadata.target() == "log" {
            event.record(&mut place);
        } else {
            metadata.target().clone_into(&mut place.module);
            place.line = metadata.line().map_or(0, u64::from);
        }
        place
    }
}

impl Visit for Place {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.line = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            value.clone_into(&mut self.module);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

// === impl Throttle ===

impl<C: Clock> Throttle<C> {
    /// Counts in `logs` what it keeps back.
    pub(super) const fn new(logs: Arc<Logs>, clock: C) -> Self {
        Self { logs, clock }
    }
}

impl<S: Subscriber, C: Clock + 'static> Layer<S> for Throttle<C> {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if event.metadata().target() == ACCESS {
            return true;
        }
        let Place { module, line } = Place::of(event);
        self.logs.flood.pass(&module, line, *event.metadata().level(), self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

    fn suppressed(flood: &Flood, level: &str) -> u64 {
        flood.suppressed().into_iter().find(|(name, _)| *name == level).unwrap().1
    }

    #[test]
    fn ten_of_a_kind_pass_in_any_second_and_the_others_are_counted() {
        let flood = Flood::default();
        let mut passed = Vec::new();
        for step in 0..300_u64 {
            let now = NOW.after(Micros::new(step * 10_000));
            if flood.pass("module", 7, Level::WARN, now) {
                passed.push(now);
            }
        }
        assert_eq!(passed.len(), 30, "three seconds");
        for some in passed.windows(LINES_MAX + 1) {
            assert!(some[LINES_MAX].since(some[0]) >= Micros::SECOND, "{some:?}");
        }
        assert_eq!((suppressed(&flood, "warn"), suppressed(&flood, "error")), (270, 0));
        let held_back = HeldBack { lines: 270, most: "module:7".to_owned() };
        assert_eq!(flood.take_held_back(), Some(held_back));
        assert_eq!(flood.take_held_back(), None, "it has been said");
    }

    #[test]
    fn a_flood_leaves_room_for_other_kinds() {
        let flood = Flood::default();
        let passed = (0..100).filter(|_| flood.pass("module", 7, Level::WARN, NOW)).count();
        assert_eq!(passed, LINES_MAX);
        assert!(flood.pass("module", 8, Level::ERROR, NOW), "another line");
        assert!(flood.pass("another", 7, Level::ERROR, NOW), "another module");
    }

    #[test]
    fn more_kinds_than_are_told_apart_share_one() {
        let flood = Flood::default();
        for line in 0..10_000 {
            flood.pass("module", line, Level::INFO, NOW);
        }
        let kinds = flood.kinds.lock().unwrap().len();
        assert_eq!(kinds, KINDS_MAX + 1, "the others are one");
        assert_eq!(suppressed(&flood, "info"), (10_000 - KINDS_MAX - LINES_MAX) as u64);
        assert_eq!(flood.take_held_back().unwrap().most, "elsewhere");
        assert_eq!(Kind::new(&"\u{e9}".repeat(1_000)).name.chars().count(), NAME_MAX);
    }
}
