//! The permits of one key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::limit::{PermitId, Policy};

/// Freed permits that go with a question at most: they make the call longer. With more, a request
/// may be refused for what has been given back a moment before.
const FREED_TOLD_MAX: usize = 128;

/// The permits of one key. Each is in one of the sets, but for those that are only offered.
#[derive(Debug)]
pub(super) struct Roster {
    policy: Arc<Policy>,
    /// Each with whether the shared store may know of it.
    held: BTreeMap<PermitId, bool>,
    /// Those held of which it has to be told: the others it knows.
    untold: BTreeSet<PermitId>,
    freed: BTreeSet<PermitId>,
    leaving: BTreeSet<PermitId>,
}

// === impl Roster ===

impl Roster {
    pub(super) fn new(policy: &Arc<Policy>) -> Self {
        Self {
            policy: Arc::clone(policy),
            held: BTreeMap::new(),
            untold: BTreeSet::new(),
            freed: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    pub(super) const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn in_flight(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.freed.is_empty() && self.leaving.is_empty()
    }

    pub(super) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// A freed permit, if there is one, for the next request; and what does not count for it, that
    /// permit included.
    pub(super) fn take_over(&mut self) -> (Option<PermitId>, Vec<PermitId>) {
        let taken = self.freed.pop_first();
        let others = taken.iter().chain(&self.leaving).chain(&self.freed);
        (taken, others.take(FREED_TOLD_MAX).copied().collect())
    }

    pub(super) fn hold(&mut self, id: PermitId, told: bool) {
        let known = self.held.entry(id).or_default();
        *known |= told;
        if !*known {
            self.untold.insert(id);
        }
    }

    /// No longer holds `id`; true if the shared store may know of it.
    pub(super) fn let_go(&mut self, id: PermitId) -> bool {
        self.untold.remove(&id);
        self.held.remove(&id).unwrap_or(false)
    }

    pub(super) fn free(&mut self, id: PermitId) {
        self.freed.insert(id);
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.untold.is_empty() || !self.freed.is_empty()
    }

    /// At most `most` permits that are to be told: held ones, and freed ones, which are leaving from
    /// now on.
    pub(super) fn changes(&mut self, most: usize) -> (Vec<PermitId>, Vec<PermitId>) {
        let held: Vec<PermitId> =
            std::iter::from_fn(|| self.untold.pop_first()).take(most).collect();
        self.held.extend(held.iter().map(|id| (*id, true)));
        let freed = std::iter::from_fn(|| self.freed.pop_first());
        let freed: Vec<PermitId> = freed.take(most - held.len()).collect();
        self.leaving.extend(&freed);
        (held, freed)
    }

    /// All that is held, to be told.
    pub(super) fn tell_held(&mut self) -> Vec<PermitId> {
        self.untold.clear();
        self.held.values_mut().for_each(|known| *known = true);
        self.held.keys().copied().collect()
    }

    /// The shared store has been told that these were freed.
    pub(super) fn left(&mut self, freed: &[PermitId]) {
        for id in freed {
            self.leaving.remove(id);
        }
    }

    /// The shared store has perhaps not been told. Returns how many are freed again.
    pub(super) fn stays(&mut self, held: &[PermitId], freed: &[PermitId]) -> usize {
        self.untold.extend(held.iter().filter(|id| self.held.contains_key(id)));
        let back = freed.iter().filter(|id| self.leaving.remove(id));
        let before = self.freed.len();
        self.freed.extend(back);
        self.freed.len() - before
    }
}
