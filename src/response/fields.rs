//! The rate limit fields of an answer.

use sfv::{KeyRef, ListSerializer, StringRef, key_ref};

use crate::limit::decision::{Outcome, Retry};
use crate::limit::{Limit, Micros, Policy, Verdict};

/// Which fields speak of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSettings {
    /// `RateLimit-Policy` and `RateLimit`.
    pub ratelimit: bool,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub x_ratelimit: bool,
    /// `Retry-After` on refusals that wait for it longest.
    pub retry_after: bool,
}

/// A field: its name and its value.
pub type Field = (&'static str, String);

const QUOTA: &KeyRef = key_ref("q");
const WINDOW: &KeyRef = key_ref("w");
const REMAINING: &KeyRef = key_ref("r");
const RESET: &KeyRef = key_ref("t");
/// Ours: the draft has no word for a burst that differs from the quota.
const BURST: &KeyRef = key_ref("sluicegate-burst");

// === impl FieldSettings ===

impl Default for FieldSettings {
    fn default() -> Self {
        Self { ratelimit: true, x_ratelimit: true, retry_after: true }
    }
}

/// The fields of an answer with this verdict. `RateLimit` and `RateLimit-Policy` list every
/// enforced policy; `X-RateLimit-*` speak of the one with the smallest share left. `settings` say
/// which of them speak of a policy at all. A ban is no policy of its own: only `Retry-After` speaks
/// of it.
pub fn fields(verdict: &Verdict, settings: impl Fn(&Policy) -> FieldSettings) -> Vec<Field> {
    let outcomes = one_per_policy(verdict);
    let those = |wanted: fn(FieldSettings) -> bool| -> Vec<&Outcome> {
        let all = outcomes.iter().copied();
        all.filter(|outcome| wanted(settings(&outcome.policy))).collect()
    };
    let listed = those(|settings| settings.ratelimit);
    let mut fields = Vec::new();
    fields.extend(policies(&listed).map(|value| ("RateLimit-Policy", value)));
    fields.extend(levels(&listed).map(|value| ("RateLimit", value)));
    if let Some(closest) = closest(&those(|settings| settings.x_ratelimit)) {
        let Outcome { policy, decision, .. } = closest;
        fields.push(("X-RateLimit-Limit", policy.limit.cost_max().to_string()));
        fields.push(("X-RateLimit-Remaining", decision.remaining.to_string()));
        fields.push(("X-RateLimit-Reset", more_after_secs(closest).unwrap_or(0).to_string()));
    }
    if verdict.longest_denial().is_some_and(|denial| settings(&denial.policy).retry_after) {
        fields.extend(retry_after_secs(verdict).map(|secs| ("Retry-After", secs.to_string())));
    }
    fields
}

/// Whole seconds until the request would be allowed: at least 1 and never early. Nothing for a
/// request that passes, or that never will.
pub fn retry_after_secs(verdict: &Verdict) -> Option<u64> {
    match verdict.longest_denial()?.decision.retry {
        Retry::After(wait) => Some(wait.as_secs_ceil().max(1)),
        Retry::Now | Retry::Never => None,
    }
}

/// A policy that was asked about several keys is spoken of once, by the key with the least left.
fn one_per_policy(verdict: &Verdict) -> Vec<&Outcome> {
    let mut outcomes: Vec<&Outcome> = Vec::new();
    for outcome in verdict.enforced().filter(|outcome| !outcome.is_of_ban()) {
        match outcomes.iter_mut().find(|known| known.policy.id == outcome.policy.id) {
            Some(known) if outcome.decision.remaining < known.decision.remaining => {
                *known = outcome;
            }
            Some(_) => {}
            None => outcomes.push(outcome),
        }
    }
    outcomes
}

fn policies(outcomes: &[&Outcome]) -> Option<String> {
    let mut list = ListSerializer::new();
    for outcome in outcomes {
        let policy = &outcome.policy;
        let quota = policy.limit.quota();
        let item = list.bare_item(StringRef::from_str(&policy.name).ok()?);
        let item = item.parameter(QUOTA, integer(quota.units()));
        // A window is whole seconds on the wire, so it is rounded up: never more generous than
        // true. One below a second is left out.
        let item = if quota.window() < Micros::SECOND {
            item
        } else {
            item.parameter(WINDOW, integer(quota.window().as_secs_ceil()))
        };
        if let Limit::TokenBucket(bucket) = &policy.limit
            && bucket.burst() != quota.units()
        {
            let _ = item.parameter(BURST, integer(bucket.burst()));
        }
    }
    list.finish()
}

fn levels(outcomes: &[&Outcome]) -> Option<String> {
    let mut list = ListSerializer::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.has_state()) {
        let item = list.bare_item(StringRef::from_str(&outcome.policy.name).ok()?);
        let item = item.parameter(REMAINING, integer(outcome.decision.remaining));
        if let Some(seconds) = more_after_secs(outcome) {
            let _ = item.parameter(RESET, integer(seconds));
        }
    }
    list.finish()
}

/// Seconds until more is left: for a denial, until the request would be allowed. Nothing when the
/// quota is whole or waiting does not help.
fn more_after_secs(outcome: &Outcome) -> Option<u64> {
    let wait = match outcome.decision.retry {
        Retry::After(wait) => wait.max(Micros::new(1)),
        Retry::Now => outcome.decision.reset_after,
        Retry::Never => return None,
    };
    (wait > Micros::ZERO).then(|| wait.as_secs_ceil())
}

/// The outcome with the smallest share of its limit left.
fn closest<'a>(outcomes: &[&'a Outcome]) -> Option<&'a Outcome> {
    let share = |outcome: &&&Outcome| {
        let left = u128::from(outcome.decision.remaining) * 1_000_000;
        left / u128::from(outcome.policy.limit.cost_max())
    };
    outcomes.iter().filter(|outcome| outcome.has_state()).min_by_key(share).copied()
}

/// A structured field's integer has at most 15 digits; every number here has fewer.
fn integer(value: u64) -> sfv::Integer {
    i64::try_from(value).ok().and_then(|value| value.try_into().ok()).unwrap_or(sfv::Integer::MAX)
}
