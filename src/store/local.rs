//! The local store: the same decisions from this process' memory.
//!
//! With `kind = "local"` it is the only store. Beside a shared store it is the fallback, and each
//! gateway takes its share of every quota: a unit counts as many times as there are gateways, so
//! that all shares together admit no more than the quota. It learns every state that the shared
//! store tells, so that a share is one of what is left and not a fresh quota; it keeps apart what
//! it charged itself, so that the shared store can be told of it when it is back.
//!
//! All shards of a request are locked in one order, then everything is read, decided and written:
//! all or nothing, as in the script.

mod penalty;
mod slot;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limit::settlement::Adjustment;
use crate::limit::{Check, Decision, Limit, Settlement, Standing, State, Timestamp, decision};
use crate::store::permits::Permits;
use crate::store::value::encode;

use slot::Slot;
pub use slot::{Known, What};
use table::{Locked, Place, Table};

/// Keys in a batch, a set's more or less: one call of restore.lua.
pub const ENOUGH: usize = 128;
/// Sets looked through for a batch: a fraction of a millisecond.
const LOOK_MAX: usize = 2_048;

/// The store.
#[derive(Debug)]
pub struct LocalStore {
    table: Table,
    beside_shared: bool,
    charges: AtomicU64,
    permits: Arc<Permits>,
}

/// Some of what the local store knows.
#[derive(Debug)]
pub struct Batch {
    /// The keys.
    pub known: Vec<Known>,
    /// Where to go on; `None`: that was all.
    pub next: Option<usize>,
}

// === impl LocalStore ===

impl LocalStore {
    /// A store that takes at most `memory` bytes. Only `beside_shared` does it remember what it
    /// takes to tell a shared store of its charges.
    pub fn new(memory: usize, beside_shared: bool) -> Self {
        Self {
            table: Table::new(memory),
            beside_shared,
            charges: AtomicU64::new(0),
            permits: Arc::new(Permits::new(beside_shared)),
        }
    }

    /// Decides all checks of one request at `now`, all or nothing, as one of `among` gateways that
    /// share the quotas.
    pub fn decide(&self, checks: &[Check], now: Timestamp, among: u64) -> Vec<Decision> {
        self.decide_by(checks, |_| now, among)
    }

    /// The same, each check by the clock of the server that its state comes from.
    pub fn decide_by(
        &self,
        checks: &[Check],
        clock: impl Fn(&Check) -> Timestamp,
        among: u64,
    ) -> Vec<Decision> {
        let places: Vec<Place> = checks.iter().map(|check| self.table.place(&check.key)).collect();
        let mut locked = self.table.lock(&places);
        let mut permits = self.permits.lock(checks);
        let (shares, mut standings): (Vec<u64>, Vec<Standing>) = checks
            .iter()
            .zip(&places)
            .map(|(check, place)| {
                let now = clock(check);
                if let Limit::Concurrency(limit) = check.policy.limit {
                    let in_flight = State::InFlight(permits.in_flight(check));
                    let share = Limit::Concurrency(limit.among(among));
                    return (among, share.read(Some(&in_flight), now));
                }
                let slot = locked.get(*place);
                let among = slot.as_ref().map_or(among, |slot| slot.among(among, now));
                let limit = check.policy.limit.among(among);
                (among, slot.map_or(limit.read(None, now), |slot| slot.standing(&limit, now)))
            })
            .unzip();
        let rooms = decision::rooms(checks, &standings);
        let decisions = decision::decide(checks, &mut standings, &rooms);
        for (check, _) in checks.iter().zip(&decisions).filter(|(_, d)| d.receipt.is_some()) {
            permits.hold(check);
        }
        for (((check, place), standing), among) in
            checks.iter().zip(places).zip(&standings).zip(shares)
        {
            if standing.must_be_stored() {
                self.store(&mut locked, place, check, standing, clock(check), among);
            }
        }
        decisions
    }

    /// Settles at `now`, as one of `among` gateways that share the quotas. What was charged
    /// otherwise than here is given back until the shared store speaks of the key again.
    pub fn settle(&self, settlement: &Settlement, now: Timestamp, among: u64) {
        let Some(adjustment) = settlement.adjustment() else { return };
        let check = &settlement.check;
        let place = self.table.place(&check.key);
        let mut locked = self.table.lock(&[place]);
        let slot = locked.get(place);
        let among = slot.as_ref().map_or(among, |slot| slot.among(among, now));
        let limit = check.policy.limit.among(among);
        let mut standing = slot.map_or(limit.read(None, now), |slot| slot.standing(&limit, now));
        standing.adjust(&adjustment);
        match adjustment {
            Adjustment::Charge(_) => self.store(&mut locked, place, check, &standing, now, among),
            Adjustment::Refund(..) => {
                let value = encode(&limit, &standing.state()).unwrap_or_default();
                locked.get(place).into_iter().for_each(|slot| slot.give_back(value.clone()));
            }
        }
    }

    /// Remembers what the shared store told at `now` of the keys of `checks`.
    pub fn learn(&self, checks: &[Check], standings: &[Standing], now: Timestamp) {
        for (check, standing) in checks.iter().zip(standings) {
            let place = self.table.place(&check.key);
            let mut locked = self.table.lock(&[place]);
            if let Some(slot) = locked.get(place) {
                slot.learn(&check.policy, standing, now);
                locked.make_room(place, now);
            } else if standing.says_anything()
                && let Some(value) = encode(&check.policy.limit, &standing.state())
            {
                locked.put(place, Slot::learned(place.fingerprint, check, value, now), now);
            }
        }
    }

    /// The keys that are asked for, from `from` on, as far as they are `wanted`: some [`ENOUGH`] of
    /// them, or fewer if looking for more would take long.
    pub fn known(
        &self,
        from: usize,
        what: What,
        now: Timestamp,
        wanted: impl Fn(&str) -> bool,
    ) -> Batch {
        let (mut known, end) = (Vec::new(), self.table.sets());
        for set in from..end.min(from.saturating_add(LOOK_MAX)) {
            self.table.visit(set, |slot| known.extend(slot.known(what, now, &wanted)));
            if known.len() >= ENOUGH && set + 1 < end {
                return Batch { known, next: Some(set + 1) };
            }
        }
        let next = from.saturating_add(LOOK_MAX);
        Batch { known, next: (next < end).then_some(next) }
    }

    /// The shared store was told of `known` at `now`, and holds `shared` since.
    pub fn confirm(&self, known: &Known, shared: Option<&State>, now: Timestamp) {
        let place = self.table.place_of(known.fingerprint);
        let mut locked = self.table.lock(&[place]);
        if let Some(slot) = locked.get(place) {
            slot.confirm(known, shared, now);
            locked.make_room(place, now);
        }
    }

    /// The permits that this gateway holds, whichever store has charged them.
    pub const fn permits(&self) -> &Arc<Permits> {
        &self.permits
    }

    /// How many charges have been made here beside a shared store: whoever has told of all of them
    /// need not look for more.
    pub fn charges(&self) -> u64 {
        self.charges.load(Ordering::Relaxed)
    }

    /// States held, for the operator; those that say nothing any more included.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn store(
        &self,
        locked: &mut Locked<'_>,
        place: Place,
        check: &Check,
        standing: &Standing,
        now: Timestamp,
        among: u64,
    ) {
        let Some(value) = encode(&check.policy.limit, &standing.state()) else { return };
        if self.beside_shared {
            self.charges.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(slot) = locked.get(place) {
            slot.charge(check, value, now, among);
            locked.make_room(place, now);
        } else {
            let fingerprint = place.fingerprint;
            let slot = Slot::charged(fingerprint, check, value, self.beside_shared, among);
            locked.put(place, slot, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_as_small_as_the_documentation_says() {
        assert_eq!(table::SLOT_BYTES, 512);
    }
}
