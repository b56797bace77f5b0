//! What happened at an upstream since somebody last looked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::budget::Budget;

/// What is counted of an upstream, and goes on when the configuration is replaced.
#[derive(Debug, Default)]
pub(super) struct Tally {
    budget: Mutex<Budget>,
    pub(super) retries: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) good_checks: AtomicU64,
    pub(super) bad_checks: AtomicU64,
}

/// How an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Its servers: as many as there are addresses.
    pub servers: usize,
    /// Those that get requests.
    pub up: usize,
}

/// What happened since the last reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Attempts beyond the first.
    pub retries: u64,
    /// Servers that were ejected.
    pub ejections: u64,
    /// Checks that went well.
    pub good_checks: u64,
    /// Checks that did not.
    pub bad_checks: u64,
}

// === impl Tally ===

impl Tally {
    pub(super) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and forgets.
    pub(super) fn take(&self) -> Happened {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Happened {
            retries: take(&self.retries),
            ejections: take(&self.ejections),
            good_checks: take(&self.good_checks),
            bad_checks: take(&self.bad_checks),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
