//! What a replay notes of one policy.

use std::collections::HashMap;

use crate::limit::{Check, Limit, Timestamp};
use crate::rules::PartitionedPolicy;

use super::events::{Event, Recorder};
use super::memory::{Decided, KeyId};
use super::timeline::Timeline;

/// Most denied keys of a policy whose values are kept for the report; later ones are shown by
/// their key.
const NAMES_MAX: usize = 100_000;

/// The book of a policy.
#[derive(Debug)]
pub(super) struct Book {
    /// The variant that is the policy's own limit.
    own: usize,
    /// How often it was asked.
    pub(super) checked: u64,
    /// How often it had no room.
    pub(super) denied: u64,
    /// How often a ban stood behind it and refused the request.
    pub(super) banned: u64,
    /// Checked and denied by time.
    pub(super) timeline: Timeline,
    /// What it was asked, for other quotas to be tried.
    pub(super) recorder: Recorder,
    names: HashMap<KeyId, Box<str>>,
}

// === impl Book ===

impl Book {
    /// An empty book of a policy that is one of `policies`.
    pub(super) fn new(limited: &PartitionedPolicy, policies: usize) -> Self {
        Self {
            own: limited.own.policy().variant,
            checked: 0,
            denied: 0,
            banned: 0,
            timeline: Timeline::default(),
            recorder: Recorder::one_of(policies),
            names: HashMap::new(),
        }
    }

    /// Enters what was decided of a check, and what it has cost in the end.
    pub(super) fn enter(&mut self, check: &Check, cost: u64, decided: Decided, at: Timestamp) {
        if matches!(check.policy.limit, Limit::Ban(_)) {
            self.banned += u64::from(!decided.allowed);
            return;
        }
        self.checked += 1;
        self.denied += u64::from(!decided.allowed);
        self.timeline.count(at, decided.allowed);
        // A key with a limit of its own says nothing about the quota of the others.
        if let Some(key) = decided.key.filter(|_| check.policy.variant == self.own) {
            self.recorder.record(Event { key, at, taken: check.cost, cost });
        }
    }

    /// Whether there is no need to say who a denied key is.
    pub(super) fn knows(&self, key: KeyId) -> bool {
        self.names.len() >= NAMES_MAX || self.names.contains_key(&key)
    }

    /// Takes who a denied key is.
    pub(super) fn name(&mut self, key: KeyId, name: String) {
        self.names.insert(key, name.into());
    }

    /// Who a denied key is; `None` if there were too many to remember.
    pub(super) fn name_of(&self, key: KeyId) -> Option<&str> {
        self.names.get(&key).map(|name| &**name)
    }
}
