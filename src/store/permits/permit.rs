//! The permit of one request.

use std::sync::Arc;

use super::Permits;
use crate::limit::{Check, Key, PermitId, Policy};

/// A permit, offered or held for as long as this lives. However the request ends, dropping this
/// gives the permit back.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    key: Key,
    policy: Arc<Policy>,
    id: PermitId,
    taken_over: bool,
    /// Whether the shared store may count it.
    may_know: bool,
}

// === impl Permit ===

impl Permit {
    pub(super) fn offered(
        permits: Arc<Permits>,
        check: &Check,
        id: PermitId,
        taken_over: bool,
    ) -> Self {
        let (key, policy) = (check.key.clone(), Arc::clone(&check.policy));
        // Whoever gives up half way does not know whether the question has been sent.
        Self { permits, key, policy, id, taken_over, may_know: true }
    }

    /// The shared store has charged it: it is held.
    pub fn charged(&mut self) {
        let mut shard = self.permits.shard(self.permits.place_of(&self.key));
        self.permits.hold(&mut shard, (&self.key, &self.policy), self.id, true);
    }

    /// The shared store has not charged it, or was not asked: it knows no more than before.
    pub const fn not_charged(&mut self) {
        self.may_know = self.taken_over;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.free((&self.key, &self.policy), self.id, self.may_know);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FREED_MAX, SHARDS, TOLD_MAX};
    use super::*;
    use crate::limit::{Concurrency, Limit, Mode, OnStoreError};

    fn check(subject: &str) -> Check {
        let policy = Arc::new(Policy {
            id: 0,
            generation: 0,
            variant: 0,
            name: "p".to_owned(),
            limit: Limit::Concurrency(Concurrency::new(3).unwrap()),
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        });
        let key = Key::new("sg", subject, &policy);
        Check::new(policy, key, 1)
    }

    /// A permit that the shared store has charged.
    fn charged(permits: &Arc<Permits>, subject: &str) -> Permit {
        let mut permit = permits.offer(&mut check(subject)).unwrap();
        permit.charged();
        permit
    }

    fn held(permits: &Permits) -> usize {
        permits.by_policy().values().sum()
    }

    fn keys(permits: &Permits) -> usize {
        permits.shards.iter().map(|shard| shard.lock().unwrap().rosters.len()).sum()
    }

    fn tell_all(permits: &Permits) {
        let mut changes = permits.changes(|_| true);
        let places: Vec<usize> = (0..changes.len()).collect();
        changes.told(&places);
    }

    #[test]
    fn what_is_given_back_is_told_and_then_forgotten() {
        let permits = Arc::new(Permits::new(true));
        let (first, second) = (charged(&permits, "a"), charged(&permits, "a"));
        assert!(permits.changes(|_| true).is_empty(), "the shared store has charged them");
        drop(first);
        let mut changes = permits.changes(|_| true);
        assert_eq!((changes[0].held.len(), changes[0].freed.len(), held(&permits)), (0, 1, 1));
        assert!(!permits.all_told());
        changes.told(&[0]);
        drop(changes);
        assert!(permits.all_told() && permits.changes(|_| true).is_empty());
        drop(second);
        tell_all(&permits);
        assert_eq!(keys(&permits), 0, "nothing is left of the key");
    }

    #[test]
    fn the_next_request_takes_over_and_leaves_out_what_is_on_its_way() {
        let permits = Arc::new(Permits::new(true));
        drop((charged(&permits, "a"), charged(&permits, "a")));
        let (mut next, mut other) = (check("a"), check("b"));
        let taking = permits.offer(&mut next).unwrap();
        let offer = next.offer.unwrap();
        assert!(taking.taken_over && offer.freed.len() == 2 && offer.freed.contains(&offer.id));
        let _unknown = permits.offer(&mut other).unwrap();
        assert!(other.offer.unwrap().freed.is_empty(), "another key");
        let leaving = permits.changes(|_| true);
        assert_eq!(leaving[0].freed.len(), 1, "what was taken over is not told");
        let mut third = check("a");
        let new = permits.offer(&mut third).unwrap();
        assert!(!new.taken_over && third.offer.unwrap().freed == leaving[0].freed);
    }

    #[test]
    fn only_what_the_shared_store_may_know_of_is_told() {
        let permits = Arc::new(Permits::new(true));
        let mut denied = permits.offer(&mut check("a")).unwrap();
        denied.not_charged();
        drop(denied);
        assert!(permits.changes(|_| true).is_empty() && keys(&permits) == 0);
        // Nobody has seen the answer.
        drop(permits.offer(&mut check("a")).unwrap());
        assert_eq!(permits.changes(|_| true)[0].freed.len(), 1);
        let alone = Arc::new(Permits::new(false));
        drop(charged(&alone, "a"));
        assert!(
            alone.changes(|_| true).is_empty() && keys(&alone) == 0,
            "there is nobody to be told"
        );
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let permits = Arc::new(Permits::new(true));
        drop(charged(&permits, "a"));
        drop(permits.changes(|_| true));
        let mut again = permits.changes(|_| true);
        assert_eq!(again[0].freed.len(), 1);
        again.told(&[0]);
        drop(again);
        assert!(permits.changes(|_| true).is_empty());
    }

    #[test]
    fn what_cannot_be_told_yet_keeps_nobody_else_waiting() {
        let permits = Arc::new(Permits::new(true));
        (0..=TOLD_MAX).for_each(|_| drop(charged(&permits, "a")));
        drop((charged(&permits, "b"), charged(&permits, "c")));
        let away = |key: &Key| *key != check("a").key;
        let mut changes = permits.changes(away);
        assert_eq!(changes.len(), 2);
        changes.told(&[1]);
        drop(changes);
        assert_eq!(permits.changes(away).len(), 1, "the other is to be told again");
        assert!(permits.held(0, |_| false).is_empty());
        permits.wake();
        assert!(!permits.changes(|_| true).is_empty(), "it is back");
    }

    #[test]
    fn what_is_taken_without_the_shared_store_is_told() {
        let permits = Arc::new(Permits::new(true));
        let mut alone = [check("a")];
        let mut permit = permits.offer(&mut alone[0]).unwrap();
        let mut locked = permits.lock(&alone);
        locked.hold(&alone[0]);
        assert_eq!(locked.in_flight(&alone[0]), 1);
        drop(locked);
        permit.not_charged();
        tell_all(&permits);
        drop(permit);
        assert_eq!(permits.changes(|_| true)[0].freed.len(), 1, "since then it may know of it");
    }

    #[test]
    fn every_permit_is_renewed_in_batches() {
        let permits = Arc::new(Permits::new(true));
        let count = TOLD_MAX + 10;
        let all: Vec<Permit> = (0..count).map(|_| charged(&permits, "a")).collect();
        let batches: Vec<_> = (0..SHARDS).flat_map(|place| permits.held(place, |_| true)).collect();
        let sizes = batches.iter().map(|batch| batch.iter().map(|of| of.held.len()).sum());
        assert_eq!(sizes.collect::<Vec<usize>>(), [TOLD_MAX, 10]);
        drop(all);
        let told = std::iter::from_fn(|| Some(permits.changes(|_| true)).filter(|c| !c.is_empty()));
        let told = told.map(|mut changes| {
            let freed: usize = changes.iter().map(|of| of.freed.len()).sum();
            changes.told(&[0]);
            freed
        });
        assert_eq!(told.sum::<usize>(), count);
    }

    #[test]
    fn what_nobody_can_be_told_of_is_bounded() {
        let permits = Arc::new(Permits::new(true));
        for number in 0..FREED_MAX + 100 {
            drop(charged(&permits, &number.to_string()));
        }
        assert_eq!(keys(&permits), FREED_MAX);
        assert_eq!(held(&permits), 0);
    }
}
