//! A check: one question put to a store.

use std::fmt;
use std::sync::Arc;

use super::policy::Policy;

/// May `cost` units of `policy` be taken for `key`? The keys of one request are all different.
#[derive(Clone, Debug)]
pub struct Check {
    /// The policy asked.
    pub policy: Arc<Policy>,
    /// Whose quota.
    pub key: Key,
    /// How many units; at least 1.
    pub cost: u64,
}

/// The name of a state in a store: `<prefix>:{<subject>}:<policy>:<algorithm letter>`.
///
/// It holds neither quota nor window, so that a changed quota acts on the state that is there. The
/// braces make the subject the hash tag of a Redis cluster: all policies of one subject share a
/// slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

// === impl Check ===

impl Check {
    /// May `cost` units of `policy` be taken for `key`?
    pub const fn new(policy: Arc<Policy>, key: Key, cost: u64) -> Self {
        Self { policy, key, cost }
    }
}

// === impl Key ===

impl Key {
    /// The key of `subject` under `policy`. The caller guarantees that `subject` holds no brace
    /// and that different subjects have different texts.
    pub fn new(prefix: &str, subject: &str, policy: &Policy) -> Self {
        Self(format!("{prefix}:{{{subject}}}:{}:{}", policy.name, policy.limit.letter()))
    }

    /// The key of the same subject and policy for something else: all but the letter is the same.
    #[must_use]
    pub fn with_letter(&self, letter: char) -> Self {
        let (rest, _) = self.0.rsplit_once(':').unwrap_or((&self.0, ""));
        Self(format!("{rest}:{letter}"))
    }

    /// The key as Redis sees it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
