//! Policies and checks, made by hand.

use std::sync::Arc;

use proptest::prelude::*;
use sluicegate::limit::calendar::{Calendar, Period};
use sluicegate::limit::sliding_window::SlidingWindow;
use sluicegate::limit::token_bucket::TokenBucket;
use sluicegate::limit::{
    Ban, Check, Key, Limit, Micros, Mode, OnStoreError, Policy, Quota, Timestamp,
};

const SECOND_US: u64 = 1_000_000;

/// What a policy limits by: of a calendar the period changes with the time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    Always(Limit),
    /// A calendar whose periods are that many seconds long; one of them begins so long after the
    /// epoch.
    Periods {
        quota: u64,
        length_s: u64,
        from_s: u64,
    },
}

impl Plan {
    /// The limit at `now`.
    pub(crate) fn at(&self, now: Timestamp) -> Limit {
        match *self {
            Self::Always(limit) => limit,
            Self::Periods { quota, length_s, from_s } => {
                let (now, from) = (now.as_micros() / SECOND_US, from_s % length_s);
                let start = (now - from) / length_s * length_s + from;
                calendar(quota, start, start + length_s)
            }
        }
    }
}

impl From<Limit> for Plan {
    fn from(limit: Limit) -> Self {
        Self::Always(limit)
    }
}

/// Calendars of up to `quota_max` units, in periods of these seconds.
pub(crate) fn calendars(
    quota: impl Strategy<Value = u64>,
    length_s: impl Strategy<Value = u64>,
) -> impl Strategy<Value = Plan> {
    let from = prop_oneof![Just(0), 0_u64..100_000];
    (quota, length_s, from).prop_map(|(quota, length_s, from_s)| Plan::Periods {
        quota,
        length_s,
        from_s,
    })
}

/// A quota over one period, given in seconds since the epoch.
pub(crate) fn calendar(quota: u64, start_s: u64, end_s: u64) -> Limit {
    let at = |seconds| Timestamp::from_micros(seconds * SECOND_US);
    let period = Period::new(at(start_s), at(end_s)).expect("a valid period");
    Limit::Calendar(Calendar::new(quota, period).expect("a valid quota"))
}

pub(crate) fn token_bucket(quota: u64, window_us: u64, burst: u64) -> Limit {
    let quota = Quota::new(quota, Micros::new(window_us)).expect("a valid quota");
    Limit::TokenBucket(TokenBucket::new(quota, burst).expect("a valid burst"))
}

pub(crate) fn sliding_window(quota: u64, window_us: u64, resolution: u64) -> Limit {
    let quota = Quota::new(quota, Micros::new(window_us)).expect("a valid quota");
    Limit::SlidingWindow(SlidingWindow::new(quota, resolution).expect("a valid resolution"))
}

/// So many denials within so long are a ban, of so long at first and so long at most.
pub(crate) fn ban(denials: u64, spans_us: [u64; 3]) -> Limit {
    let [within, first, longest] = spans_us.map(Micros::new);
    let quota = Quota::new(denials, within).expect("a valid quota");
    Limit::Ban(Ban::new(SlidingWindow::new(quota, 64).expect("a valid window"), first, longest))
}

pub(crate) fn policy(name: &str, limit: Limit, mode: Mode) -> Arc<Policy> {
    Arc::new(Policy {
        id: 0,
        generation: 0,
        variant: 0,
        name: name.to_owned(),
        limit,
        mode,
        on_store_error: OnStoreError::Local,
    })
}

pub(crate) fn check(prefix: &str, subject: &str, policy: &Arc<Policy>, cost: u64) -> Check {
    Check::new(Arc::clone(policy), Key::new(prefix, subject, policy), cost)
}
