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
