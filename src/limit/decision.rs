//! Decisions, and how those of one request become its verdict.

use std::sync::Arc;

use super::algorithm::Limit;
use super::check::Check;
use super::policy::Policy;
use super::settlement::{Receipt, Settlement};
use super::standing::Standing;
use super::time::Micros;

/// The answer to one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the policy had room. In an allowed request the units are taken; in a refused one
    /// nothing is.
    pub allowed: bool,
    /// Units left.
    pub remaining: u64,
    /// When the same check would be allowed, if nothing else happens.
    pub retry: Retry,
    /// Time until more is left than now; zero when the quota is whole.
    pub reset_after: Micros,
    /// What was taken, if the units were taken.
    pub receipt: Option<Receipt>,
}

/// When a check would be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// It is allowed.
    Now,
    /// Denied now, allowed after exactly this time.
    After(Micros),
    /// Denied for good: the cost is larger than the limit ever has room for.
    Never,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// The shared store.
    Redis,
    /// This gateway's memory of an earlier denial.
    DenyCache,
    /// This gateway's own store.
    Local,
    /// Nobody: the shared store was away and the policy says to allow.
    FailOpen,
    /// Nobody: the shared store was away and a policy says to deny.
    FailClosed,
}

/// What one policy said of the request, and who said it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its place among the checks of the request.
    pub check: usize,
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its decision. Without a state to speak of (fail-open, fail-closed) only `allowed` counts.
    pub decision: Decision,
    /// Who decided.
    pub provenance: Provenance,
}

/// What happens to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It goes on to the application.
    Pass,
    /// An enforced policy denied it.
    Deny,
    /// The shared store is away and an enforced policy says to deny then.
    Unavailable,
}

/// All decisions of a request, combined.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What each policy said.
    pub outcomes: Vec<Outcome>,
    /// What happens to the request.
    pub ruling: Ruling,
    /// How long the shared store took to answer or to fail; `None` if it was not asked.
    pub store_time: Option<Micros>,
    /// Checks, by their place, for which the shared store may hold what this verdict does not say:
    /// it was asked and has not answered, or is yet to be told of what is given back.
    pub unsure: Vec<usize>,
}

/// Which of the checks have room.
pub fn rooms(checks: &[Check], standings: &[Standing]) -> Vec<bool> {
    checks.iter().zip(standings).map(|(check, standing)| standing.has_room(check.cost)).collect()
}

/// Decides all checks of one request against their standings, all or nothing: the enforced checks
/// are charged if each of them has room, a shadow check if besides it has room itself. `rooms` is
/// what [`rooms`] says of them.
pub fn decide(checks: &[Check], standings: &mut [Standing], rooms: &[bool]) -> Vec<Decision> {
    let pass = checks.iter().zip(rooms).all(|(check, room)| *room || !check.policy.enforced());
    let each = checks.iter().zip(standings).zip(rooms);
    each.map(|((check, standing), &allowed)| {
        let taken = pass && allowed && standing.takes_units();
        let receipt = taken.then(|| standing.charge(check.cost));
        Decision {
            allowed,
            remaining: standing.remaining(),
            retry: if allowed { Retry::Now } else { Retry::from(standing.retry_after(check.cost)) },
            reset_after: standing.reset_after(),
            receipt,
        }
    })
    .collect()
}

// === impl Decision ===

impl Decision {
    /// A decision that no state stands behind.
    pub const fn without_state(allowed: bool) -> Self {
        let retry = if allowed { Retry::Now } else { Retry::After(Micros::SECOND) };
        Self { allowed, remaining: 0, retry, reset_after: Micros::ZERO, receipt: None }
    }

    /// The same decision, once what it took has been given back to `standing`, if that is known; and
    /// what is to be given back, if it took anything.
    #[must_use]
    pub fn given_back(
        mut self,
        check: &Check,
        standing: Option<&mut Standing>,
    ) -> (Self, Option<Settlement>) {
        let Some(receipt) = self.receipt.take() else { return (self, None) };
        let receipt = receipt.unused(&check.policy.limit);
        let given = Settlement { check: check.clone(), receipt, cost: 0 };
        match (standing, given.adjustment()) {
            (Some(standing), Some(adjustment)) => {
                standing.adjust(&adjustment);
                (self.remaining, self.reset_after) = (standing.remaining(), standing.reset_after());
            }
            _ => self.remaining = self.remaining.saturating_add(check.cost),
        }
        (self, Some(given))
    }

    /// The same denial, `elapsed` later: what is waited for has come nearer.
    #[must_use]
    pub fn later(mut self, elapsed: Micros) -> Self {
        let less = |wait: Micros| Micros::new(wait.get().saturating_sub(elapsed.get()));
        if let Retry::After(wait) = self.retry {
            self.retry = Retry::After(less(wait));
        }
        self.reset_after = less(self.reset_after);
        self
    }
}

// === impl Retry ===

impl From<Option<Micros>> for Retry {
    fn from(wait: Option<Micros>) -> Self {
        wait.map_or(Self::Never, Self::After)
    }
}

// === impl Provenance ===

impl Provenance {
    /// Its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::DenyCache => "deny-cache",
            Self::Local => "local",
            Self::FailOpen => "fail-open",
            Self::FailClosed => "fail-closed",
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// The verdict over `outcomes`: denied if an enforced policy denies.
    pub fn new(outcomes: Vec<Outcome>) -> Self {
        let denied = outcomes.iter().any(Outcome::denies);
        let ruling = if denied { Ruling::Deny } else { Ruling::Pass };
        Self { outcomes, ruling, store_time: None, unsure: Vec::new() }
    }

    /// The verdict when the shared store is away and a policy says to deny then.
    pub fn unavailable(outcomes: Vec<Outcome>) -> Self {
        Self { ruling: Ruling::Unavailable, ..Self::new(outcomes) }
    }

    /// The outcomes of the policies that are enforced.
    pub fn enforced(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.policy.enforced())
    }

    /// The outcomes that deny the request.
    pub fn denials(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.denies())
    }

    /// The denial with the longest wait: it gives the refusal its status, message and
    /// `Retry-After`.
    pub fn longest_denial(&self) -> Option<&Outcome> {
        self.denials().max_by_key(|outcome| outcome.decision.retry)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether this outcome refuses the request.
    pub fn denies(&self) -> bool {
        self.policy.enforced() && !self.decision.allowed
    }

    /// Whether it speaks of a ban, and not of the policy's own limit.
    pub fn is_of_ban(&self) -> bool {
        matches!(self.policy.limit, Limit::Ban(_))
    }

    /// Whether a state stands behind the decision, so that its numbers mean something.
    pub fn has_state(&self) -> bool {
        !matches!(self.provenance, Provenance::FailOpen | Provenance::FailClosed)
    }
}
