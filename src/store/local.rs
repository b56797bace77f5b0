//! The local store: the same decisions from this process' memory.
//!
//! A fixed table, so that a spray of fresh keys costs no memory: keys fall by a secret hash into
//! sets of `WAYS` slots. A full set gives up the slot whose limit is used least (the share of
//! its quota, not its age): what that client gets back is the smallest gift the set has to make,
//! and because the hash is secret nobody can aim fresh keys at somebody's set. A limited client is
//! the last to go. Slots that say nothing any more go first.
//!
//! Sets are guarded in shards. All shards of a request are locked in one order, then everything is
//! read, decided and written: all or nothing, as in the script.
//!
//! Not promised: keys are told apart by 64 bits of the hash, so two clients share a slot with a
//! chance of 2^-61 a lookup.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limit::{Check, Decision, Limit, Standing, State, Timestamp, decision};

/// Slots in a set.
const WAYS: usize = 8;
/// Locks: enough that two cores rarely meet at one.
const SHARDS: usize = 64;

/// The table.
#[derive(Debug)]
pub struct LocalStore {
    secret: RandomState,
    shards: Vec<Mutex<Vec<Set>>>,
    sets_per_shard: u64,
}

type Set = [Option<Slot>; WAYS];

#[derive(Clone, Debug)]
struct Slot {
    fingerprint: u64,
    limit: Limit,
    state: State,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug)]
struct Place {
    fingerprint: u64,
    shard: usize,
    set: usize,
}

// === impl LocalStore ===

impl LocalStore {
    /// A table for at least `entries` states.
    pub fn new(entries: usize) -> Self {
        let sets_per_shard = entries.div_ceil(WAYS * SHARDS).max(1);
        let shard = || Mutex::new(vec![const { [const { None }; WAYS] }; sets_per_shard]);
        Self {
            secret: RandomState::new(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            sets_per_shard: sets_per_shard as u64,
        }
    }

    /// Decides all checks of one request at `now`, all or nothing.
    pub fn decide(&self, checks: &[Check], now: Timestamp) -> Vec<Decision> {
        let places: Vec<Place> = checks.iter().map(|check| self.place(check)).collect();
        let mut guards = self.lock(&places);
        let mut standings: Vec<Standing> = checks
            .iter()
            .zip(&places)
            .map(|(check, place)| {
                let set = &guard_of(&mut guards, place.shard)[place.set];
                check.policy.limit.read(find(set, place.fingerprint), now)
            })
            .collect();
        let rooms = decision::rooms(checks, &standings);
        let decisions = decision::settle(checks, &mut standings, &rooms);
        for ((check, place), standing) in checks.iter().zip(&places).zip(&standings) {
            if standing.must_be_stored() {
                let limit = check.policy.limit;
                let slot = Slot { fingerprint: place.fingerprint, limit, state: standing.state() };
                put(&mut guard_of(&mut guards, place.shard)[place.set], slot, now);
            }
        }
        decisions
    }

    /// States held, for the operator; those that say nothing any more included.
    pub fn len(&self) -> usize {
        let count = |shard: &Mutex<Vec<Set>>| -> usize {
            lock(shard).iter().map(|set| set.iter().flatten().count()).sum()
        };
        self.shards.iter().map(count).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn place(&self, check: &Check) -> Place {
        let fingerprint = self.secret.hash_one(check.key.as_str());
        Place {
            fingerprint,
            shard: (fingerprint % SHARDS as u64) as usize,
            set: (fingerprint / SHARDS as u64 % self.sets_per_shard) as usize,
        }
    }

    /// Locks each shard of `places` once, lowest first, so that no two requests wait for each
    /// other.
    fn lock(&self, places: &[Place]) -> Vec<(usize, MutexGuard<'_, Vec<Set>>)> {
        let mut shards: Vec<usize> = places.iter().map(|place| place.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.into_iter().map(|shard| (shard, lock(&self.shards[shard]))).collect()
    }
}

/// A panic while a shard was locked leaves whole slots behind, so its lock stays good.
fn lock(shard: &Mutex<Vec<Set>>) -> MutexGuard<'_, Vec<Set>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guard_of<'a>(
    guards: &'a mut [(usize, MutexGuard<'_, Vec<Set>>)],
    shard: usize,
) -> &'a mut Vec<Set> {
    let at = guards.partition_point(|(locked, _)| *locked < shard);
    &mut guards[at].1
}

fn find(set: &Set, fingerprint: u64) -> Option<&State> {
    set.iter().flatten().find(|slot| slot.fingerprint == fingerprint).map(|slot| &slot.state)
}

/// Stores `new` in its own slot, else in a free one, else in that of the least used limit.
fn put(set: &mut Set, new: Slot, now: Timestamp) {
    let cost_of_losing = |slot: &Option<Slot>| match slot {
        Some(slot) if slot.fingerprint == new.fingerprint => 0,
        None => 1,
        Some(slot) => 2 + slot.limit.read(Some(&slot.state), now).used_share(),
    };
    if let Some(slot) = set.iter_mut().min_by_key(|slot| cost_of_losing(slot)) {
        *slot = Some(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_as_small_as_the_documentation_says() {
        assert!(size_of::<Option<Slot>>() <= 112, "{}", size_of::<Option<Slot>>());
    }
}
