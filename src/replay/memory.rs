//! The states of a replay: what the local store of one gateway that never forgets would hold.
//!
//! Keys have numbers, in the order in which they are met, so that whatever else is counted by key is
//! small. A state that says nothing any more is dropped once in a while; the key stays, for the
//! report.

use std::collections::HashMap;

use crate::limit::ban::Penalty;
use crate::limit::settlement::Adjustment;
use crate::limit::sliding_window::Log;
use crate::limit::{
    Ban, Check, Decision, Key, Limit, Micros, Standing, State, Timestamp, decision,
};

/// Most keys that are remembered: some 200 bytes each, and what their states take. Requests of more
/// keys are decided as if each were the first of its client, and counted.
pub(super) const KEYS_MAX: usize = 2_000_000;
/// Decided requests from one look for states that say nothing to the next.
const SWEEP_EVERY: u64 = 1 << 18;

/// The number of a key.
pub(super) type KeyId = u32;

/// All states.
#[derive(Debug)]
pub(super) struct Memory {
    ids: HashMap<Key, KeyId>,
    slots: Vec<Slot>,
    keys_max: usize,
    decided: u64,
    /// Checks of keys beyond the maximum.
    forgotten: u64,
}

/// A key, and what has been asked about it.
#[derive(Debug)]
pub(super) struct Slot {
    state: Option<State>,
    empty_at: Timestamp,
    /// What has been counted of its denials, if this is the key of a ban.
    count: Option<Box<Log>>,
    /// The place of its policy.
    pub(super) policy: usize,
    /// Whether this is the key of the ban that stands behind the policy.
    pub(super) is_of_ban: bool,
    /// Bans that began.
    pub(super) bans: u64,
    /// How often it was asked for.
    pub(super) checked: u64,
    /// How often it was denied.
    pub(super) denied: u64,
    /// The highest share of its limit that was used, in millionths.
    pub(super) used: u32,
}

/// What was decided of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided {
    /// The key; `None` if it is one too many.
    pub(super) key: Option<KeyId>,
    /// Whether there was room.
    pub(super) allowed: bool,
}

// === impl Memory ===

impl Memory {
    /// A memory of at most `keys_max` keys.
    pub(super) fn new(keys_max: usize) -> Self {
        Self { ids: HashMap::new(), slots: Vec::new(), keys_max, decided: 0, forgotten: 0 }
    }

    /// Decides all checks of one request at `now`, all or nothing, and settles at once what they
    /// have cost in the end. `now` never goes back.
    pub(super) fn decide(
        &mut self,
        checks: &[Check],
        costs: &[u64],
        now: Timestamp,
    ) -> Vec<Decided> {
        let keys: Vec<Option<KeyId>> = checks.iter().map(|check| self.id(check)).collect();
        let mut standings: Vec<Standing> = checks
            .iter()
            .zip(&keys)
            .map(|(check, key)| {
                let slot = key.and_then(|key| self.slots.get(key as usize));
                check.policy.limit.read(slot.and_then(|slot| slot.state.as_ref()), now)
            })
            .collect();
        let rooms = decision::rooms(checks, &standings);
        let decisions = decision::decide(checks, &mut standings, &rooms);
        let each = checks.iter().zip(costs).zip(&decisions).zip(&mut standings);
        for (((check, cost), decision), standing) in each {
            let Some(receipt) = decision.receipt else { continue };
            let adjustment = Adjustment::between(check.cost, *cost, receipt);
            if let Some(adjustment) = adjustment {
                standing.adjust(&adjustment);
            }
        }
        for ((key, standing), decision) in keys.iter().zip(&standings).zip(&decisions) {
            let slot = key.and_then(|key| self.slots.get_mut(key as usize));
            match slot {
                Some(slot) => slot.take(standing, *decision, now),
                None => self.forgotten += 1,
            }
        }
        self.penalize(checks, &keys, &decisions, now);
        self.sweep(now);
        let each = keys.into_iter().zip(decisions);
        each.map(|(key, decision)| Decided { key, allowed: decision.allowed }).collect()
    }

    /// All keys; the place of each is its number.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Checks of keys that were one too many.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Counts what policies deny where a ban stands behind them, as the gateway does
    /// (`limiter/penalties.rs`), but at once.
    fn penalize(
        &mut self,
        checks: &[Check],
        keys: &[Option<KeyId>],
        decisions: &[Decision],
        now: Timestamp,
    ) {
        let denied = |place: usize| checks[place].policy.enforced() && !decisions[place].allowed;
        for (place, check) in checks.iter().enumerate().skip(1) {
            let Limit::Ban(ban) = &check.policy.limit else { continue };
            let slot = keys[place].and_then(|key| self.slots.get_mut(key as usize));
            if let Some(slot) = slot.filter(|_| denied(place - 1) && !denied(place)) {
                slot.penalize(ban, now);
            }
        }
    }

    fn id(&mut self, check: &Check) -> Option<KeyId> {
        if let Some(id) = self.ids.get(&check.key) {
            return Some(*id);
        }
        if self.slots.len() >= self.keys_max {
            return None;
        }
        let id = KeyId::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            state: None,
            empty_at: Timestamp::EPOCH,
            count: None,
            policy: check.policy.id,
            is_of_ban: matches!(check.policy.limit, Limit::Ban(_)),
            bans: 0,
            checked: 0,
            denied: 0,
            used: 0,
        });
        self.ids.insert(check.key.clone(), id);
        Some(id)
    }

    fn sweep(&mut self, now: Timestamp) {
        self.decided += 1;
        if self.decided.is_multiple_of(SWEEP_EVERY) {
            for slot in self.slots.iter_mut().filter(|slot| slot.empty_at <= now) {
                (slot.state, slot.count) = (None, None);
            }
        }
    }
}

// === impl Slot ===

impl Slot {
    fn take(&mut self, standing: &Standing, decision: Decision, now: Timestamp) {
        if standing.must_be_stored() {
            self.state = Some(standing.state());
            self.empty_at = now.after(standing.empty_after());
        }
        self.checked += 1;
        self.denied += u64::from(!decision.allowed);
        self.used = self.used.max(standing.used_share() as u32);
    }

    /// Counts a denial against its key.
    fn penalize(&mut self, ban: &Ban, now: Timestamp) {
        let sentence = match &self.state {
            Some(State::Ban(sentence)) => Some(sentence),
            _ => None,
        };
        match ban.penalize(sentence, self.count.as_deref(), 1, now) {
            Penalty::Lasts => {}
            Penalty::Counted(log) => {
                self.count = Some(Box::new(log));
                // A denial counts until the end of its tick and a window.
                let window = ban.watch().quota().window().get();
                self.empty_at = self.empty_at.max(now.after(Micros::new(window * 2)));
            }
            Penalty::Begins(sentence) => {
                let standing = Limit::Ban(*ban).read(Some(&State::Ban(sentence)), now);
                self.state = Some(standing.state());
                self.empty_at = now.after(standing.empty_after());
                self.count = None;
                self.bans += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limit::token_bucket::TokenBucket;
    use crate::limit::{Limit, Micros, Mode, OnStoreError, Policy, Quota};

    fn check(subject: &str) -> Check {
        let quota = Quota::new(1, Micros::SECOND).unwrap();
        let policy = Arc::new(Policy {
            id: 0,
            generation: 0,
            variant: 0,
            name: "p".to_owned(),
            limit: Limit::TokenBucket(TokenBucket::new(quota, 1).unwrap()),
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        });
        Check::new(Arc::clone(&policy), Key::new("sg", subject, &policy), 1)
    }

    #[test]
    fn keys_beyond_the_maximum_are_counted_and_always_new() {
        let (mut memory, now) = (Memory::new(2), Timestamp::from_micros(1_000_000));
        let mut ask = |subject: &str| memory.decide(&[check(subject)], &[1], now)[0].allowed;
        assert!(ask("a") && ask("b") && !ask("a") && !ask("b"));
        assert!(ask("c") && ask("c"));
        assert_eq!((memory.forgotten(), memory.slots().len()), (2, 2));
        assert_eq!((memory.slots()[0].checked, memory.slots()[0].denied), (2, 1));
    }

    #[test]
    fn what_says_nothing_any_more_is_dropped_and_changes_nothing() {
        let (mut memory, start) = (Memory::new(10), Timestamp::from_micros(1_000_000));
        memory.decide(&[check("a")], &[1], start);
        memory.decided = SWEEP_EVERY - 1;
        assert!(!memory.decide(&[check("a")], &[1], start.after(Micros::new(999_999)))[0].allowed);
        assert!(memory.slots()[0].state.is_some(), "it still says something");
        memory.decided = SWEEP_EVERY - 1;
        memory.decide(&[check("b")], &[1], start.after(Micros::SECOND));
        assert!(memory.slots()[0].state.is_none());
        assert!(memory.decide(&[check("a")], &[1], start.after(Micros::SECOND))[0].allowed);
    }
}
