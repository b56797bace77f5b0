//! Denials that may bring a ban, summed here until they are counted: a client that hammers costs
//! the shared store nothing but one entry in one call a second.
//!
//! Bounded: when there are too many keys, those that were denied only once are given up first, and
//! if there are none a new key is not taken, until others have been told. Both are counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limit::{Check, Key};

/// Keys held at most: some megabytes.
const KEYS_MAX: usize = 16_384;
/// The letter of the keys under which denials are counted.
const COUNT_LETTER: char = 'd';

/// The denials since they were last taken.
#[derive(Debug, Default)]
pub struct Denials {
    sums: Mutex<HashMap<Key, Sum>>,
    dropped: AtomicU64,
}

/// The denials of one key.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The ban that they may bring.
    pub ban: Check,
    /// How many there were.
    pub denials: u64,
}

// === impl Denials ===

impl Denials {
    /// Notes a denial that may bring `ban`.
    pub fn note(&self, ban: &Check) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sum) = sums.get_mut(&ban.key) {
            sum.denials = sum.denials.saturating_add(1);
            return;
        }
        if sums.len() >= KEYS_MAX {
            sums.retain(|_, sum| sum.denials > 1);
            self.drop_some(KEYS_MAX - sums.len());
        }
        if sums.len() < KEYS_MAX {
            sums.insert(ban.key.clone(), Sum { ban: ban.clone(), denials: 1 });
        } else {
            self.drop_some(1);
        }
    }

    /// Takes the largest sums, of `most` keys. The others wait for the next time.
    pub fn take(&self, most: usize) -> Vec<Sum> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.len() <= most {
            return sums.drain().map(|(_, sum)| sum).collect();
        }
        let mut sizes: Vec<(u64, Key)> =
            sums.iter().map(|(key, sum)| (sum.denials, key.clone())).collect();
        sizes.select_nth_unstable_by(most, |(a, _), (b, _)| b.cmp(a));
        sizes.truncate(most);
        sizes.iter().filter_map(|(_, key)| sums.remove(key)).collect()
    }

    /// Denials that were never counted, for want of room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_some(&self, denials: usize) {
        self.dropped.fetch_add(denials as u64, Ordering::Relaxed);
    }
}

// === impl Sum ===

impl Sum {
    /// The key under which the denials are counted: that of the ban, but for the letter.
    pub(super) fn count_key(&self) -> Key {
        self.ban.key.with_letter(COUNT_LETTER)
    }

    /// The bans, as a store is asked about them.
    pub fn bans(sums: &[Self]) -> Vec<Check> {
        sums.iter().map(|sum| sum.ban.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limit::sliding_window::SlidingWindow;
    use crate::limit::{Ban, Limit, Micros, Mode, OnStoreError, Policy, Quota};

    fn ban(subject: &str) -> Check {
        let watch = SlidingWindow::new(Quota::new(10, Micros::SECOND).unwrap(), 64).unwrap();
        let policy = Arc::new(Policy {
            id: 0,
            generation: 0,
            variant: 0,
            name: "p".to_owned(),
            limit: Limit::Ban(Ban::new(watch, Micros::SECOND, Micros::SECOND)),
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        });
        let key = Key::new("sg", subject, &policy);
        Check::new(policy, key, 1)
    }

    #[test]
    fn denials_are_summed_and_the_largest_sums_go_first() {
        let denials = Denials::default();
        for (subject, times) in [("a", 1), ("b", 3), ("c", 2)] {
            (0..times).for_each(|_| denials.note(&ban(subject)));
        }
        let taken = |most| {
            let mut sums: Vec<u64> = denials.take(most).iter().map(|sum| sum.denials).collect();
            sums.sort_unstable();
            sums
        };
        assert_eq!([taken(2), taken(2), taken(2)], [vec![2, 3], vec![1], vec![]]);
        assert_eq!(denials.dropped(), 0);
    }

    #[test]
    fn a_spray_of_keys_is_bounded_and_pushes_out_nobody_who_hammers() {
        let denials = Denials::default();
        (0..3).for_each(|_| denials.note(&ban("hammering")));
        for number in 0..2 * KEYS_MAX {
            denials.note(&ban(&number.to_string()));
        }
        assert!(denials.sums.lock().unwrap().len() <= KEYS_MAX);
        let held = denials.sums.lock().unwrap().len() as u64 - 1;
        assert_eq!(denials.dropped(), 2 * KEYS_MAX as u64 - held, "what is gone is counted");
        assert!(denials.dropped() > 0);
        assert_eq!(denials.take(1)[0].denials, 3);
    }

    #[test]
    fn where_everybody_hammers_a_new_key_is_not_taken() {
        let denials = Denials::default();
        for number in 0..KEYS_MAX {
            let ban = ban(&number.to_string());
            (0..2).for_each(|_| denials.note(&ban));
        }
        denials.note(&ban("new"));
        assert_eq!(denials.dropped(), 1);
        assert_eq!(denials.take(usize::MAX).len(), KEYS_MAX);
    }
}
