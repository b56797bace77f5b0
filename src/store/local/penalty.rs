//! Bans without a shared store: denials are counted and bans made here, by the same function as
//! `penalize.lua`.

use std::sync::Arc;

use super::LocalStore;
use crate::limit::ban::Penalty;
use crate::limit::{Check, Limit, Policy, Standing, State, Timestamp};
use crate::store::denials::Sum;
use crate::store::script::Penalized;

/// A ban holds for all gateways as it is, and denials are counted in full: nobody is banned for
/// fewer than said.
const WHOLE: u64 = 1;

// === impl LocalStore ===

impl LocalStore {
    /// Counts denials at `now`, each sum in one step. A shared store is told of the bans, and of
    /// what has been counted, when it is back.
    pub fn penalize(&self, sums: &[Sum], now: Timestamp) -> Penalized {
        let each = sums.iter().map(|sum| self.penalize_one(sum, now));
        let (standings, begun) = each.unzip();
        Penalized { now, standings, begun }
    }

    fn penalize_one(&self, sum: &Sum, now: Timestamp) -> (Standing, bool) {
        let ban = &sum.ban;
        let limit = ban.policy.limit;
        let Limit::Ban(terms) = limit else { return (limit.read(None, now), false) };
        let count = counted(sum, Limit::SlidingWindow(*terms.watch()));
        let places = [self.table.place(&ban.key), self.table.place(&count.key)];
        let mut locked = self.table.lock(&places);
        let [standing, tally] = [(places[0], ban), (places[1], &count)].map(|(place, check)| {
            let (slot, limit) = (locked.get(place), check.policy.limit);
            slot.map_or_else(|| limit.read(None, now), |slot| slot.standing(&limit, now))
        });
        let (State::Ban(sentence), State::SlidingWindow(log)) = (standing.state(), tally.state())
        else {
            return (standing, false);
        };
        match terms.penalize(Some(&sentence), Some(&log), sum.denials, now) {
            Penalty::Lasts => (standing, false),
            Penalty::Counted(log) => {
                let tally = count.policy.limit.read(Some(&State::SlidingWindow(log)), now);
                self.store(&mut locked, places[1], &count, &tally, now, WHOLE);
                (standing, false)
            }
            Penalty::Begins(sentence) => {
                let standing = limit.read(Some(&State::Ban(sentence)), now);
                locked.remove(places[1]);
                self.store(&mut locked, places[0], ban, &standing, now, WHOLE);
                (standing, true)
            }
        }
    }
}

/// Where denials are counted, as a check of its own.
fn counted(sum: &Sum, limit: Limit) -> Check {
    let policy = Arc::new(Policy { limit, ..Policy::clone(&sum.ban.policy) });
    Check::new(policy, sum.count_key(), 1)
}
