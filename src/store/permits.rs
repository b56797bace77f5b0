//! The permits that this gateway holds: of each key of a `concurrency` policy, the ids of its
//! requests that are under way.
//!
//! They are the truth about this gateway. The shared store learns of them with each decision, and
//! from then on a keeper tells it what has changed and renews what is held. A permit is
//!
//! - *offered* by a request that is being decided: its [`Permit`] alone knows of it;
//! - *held* while the request is under way, until its [`Permit`] is dropped: whatever ends the
//!   request drops it;
//! - *freed* when it is given back and the shared store may still count it. The next request of
//!   that key takes it over, which saves telling; else the keeper tells;
//! - *leaving* while the keeper tells.
//!
//! What is freed or leaving goes with the next question about that key, so that nobody is refused
//! for what this gateway has given back and not yet told.
//!
//! Bounded by the requests under way, and 65,536 that are freed and not yet told.

mod changes;
mod permit;
mod roster;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limit::{Check, Key, Limit, Offer, PermitId, Policy};
use crate::store::script::PermitsOf;

use changes::Changes;
pub use permit::Permit;
use roster::Roster;

/// Permits that are freed and not yet told at most. Of what goes beyond, the shared store learns
/// when it ends by itself.
const FREED_MAX: usize = 65_536;
/// Permits in one telling at most: a call of half a millisecond.
const TOLD_MAX: usize = 256;
/// So many locks: what is under way at once rarely meets.
pub(super) const SHARDS: usize = 64;

/// The permits of this gateway.
#[derive(Debug)]
pub struct Permits {
    secret: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// Whether there is a shared store to be told.
    beside_shared: bool,
    freed: AtomicUsize,
    /// Whether something is to be told; cleared by whoever goes to tell it.
    changed: AtomicBool,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    rosters: HashMap<Key, Roster>,
    /// Keys with something to be told; each has a roster.
    changed: BTreeSet<Key>,
}

/// The shards of some checks, locked together.
pub(super) struct Locked<'a> {
    permits: &'a Permits,
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
}

// === impl Permits ===

impl Permits {
    /// No permits; they are told of only `beside_shared`.
    pub fn new(beside_shared: bool) -> Self {
        Self {
            secret: RandomState::new(),
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            beside_shared,
            freed: AtomicUsize::new(0),
            changed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Offers a permit for `check`, if it takes one: rather one that the shared store still counts
    /// than a new one. It is free again when what is returned is dropped.
    pub fn offer(self: &Arc<Self>, check: &mut Check) -> Option<Permit> {
        if !takes_permit(check) {
            return None;
        }
        let mut shard = self.shard(self.place_of(&check.key));
        let roster = shard.rosters.get_mut(&check.key);
        let (taken, freed) = roster.map_or_else(Default::default, Roster::take_over);
        drop(shard);
        if taken.is_some() {
            self.freed.fetch_sub(1, Ordering::Relaxed);
        }
        let id = taken.unwrap_or_else(|| PermitId::new(fastrand::u64(..)));
        check.offer = Some(Offer { id, freed });
        Some(Permit::offered(Arc::clone(self), check, id, taken.is_some()))
    }

    /// The next changes to be told, if there are any, of keys that can be told of at all. What was
    /// freed is leaving meanwhile.
    pub(super) fn changes(&self, can_be_told: impl Fn(&Key) -> bool) -> Changes<'_> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Changes::new(self, Vec::new());
        }
        let (mut changes, mut left) = (Vec::new(), TOLD_MAX);
        for shard in &self.shards {
            lock(shard).changes(&can_be_told, &mut changes, &mut left);
        }
        let freed = changes.iter().map(|of| of.freed.len()).sum();
        self.freed.fetch_sub(freed, Ordering::Relaxed);
        if left == 0 {
            self.wake();
        }
        Changes::new(self, changes)
    }

    /// The shared store has been told of a change.
    fn told(&self, PermitsOf { key, freed, .. }: &PermitsOf) {
        let mut shard = self.shard(self.place_of(key));
        if let Some(roster) = shard.rosters.get_mut(key) {
            roster.left(freed);
        }
        shard.tidy(key);
    }

    /// The shared store may or may not have been told of `changes`: they are to be told again.
    fn untold(&self, changes: &[PermitsOf]) {
        for PermitsOf { key, held, freed } in changes {
            let mut shard = self.shard(self.place_of(key));
            let Some(roster) = shard.rosters.get_mut(key) else { continue };
            let back = roster.stays(held, freed);
            self.freed.fetch_add(back, Ordering::Relaxed);
            shard.changed.insert(key.clone());
        }
        self.wake();
    }

    /// What is held in one of the [`SHARDS`] of the keys that are `wanted`, in batches, of which the
    /// shared store may know from now on. All of them are to be told before any later change.
    pub(super) fn held(&self, place: usize, wanted: impl Fn(&Key) -> bool) -> Vec<Vec<PermitsOf>> {
        let mut shard = self.shard(place);
        let (mut batches, mut batch, mut left) = (Vec::new(), Vec::new(), TOLD_MAX);
        for (key, roster) in shard.rosters.iter_mut().filter(|(key, _)| wanted(key)) {
            let mut held = roster.tell_held();
            while !held.is_empty() {
                let rest = held.split_off(held.len().min(left));
                left -= held.len();
                batch.push(PermitsOf { key: key.clone(), held, freed: Vec::new() });
                if left == 0 {
                    batches.push(std::mem::take(&mut batch));
                    left = TOLD_MAX;
                }
                held = rest;
            }
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }

    /// Returns when something is to be told.
    pub(super) async fn changed(&self) {
        while !self.changed.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }

    /// Whether the shared store has been told of everything that was given back.
    pub fn all_told(&self) -> bool {
        let is_left = |shard: &Mutex<Shard>| !lock(shard).rosters.values().any(Roster::is_leaving);
        !self.changed.load(Ordering::Acquire) && self.shards.iter().all(is_left)
    }

    /// Permits that are held, by the name of their policy.
    pub fn by_policy(&self) -> BTreeMap<String, usize> {
        let mut held = BTreeMap::new();
        for shard in &self.shards {
            for roster in lock(shard).rosters.values() {
                *held.entry(roster.policy().name.clone()).or_default() += roster.in_flight();
            }
        }
        held
    }

    /// Locks what says how many permits are held of the keys of `checks`.
    pub(super) fn lock(&self, checks: &[Check]) -> Locked<'_> {
        let those = checks.iter().filter(|check| takes_permit(check));
        let places: BTreeSet<usize> = those.map(|check| self.place_of(&check.key)).collect();
        // In one order, so that nobody waits for who waits.
        let shards = places.into_iter().map(|place| (place, self.shard(place)));
        Locked { permits: self, shards: shards.collect() }
    }

    /// The permit is held from now on, and the shared store has been `told` so.
    fn hold(
        &self,
        shard: &mut Shard,
        (key, policy): (&Key, &Arc<Policy>),
        id: PermitId,
        told: bool,
    ) {
        let roster = shard.rosters.entry(key.clone());
        roster.or_insert_with(|| Roster::new(policy)).hold(id, told || !self.beside_shared);
        if !told && self.beside_shared {
            shard.changed.insert(key.clone());
            self.wake();
        }
    }

    /// The permit is no longer held; the shared store `may_know` of it.
    fn free(&self, (key, policy): (&Key, &Arc<Policy>), id: PermitId, may_know: bool) {
        let mut shard = self.shard(self.place_of(key));
        let told = shard.rosters.get_mut(key).is_some_and(|roster| roster.let_go(id));
        let tell = self.beside_shared && (told || may_know);
        if tell && self.freed.load(Ordering::Relaxed) < FREED_MAX {
            self.freed.fetch_add(1, Ordering::Relaxed);
            let roster = shard.rosters.entry(key.clone());
            roster.or_insert_with(|| Roster::new(policy)).free(id);
            shard.changed.insert(key.clone());
            self.wake();
        }
        shard.tidy(key);
    }

    /// Something may be to be told, or somebody is there again to be told.
    pub(super) fn wake(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn place_of(&self, key: &Key) -> usize {
        (self.secret.hash_one(key) % SHARDS as u64) as usize
    }

    fn shard(&self, place: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[place])
    }
}

// === impl Shard ===

impl Shard {
    /// Adds at most `left` permits to what is to be told.
    fn changes(
        &mut self,
        can_be_told: impl Fn(&Key) -> bool,
        changes: &mut Vec<PermitsOf>,
        left: &mut usize,
    ) {
        let keys = self.changed.iter().filter(|key| can_be_told(key)).take(*left);
        for key in keys.cloned().collect::<Vec<_>>() {
            if *left == 0 {
                break;
            }
            self.changed.remove(&key);
            let Some(roster) = self.rosters.get_mut(&key) else { continue };
            let (held, freed) = roster.changes(*left);
            *left -= held.len() + freed.len();
            if roster.has_changes() {
                self.changed.insert(key.clone());
            }
            if held.len() + freed.len() > 0 {
                changes.push(PermitsOf { key, held, freed });
            }
        }
    }

    /// Forgets a key of which nothing is left.
    fn tidy(&mut self, key: &Key) {
        if self.rosters.get(key).is_some_and(Roster::is_empty) {
            self.rosters.remove(key);
            self.changed.remove(key);
        }
    }
}

// === impl Locked ===

impl Locked<'_> {
    /// Permits of the key of `check` that this gateway holds.
    pub(super) fn in_flight(&mut self, check: &Check) -> u64 {
        let roster = self.shard_of(check).and_then(|shard| shard.rosters.get(&check.key));
        roster.map_or(0, |roster| roster.in_flight() as u64)
    }

    /// The permit that `check` offers is held from now on; the shared store does not know.
    pub(super) fn hold(&mut self, check: &Check) {
        let permits = self.permits;
        if let (Some(offer), Some(shard)) = (&check.offer, self.shard_of(check)) {
            permits.hold(shard, (&check.key, &check.policy), offer.id, false);
        }
    }

    fn shard_of(&mut self, check: &Check) -> Option<&mut Shard> {
        let place = self.permits.place_of(&check.key);
        let mut shards = self.shards.iter_mut();
        shards.find(|(at, _)| *at == place).map(|(_, shard)| &mut **shard)
    }
}

fn takes_permit(check: &Check) -> bool {
    matches!(check.policy.limit, Limit::Concurrency(_))
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
