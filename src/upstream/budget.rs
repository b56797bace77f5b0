//! How many attempts beyond the first there may be: an outage is not to be multiplied by them.

use crate::limit::{Micros, Timestamp};

/// Of a hundred requests of the last while, so many may be tried again.
pub const RETRY_PERCENT: u64 = 20;
/// So many may in any case: where there are few requests, a share of them would be none.
pub const RETRY_FLOOR: u64 = 10;
/// How long requests count: so many slices of a second.
pub const RETRY_SLICES: usize = 10;

/// Requests and retries of the last while.
#[derive(Debug, Default)]
pub(super) struct Budget {
    slices: [Slice; RETRY_SLICES],
}

/// What came within a second.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    second: u64,
    requests: u64,
    retries: u64,
}

// === impl Budget ===

impl Budget {
    /// A request comes.
    pub(super) fn request(&mut self, now: Timestamp) {
        self.slice(now).requests += 1;
    }

    /// Whether a request may be tried once more; if so, that is counted. With so many `under_way` at
    /// the upstream: a server that dies fails all of its own at once, and each may be tried once more.
    pub(super) fn retry(&mut self, now: Timestamp, under_way: usize) -> bool {
        let second = second(now);
        let oldest = (second + 1).saturating_sub(RETRY_SLICES as u64);
        let recent = self.slices.iter().filter(|slice| slice.second >= oldest);
        let (requests, retries) = recent.fold((0, 0), |(requests, retries), slice| {
            (requests + slice.requests, retries + slice.retries)
        });
        let allowed = retries < RETRY_FLOOR + requests * RETRY_PERCENT / 100 + under_way as u64;
        self.slice(now).retries += u64::from(allowed);
        allowed
    }

    fn slice(&mut self, now: Timestamp) -> &mut Slice {
        let second = second(now);
        // The remainder is below the length.
        let slice = &mut self.slices[(second % RETRY_SLICES as u64) as usize];
        if slice.second != second {
            *slice = Slice { second, ..Slice::default() };
        }
        slice
    }
}

fn second(now: Timestamp) -> u64 {
    now.as_micros() / Micros::SECOND.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn granted(budget: &mut Budget, second: u64, asked: usize) -> usize {
        (0..asked).filter(|_| budget.retry(at(second), 0)).count()
    }

    #[test]
    fn what_a_server_fails_all_at_once_may_be_tried_again() {
        let mut budget = Budget::default();
        let granted = (0..1000).filter(|_| budget.retry(at(100), 90)).count();
        assert_eq!(granted, 100);
    }

    #[test]
    fn a_fifth_of_the_requests_and_a_few() {
        let mut budget = Budget::default();
        assert_eq!(granted(&mut budget, 100, 1000), 10);
        for _ in 0..100 {
            budget.request(at(101));
        }
        assert_eq!(granted(&mut budget, 102, 1000), 20);
        assert_eq!(granted(&mut budget, 109, 1000), 0, "these ten seconds have had theirs");
    }

    #[test]
    fn what_is_older_than_the_while_is_forgotten() {
        let mut budget = Budget::default();
        for _ in 0..1000 {
            budget.request(at(100));
        }
        assert_eq!(granted(&mut budget, 109, 1000), 210);
        assert_eq!(granted(&mut budget, 110, 1000), 0, "the requests are gone, the retries not");
        assert_eq!(granted(&mut budget, 119, 1000), 10);
        assert_eq!(granted(&mut budget, 5000, 1000), 10);
    }
}
