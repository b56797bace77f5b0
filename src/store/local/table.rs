//! A table of fixed size for states, so that a spray of fresh keys costs no memory.
//!
//! Keys fall by a secret hash into sets of `WAYS` slots. A full set gives up the slot whose limit is
//! used least (the share of its quota, not its age): what that client gets back is the smallest gift
//! the set has to make, and because the hash is secret nobody can aim fresh keys at somebody's set.
//! A limited client is the last to go. Slots that say nothing any more go first. What a set's slots
//! hold on the heap is bounded in the same way.
//!
//! Not promised: keys are told apart by 64 bits of the hash, so two clients share a slot with a
//! chance of 2^-61 a lookup.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slot::Slot;
use crate::limit::{Key, Timestamp};

/// Slots in a set.
const WAYS: usize = 8;
/// Locks: enough that two cores rarely meet at one.
const SHARDS: usize = 64;
/// Bytes that a slot holds on the heap at most, on average over its set: a key and a log of a
/// whole window in 64 ticks, and a little more.
const HEAP_PER_SLOT: usize = 448;
/// Memory that a slot takes, all in all.
pub(super) const SLOT_BYTES: usize = size_of::<Option<Slot>>() + HEAP_PER_SLOT;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    secret: RandomState,
    shards: Vec<Mutex<Vec<Set>>>,
    sets_per_shard: usize,
}

type Set = [Option<Slot>; WAYS];

/// Where a key lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) fingerprint: u64,
    shard: usize,
    set: usize,
}

/// The locked shards of some places.
#[derive(Debug)]
pub(super) struct Locked<'a>(Vec<(usize, MutexGuard<'a, Vec<Set>>)>);

// === impl Table ===

impl Table {
    /// A table that takes at most `memory` bytes, and holds at least one set a lock.
    pub(super) fn new(memory: usize) -> Self {
        let sets_per_shard = (memory / (SLOT_BYTES * WAYS * SHARDS)).max(1);
        let shard = || {
            Mutex::new(
                std::iter::repeat_with(|| [const { None }; WAYS]).take(sets_per_shard).collect(),
            )
        };
        Self {
            secret: RandomState::new(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            sets_per_shard,
        }
    }

    pub(super) fn place(&self, key: &Key) -> Place {
        self.place_of(self.secret.hash_one(key.as_str()))
    }

    pub(super) const fn place_of(&self, fingerprint: u64) -> Place {
        Place {
            fingerprint,
            shard: (fingerprint % SHARDS as u64) as usize,
            set: (fingerprint / SHARDS as u64 % self.sets_per_shard as u64) as usize,
        }
    }

    /// Locks each shard of `places` once, lowest first, so that no two requests wait for each
    /// other.
    pub(super) fn lock(&self, places: &[Place]) -> Locked<'_> {
        let mut shards: Vec<usize> = places.iter().map(|place| place.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        Locked(shards.into_iter().map(|shard| (shard, lock(&self.shards[shard]))).collect())
    }

    /// Sets in the table: what [`Self::visit`] takes numbers below.
    pub(super) const fn sets(&self) -> usize {
        self.sets_per_shard * SHARDS
    }

    /// Shows the slots of the set of that number.
    pub(super) fn visit(&self, number: usize, see: impl FnMut(&Slot)) {
        let shard = lock(&self.shards[number / self.sets_per_shard]);
        shard[number % self.sets_per_shard].iter().flatten().for_each(see);
    }

    /// Slots in use, those that say nothing any more included.
    pub(super) fn len(&self) -> usize {
        let count = |shard: &Mutex<Vec<Set>>| -> usize {
            lock(shard).iter().map(|set| set.iter().flatten().count()).sum()
        };
        self.shards.iter().map(count).sum()
    }
}

// === impl Locked ===

impl Locked<'_> {
    pub(super) fn get(&mut self, place: Place) -> Option<&mut Slot> {
        let slots = self.set(place).iter_mut().flatten();
        slots.into_iter().find(|slot| slot.fingerprint == place.fingerprint)
    }

    /// Forgets the slot of that place.
    pub(super) fn remove(&mut self, place: Place) {
        for slot in self.set(place) {
            slot.take_if(|slot| slot.fingerprint == place.fingerprint);
        }
    }

    /// Stores `new` in its own slot, else in a free one, else in that of the least used limit; and
    /// makes room on the heap.
    pub(super) fn put(&mut self, place: Place, new: Slot, now: Timestamp) {
        let set = self.set(place);
        let cost_of_losing = |slot: &Option<Slot>| match slot {
            Some(slot) if slot.fingerprint == place.fingerprint => 0,
            None => 1,
            Some(slot) => 2 + slot.used_share(now),
        };
        if let Some(slot) = set.iter_mut().min_by_key(|slot| cost_of_losing(slot)) {
            *slot = Some(new);
        }
        self.make_room(place, now);
    }

    /// Gives up least used limits until the set of `place` holds no more than its part of the heap.
    pub(super) fn make_room(&mut self, place: Place, now: Timestamp) {
        let set = self.set(place);
        while set.iter().flatten().map(Slot::heap).sum::<usize>() > HEAP_PER_SLOT * WAYS {
            let others = set.iter_mut().filter(|slot| {
                slot.as_ref().is_some_and(|slot| slot.fingerprint != place.fingerprint)
            });
            let share = |slot: &Option<Slot>| slot.as_ref().map(|slot| slot.used_share(now));
            let Some(least) = others.min_by_key(|slot| share(slot)) else { break };
            *least = None;
        }
    }

    fn set(&mut self, place: Place) -> &mut Set {
        let at = self.0.partition_point(|(locked, _)| *locked < place.shard);
        &mut self.0[at].1[place.set]
    }
}

/// A panic while a shard was locked leaves whole slots behind, so its lock stays good.
fn lock(shard: &Mutex<Vec<Set>>) -> MutexGuard<'_, Vec<Set>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
