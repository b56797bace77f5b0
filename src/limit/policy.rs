//! A policy: a named limit and how it is applied.

use super::algorithm::Limit;

/// A named limit and how it is applied. What divides its quota between clients (the partition)
/// belongs to the rules, which turn a request into keys.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its place among the policies of its configuration: 0, 1, 2 and so on.
    pub id: usize,
    /// Which loading of the configuration it came with; a denial remembered for one generation
    /// says nothing about the next.
    pub generation: u64,
    /// Which of the limits that the policy has for different clients this is; a denial remembered
    /// for one says nothing about another.
    pub variant: usize,
    /// Its name in the file, the keys, the fields and the metrics.
    pub name: String,
    /// The algorithm with its parameters.
    pub limit: Limit,
    /// Whether a denial is enforced.
    pub mode: Mode,
    /// What happens when the shared store does not answer.
    pub on_store_error: OnStoreError,
}

/// Whether a denial is enforced or only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A denial refuses the request.
    Enforce,
    /// A denial is counted and changes nothing else.
    Shadow,
}

/// What a policy does when the shared store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    /// Decide from this gateway's own memory.
    Local,
    /// Let the request through.
    Allow,
    /// Refuse the request with 503.
    Deny,
}

// === impl Policy ===

impl Policy {
    /// Whether its denials count.
    pub fn enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }
}
