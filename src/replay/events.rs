//! What a policy was asked, kept small, so that other quotas can be tried on it.

use std::collections::HashSet;

use crate::limit::Timestamp;

use super::memory::KeyId;

/// Most checks of a policy that are kept, at 32 bytes each.
const EVENTS_MAX: usize = 2_000_000;
/// Most checks that are kept of all policies together.
const EVENTS_TOTAL_MAX: usize = 8_000_000;
/// Fewer keys are no sample: then the first checks are kept instead of some keys.
const KEYS_LEAST: usize = 100;

/// A check of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) key: KeyId,
    pub(super) at: Timestamp,
    /// What it takes before the request is forwarded.
    pub(super) taken: u64,
    /// What it costs in the end.
    pub(super) cost: u64,
}

/// The checks of a policy. When they get too many, the checks of half of the keys are dropped, whole
/// keys, picked by a hash: what is left are clients as they were, and not clients that asked less.
#[derive(Debug)]
pub(super) struct Recorder {
    events: Vec<Event>,
    events_max: usize,
    /// Of so many keys one is kept; a power of two.
    one_in: u32,
    /// Whether it was full and could not be thinned any more.
    full: bool,
}

/// The checks that are left, and of what they are a sample.
#[derive(Clone, Debug)]
pub(super) struct Events {
    /// In the order in which they happened.
    pub(super) all: Vec<Event>,
    /// Of so many keys one is in it.
    pub(super) one_in: u32,
    /// Whether it is only the beginning.
    pub(super) beginning: bool,
}

// === impl Recorder ===

impl Recorder {
    /// The recorder of one of so many policies.
    pub(super) fn one_of(policies: usize) -> Self {
        Self::of(EVENTS_MAX.min(EVENTS_TOTAL_MAX / policies.max(1)))
    }

    const fn of(events_max: usize) -> Self {
        Self { events: Vec::new(), events_max, one_in: 1, full: false }
    }

    /// Records a check.
    pub(super) fn record(&mut self, event: Event) {
        let Event { key, .. } = event;
        if self.full || !picked(key, self.one_in) {
            return;
        }
        if self.events.len() >= self.events_max {
            self.thin();
            if self.full || !picked(key, self.one_in) {
                return;
            }
        }
        self.events.push(event);
    }

    /// What has been recorded.
    pub(super) fn into_events(self) -> Events {
        Events { all: self.events, one_in: self.one_in, beginning: self.full }
    }

    fn thin(&mut self) {
        let one_in = self.one_in.saturating_mul(2);
        let left = self.events.iter().filter(|event| picked(event.key, one_in));
        let keys: HashSet<KeyId> = left.map(|event| event.key).collect();
        if keys.len() < KEYS_LEAST {
            self.full = true;
            return;
        }
        self.one_in = one_in;
        self.events.retain(|event| keys.contains(&event.key));
    }
}

/// Whether a key is one of those that are kept. Who is kept when fewer are is kept now.
const fn picked(key: KeyId, one_in: u32) -> bool {
    // The finalizer of MurmurHash3: keys have their numbers in the order in which they came.
    let mut hash = key;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    hash.is_multiple_of(one_in)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn record(events_max: usize, keys: u32, each: u64) -> Events {
        let mut recorder = Recorder::of(events_max);
        for number in 0..each {
            for key in 0..keys {
                let at = Timestamp::from_micros(number);
                recorder.record(Event { key, at, taken: 1, cost: 1 });
            }
        }
        recorder.into_events()
    }

    #[test]
    fn a_sample_is_of_whole_keys() {
        let sample = record(10_000, 5_000, 20);
        assert!((8..=32).contains(&sample.one_in) && !sample.beginning, "{}", sample.one_in);
        let mut counts = HashMap::new();
        for event in &sample.all {
            *counts.entry(event.key).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count == 20));
        let expected = 5_000 / sample.one_in as usize;
        assert!(
            (expected * 8 / 10..expected * 12 / 10).contains(&counts.len()),
            "{}",
            counts.len()
        );
    }

    #[test]
    fn few_keys_are_not_thinned_and_their_beginning_is_kept() {
        let sample = record(1_000, 2, 5_000);
        assert_eq!((sample.all.len(), sample.one_in, sample.beginning), (1_000, 1, true));
        assert_eq!(record(1_000, 2, 500).all.len(), 1_000);
        assert!(!record(1_000, 2, 500).beginning);
    }
}
