//! The tab of a request: what it still has to pay, or gets back, when it is over.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use pingora_http::ResponseHeader;

use super::{Proxy, State};
use crate::limit::decision::Outcome;
use crate::limit::{Check, Micros, Settlement, Verdict};
use crate::rules::Demand;
use crate::rules::bill::Bill;
use crate::rules::cost::Ended;

/// What is to be settled of a request that may pass.
#[derive(Debug)]
pub(super) struct Tab {
    checks: Vec<Check>,
    bill: Bill,
    /// Bytes of the request's body so far.
    body: u64,
    /// What the application says of the cost.
    said: HeaderMap,
}

// === impl Tab ===

impl Tab {
    /// The tab of a request; none if everything is settled already.
    pub(super) fn open(demand: Demand) -> Option<Self> {
        let Demand { checks, bill } = demand;
        (!bill.is_empty()).then(|| Self { checks, bill, body: 0, said: HeaderMap::new() })
    }

    /// The request is sent to the application, perhaps again: with all of its body.
    pub(super) const fn begin_again(&mut self) {
        self.body = 0;
    }

    /// Takes note of some of the request's body.
    pub(super) const fn read(&mut self, bytes: usize) {
        self.body = self.body.saturating_add(bytes as u64);
    }

    /// Takes note of what the application says of the cost.
    pub(super) fn hear(&mut self, response: &ResponseHeader) {
        let named = self.bill.headers().filter_map(|name| HeaderName::try_from(name).ok());
        // Each once: the checks of a rule all name the same.
        let named: HashSet<HeaderName> = named.collect();
        for name in named {
            for value in response.headers.get_all(&name) {
                self.said.append(name.clone(), value.clone());
            }
        }
    }

    /// Whether the head of the answer tells all that is to be known.
    pub(super) fn is_complete(&self) -> bool {
        !self.bill.waits_for_body(&self.said)
    }

    /// Settles, as far as `verdict` has taken anything, and brings its numbers up to date. If the
    /// configuration is no longer `came_with`, policies are those of now: a window may be longer than
    /// when the request came.
    pub(super) fn settle(
        self,
        proxy: &Proxy,
        came_with: &Arc<State>,
        status: Option<u16>,
        verdict: &mut Verdict,
    ) {
        let state = proxy.state.load();
        let reloaded = !Arc::ptr_eq(&state, came_with);
        let ended = Ended { status, headers: Some(&self.said), body: self.body };
        for (place, cost) in self.bill.costs(&ended) {
            let taken = verdict.outcomes.iter_mut().find(|outcome| outcome.check == place);
            let Some((outcome, check)) = taken.zip(self.checks.get(place)) else { continue };
            let Some(receipt) = outcome.decision.receipt else { continue };
            update(outcome, check.cost, cost);
            let mut check = check.clone();
            let renewed = || state.rules.renewed(&check.policy, proxy.limiter.now());
            if let Some(policy) = reloaded.then(renewed).flatten() {
                check.policy = policy;
            }
            let settlement = Settlement { check, receipt, cost };
            proxy.limiter.settle(settlement, outcome.provenance);
        }
    }
}

/// What is left after a request for which `taken` units were taken has cost `cost`.
fn update(outcome: &mut Outcome, taken: u64, cost: u64) {
    let (decision, whole) = (&mut outcome.decision, outcome.policy.limit.cost_max());
    let left = decision.remaining.saturating_add(taken).saturating_sub(cost);
    decision.remaining = left.min(whole);
    if left >= whole {
        decision.reset_after = Micros::ZERO;
    }
}
