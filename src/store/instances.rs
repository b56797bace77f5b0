//! How many gateways share the quotas: a pure state machine, handed the time.
//!
//! Each gateway beats in Redis, and counts those that do. While Redis is away the last count
//! stands. A larger count is believed at once, a smaller one only when it has held for a while:
//! when Redis has just come back, not every gateway has.

use crate::limit::{Micros, Timestamp};

/// A gateway that has not beaten for so long is gone. A smaller count is believed after as long.
pub const BEAT_LIFE: Micros = Micros::new(10_000_000);
/// Most gateways that are counted.
pub const INSTANCES_MAX: u64 = 1_000;

/// The count.
#[derive(Clone, Debug)]
pub struct Instances {
    count: u64,
    smaller_since: Option<Timestamp>,
}

// === impl Instances ===

impl Instances {
    /// Nobody has been counted: this gateway is alone for all it knows.
    pub const fn new() -> Self {
        Self { count: 1, smaller_since: None }
    }

    /// Gateways that share the quotas.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// So many gateways beat at `now`.
    pub fn counted(&mut self, count: u64, now: Timestamp) {
        let count = count.clamp(1, INSTANCES_MAX);
        let smaller = count < self.count;
        if !smaller || now.since(*self.smaller_since.get_or_insert(now)) >= BEAT_LIFE {
            *self = Self { count, smaller_since: None };
        }
    }

    /// The connection was lost: what is counted next is counted afresh.
    pub const fn disconnected(&mut self) {
        self.smaller_since = None;
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

    #[test]
    fn more_are_believed_at_once_and_fewer_after_a_while() {
        let mut instances = Instances::new();
        instances.counted(3, NOW);
        assert_eq!(instances.count(), 3);
        instances.counted(1, NOW);
        instances.counted(1, NOW.after(Micros::SECOND));
        assert_eq!(instances.count(), 3);
        instances.counted(1, NOW.after(BEAT_LIFE));
        assert_eq!(instances.count(), 1);
    }

    #[test]
    fn a_lost_connection_begins_the_wait_anew() {
        let mut instances = Instances::new();
        instances.counted(2, NOW);
        instances.counted(1, NOW);
        instances.disconnected();
        instances.counted(1, NOW.after(BEAT_LIFE));
        assert_eq!(instances.count(), 2, "the others have not come back yet");
        instances.counted(1, NOW.after(BEAT_LIFE).after(BEAT_LIFE));
        assert_eq!(instances.count(), 1);
    }

    #[test]
    fn a_count_is_bounded() {
        let mut instances = Instances::new();
        instances.counted(u64::MAX, NOW);
        assert_eq!(instances.count(), INSTANCES_MAX);
    }
}
