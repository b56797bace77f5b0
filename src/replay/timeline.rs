//! What a policy allowed and denied, by time, in a bounded number of spans.

use crate::limit::{Micros, Timestamp};

/// Most spans; there are at least half as many, once the log is longer than that many seconds.
const SPANS_MAX: usize = 240;

/// Spans of equal length, one after another. The length doubles when they get too many.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// When the first begins.
    pub(super) start: Timestamp,
    /// How long each is.
    pub(super) length: Micros,
    /// How many checks were allowed and denied in each.
    pub(super) spans: Vec<[u64; 2]>,
}

// === impl Timeline ===

impl Default for Timeline {
    fn default() -> Self {
        Self { start: Timestamp::EPOCH, length: Micros::SECOND, spans: Vec::new() }
    }
}

impl Timeline {
    /// Counts a check at `at`, which never goes back.
    pub(super) fn count(&mut self, at: Timestamp, allowed: bool) {
        if self.spans.is_empty() {
            let second = Micros::SECOND.get();
            self.start = Timestamp::from_micros(at.as_micros() / second * second);
        }
        let since = at.since(self.start).get();
        while since / self.length.get() >= SPANS_MAX as u64 {
            self.double();
        }
        let place = (since / self.length.get()) as usize;
        if place >= self.spans.len() {
            self.spans.resize(place + 1, [0, 0]);
        }
        self.spans[place][usize::from(!allowed)] += 1;
    }

    fn double(&mut self) {
        self.length = Micros::new(self.length.get() * 2);
        let pairs = self
            .spans
            .chunks(2)
            .map(|pair| pair.iter().fold([0, 0], |sum, span| [sum[0] + span[0], sum[1] + span[1]]));
        self.spans = pairs.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_the_spans_grow() {
        let mut timeline = Timeline::default();
        let start = 1_763_000_000_500_000;
        for second in 0..100_000_u64 {
            let at = Timestamp::from_micros(start + second * 1_000_000);
            timeline.count(at, second % 10 != 0);
        }
        assert_eq!(timeline.start.as_micros(), 1_763_000_000_000_000);
        assert!((SPANS_MAX / 2..=SPANS_MAX).contains(&timeline.spans.len()));
        let all = timeline.spans.iter().fold([0, 0], |s, n| [s[0] + n[0], s[1] + n[1]]);
        assert_eq!(all, [90_000, 10_000]);
        let first = timeline.spans[0];
        assert_eq!((first[0] + first[1]) * 1_000_000, timeline.length.get());
    }
}
