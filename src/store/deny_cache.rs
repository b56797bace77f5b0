//! The memory of denials: a client that keeps hammering is refused without asking Redis.
//!
//! Exact, not approximate: while a denial lasts, nothing but a refund, a reset or a changed policy
//! could turn it (states only fill up), and a denial writes nothing, so leaving the call out
//! changes no state. An entry speaks for one key, cost and policy generation, and is asked for at
//! most `deny_cache` long even if the denial lasts longer.
//!
//! When an entry has ended, one request goes to Redis and the others of that key wait for its
//! answer, so that the end of a long denial is not a stampede.
//!
//! Bounded: a full shard first drops what has ended; if nothing has, it remembers nothing new,
//! which is always correct.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::limit::{Check, Decision, Key, Micros, Retry, Timestamp};

/// Denials remembered at most, over all shards.
const ENTRIES_MAX: usize = 65_536;
const SHARDS: usize = 64;

/// The cache.
#[derive(Debug)]
pub struct DenyCache {
    secret: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Microseconds that a denial is remembered at most; a reload may change it.
    remembered_us: AtomicU64,
}

type Shard = HashMap<Name, Entry>;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    /// A secret hash over the key: 64 bits that nobody can aim at.
    key: u64,
    cost: u64,
    variant: usize,
}

#[derive(Debug)]
enum Entry {
    Denied { generation: u64, decision: Decision, at: Timestamp, until: Timestamp },
    Asked(Arc<Semaphore>),
}

/// What the cache knows of a check.
#[derive(Debug)]
pub enum Known<'a> {
    /// Nothing.
    Nothing,
    /// It is denied.
    Denied(Decision),
    /// A denial has ended; whoever gets this asks Redis.
    Ended(Turn<'a>),
    /// Somebody is asking Redis.
    Asked(Arc<Semaphore>),
}

/// The right and duty to ask Redis about a key whose denial has ended. The others wait until it is
/// dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    cache: &'a DenyCache,
    name: Name,
    answered: Arc<Semaphore>,
}

// === impl DenyCache ===

impl DenyCache {
    /// A cache that remembers a denial for at most `remembered`; zero: not at all.
    pub fn new(remembered: Micros) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { secret: RandomState::new(), shards, remembered_us: AtomicU64::new(remembered.get()) }
    }

    /// From now on a denial is remembered for at most this, also one that already is.
    pub fn set_remembered(&self, remembered: Micros) {
        self.remembered_us.store(remembered.get(), Ordering::Relaxed);
    }

    fn remembered(&self) -> Micros {
        Micros::new(self.remembered_us.load(Ordering::Relaxed))
    }

    /// What is known of `check` at `now`. A denial that has ended is given to the first who meets
    /// it, as the turn to ask about it.
    pub fn know(&self, check: &Check, now: Timestamp) -> Known<'_> {
        let longest = self.remembered();
        if longest == Micros::ZERO {
            return Known::Nothing;
        }
        let name = self.name(check);
        let mut shard = self.shard(name.key);
        let Some(entry) = shard.get_mut(&name) else { return Known::Nothing };
        match entry {
            Entry::Asked(answered) => Known::Asked(Arc::clone(answered)),
            Entry::Denied { generation, .. } if *generation != check.policy.generation => {
                Known::Nothing
            }
            Entry::Denied { until, decision, at, .. }
                if *until > now && now.since(*at) < longest =>
            {
                Known::Denied(decision.later(now.since(*at)))
            }
            Entry::Denied { .. } => {
                let answered = Arc::new(Semaphore::new(0));
                *entry = Entry::Asked(Arc::clone(&answered));
                drop(shard);
                Known::Ended(Turn { cache: self, name, answered })
            }
        }
    }

    /// The denial of `check` that is remembered at `now`, without taking the turn to ask about one
    /// that has ended.
    pub fn denial(&self, check: &Check, now: Timestamp) -> Option<Decision> {
        let name = self.name(check);
        match self.shard(name.key).get(&name)? {
            Entry::Denied { generation, decision, at, until }
                if *generation == check.policy.generation
                    && *until > now
                    && now.since(*at) < self.remembered() =>
            {
                Some(decision.later(now.since(*at)))
            }
            Entry::Denied { .. } | Entry::Asked(_) => None,
        }
    }

    /// Remembers that the shared store denied `check` when asked at `at`.
    pub fn remember(&self, check: &Check, decision: Decision, at: Timestamp) {
        let lasts = match decision.retry {
            Retry::Now => return,
            Retry::After(wait) => wait.min(self.remembered()),
            Retry::Never => self.remembered(),
        };
        if lasts == Micros::ZERO {
            return;
        }
        let name = self.name(check);
        let mut shard = self.shard(name.key);
        if shard.len() >= ENTRIES_MAX / SHARDS {
            shard.retain(|_, entry| entry.lasts(at));
        }
        if shard.len() < ENTRIES_MAX / SHARDS {
            let generation = check.policy.generation;
            shard.insert(name, Entry::Denied { generation, decision, at, until: at.after(lasts) });
        }
    }

    /// Forgets the denials of a key: units have been given back.
    pub fn forget(&self, key: &Key) {
        let key = self.secret.hash_one(key);
        self.shard(key).retain(|name, entry| name.key != key || matches!(entry, Entry::Asked(_)));
    }

    fn name(&self, check: &Check) -> Name {
        let key = self.secret.hash_one(&check.key);
        Name { key, cost: check.cost, variant: check.policy.variant }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        let at = (key % SHARDS as u64) as usize;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn lasts(&self, now: Timestamp) -> bool {
        match self {
            Self::Denied { until, .. } => *until > now,
            Self::Asked(_) => true,
        }
    }
}

// === impl Turn ===

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut shard = self.cache.shard(self.name.key);
        if matches!(shard.get(&self.name), Some(Entry::Asked(asked)) if Arc::ptr_eq(asked, &self.answered))
        {
            shard.remove(&self.name);
        }
        drop(shard);
        self.answered.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::sliding_window::SlidingWindow;
    use crate::limit::{Limit, Mode, OnStoreError, Policy, Quota};

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);
    const HOUR: Micros = Micros::new(3_600_000_000);

    fn check(subject: &str, cost: u64, generation: u64) -> Check {
        let limit = SlidingWindow::new(Quota::new(10, HOUR).unwrap(), 64).unwrap();
        let policy = Arc::new(Policy {
            id: 0,
            generation,
            variant: 0,
            name: "p".to_owned(),
            limit: Limit::SlidingWindow(limit),
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        });
        let key = Key::new("sg", subject, &policy);
        Check::new(policy, key, cost)
    }

    fn denial(wait: Micros) -> Decision {
        Decision { retry: Retry::After(wait), reset_after: wait, ..Decision::without_state(false) }
    }

    fn denied(known: &Known<'_>) -> Option<Retry> {
        match known {
            Known::Denied(decision) => Some(decision.retry),
            _ => None,
        }
    }

    #[test]
    fn a_denial_is_known_for_its_key_cost_and_generation() {
        let cache = DenyCache::new(Micros::SECOND);
        cache.remember(&check("a", 2, 0), denial(HOUR), NOW);
        let half = NOW.after(Micros::new(500_000));
        let left = Retry::After(Micros::new(HOUR.get() - 500_000));
        assert_eq!(denied(&cache.know(&check("a", 2, 0), half)), Some(left), "the true wait");
        for other in [check("b", 2, 0), check("a", 1, 0), check("a", 3, 0), check("a", 2, 1)] {
            assert!(matches!(cache.know(&other, half), Known::Nothing), "{other:?}");
        }
    }

    #[test]
    fn it_ends_with_the_denial_or_the_cap_and_is_never_kept_when_off() {
        let cache = DenyCache::new(Micros::SECOND);
        cache.remember(&check("short", 1, 0), denial(Micros::new(1_000)), NOW);
        cache.remember(&check("long", 1, 0), denial(HOUR), NOW);
        let later = NOW.after(Micros::new(1_000));
        assert!(matches!(cache.know(&check("short", 1, 0), later), Known::Ended(_)));
        assert!(denied(&cache.know(&check("long", 1, 0), later)).is_some());
        assert!(matches!(
            cache.know(&check("long", 1, 0), NOW.after(Micros::SECOND)),
            Known::Ended(_)
        ));
        let off = DenyCache::new(Micros::ZERO);
        off.remember(&check("long", 1, 0), denial(HOUR), NOW);
        assert!(matches!(off.know(&check("long", 1, 0), NOW), Known::Nothing));
    }

    #[test]
    fn one_asks_when_a_denial_has_ended_and_the_others_wait() {
        let cache = DenyCache::new(Micros::SECOND);
        let check = check("a", 1, 0);
        cache.remember(&check, denial(HOUR), NOW);
        let ended = NOW.after(Micros::SECOND);
        let Known::Ended(turn) = cache.know(&check, ended) else {
            panic!("the first has the turn")
        };
        let Known::Asked(answer) = cache.know(&check, ended) else { panic!("the second waits") };
        cache.remember(&check, denial(HOUR), ended);
        drop(turn);
        assert!(answer.is_closed(), "who waits is told");
        assert!(denied(&cache.know(&check, ended)).is_some());
        let ended = ended.after(Micros::SECOND);
        let Known::Ended(turn) = cache.know(&check, ended) else { panic!("it ends again") };
        drop(turn);
        assert!(
            matches!(cache.know(&check, ended), Known::Nothing),
            "allowed: nothing to remember"
        );
    }

    #[test]
    fn a_flood_of_keys_is_bounded() {
        let cache = DenyCache::new(Micros::SECOND);
        for number in 0..2 * ENTRIES_MAX {
            cache.remember(&check(&number.to_string(), 1, 0), denial(HOUR), NOW);
        }
        let held: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(held <= ENTRIES_MAX && held > ENTRIES_MAX / 2, "{held}");
    }
}
