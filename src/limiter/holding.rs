//! The permits of one request.

use std::collections::BTreeMap;

use super::Limiter;
use crate::limit::decision::Outcome;
use crate::limit::{Check, Clock, Provenance, Verdict};
use crate::store::permits::Permit;

/// The permits of one request, each with the place of its check. Dropping this gives them back.
#[derive(Debug, Default)]
pub struct Holding {
    permits: Vec<(usize, Permit)>,
}

// === impl Limiter ===

impl<C: Clock> Limiter<C> {
    /// Offers a permit for each of `checks` that takes one. To be kept by the request from before
    /// its decision on, so that whatever ends it gives back what it took.
    pub fn offer(&self, checks: &mut [Check]) -> Holding {
        let each = checks.iter_mut().enumerate();
        let offered =
            each.filter_map(|(place, check)| Some((place, self.local.permits().offer(check)?)));
        Holding { permits: offered.collect() }
    }

    /// Permits that are held, by the name of their policy.
    pub fn permits_held(&self) -> BTreeMap<String, usize> {
        self.local.permits().by_policy()
    }

    /// Whether the shared store, if there is one, has been told of every permit given back and of
    /// every cost.
    pub fn all_told(&self) -> bool {
        self.local.permits().all_told() && self.settling.is_done()
    }
}

// === impl Holding ===

impl Holding {
    /// Keeps what `verdict` has charged and gives the rest back.
    pub fn keep_charged(&mut self, verdict: &Verdict) {
        let by_redis = |outcome: &Outcome| outcome.provenance == Provenance::Redis;
        self.permits.retain_mut(|(place, permit)| {
            let outcome = verdict.outcomes.iter().find(|outcome| outcome.check == *place);
            let charged = outcome.filter(|outcome| outcome.decision.receipt.is_some());
            match charged {
                Some(outcome) if by_redis(outcome) => permit.charged(),
                _ if !verdict.unsure.contains(place) => permit.not_charged(),
                _ => {}
            }
            charged.is_some()
        });
    }

    /// Gives everything back.
    pub fn free(&mut self) {
        self.permits.clear();
    }
}
