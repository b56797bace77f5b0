//! Something that is wrong all the time and is said once in a while.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limit::{Micros, Timestamp};

/// One line of the log in so long.
const EVERY: Micros = Micros::new(60_000_000);

/// When it was said last.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    said_us: AtomicU64,
}

// === impl Complaint ===

impl Complaint {
    /// Whether it is to be said at `now`: to one of those who ask at once.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let (said, order) = (self.said_us.load(Ordering::Relaxed), Ordering::Relaxed);
        let due = Timestamp::from_micros(said).after(EVERY) <= now;
        due && self.said_us.compare_exchange(said, now.as_micros(), order, order).is_ok()
    }
}
