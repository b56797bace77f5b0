//! What each algorithm promises, over random histories in virtual time, on the local store: the
//! scripts are held equal to it in `scripts`.

use std::collections::BTreeMap;
use std::iter;

use proptest::prelude::*;
use sluicegate::limit::calendar::SKEW;
use sluicegate::limit::{Decision, Limit, Micros, Mode, Retry, Timestamp};
use sluicegate::store::local::LocalStore;

use crate::support::policies::{
    Plan, calendar, calendars, check, policy, sliding_window, token_bucket,
};

const START: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

/// One key of one policy, and what it admitted.
struct Client {
    store: LocalStore,
    plan: Plan,
    now: Timestamp,
    admitted: Vec<(u64, u64)>,
}

impl Client {
    fn new(plan: impl Into<Plan>) -> Self {
        let store = LocalStore::new(1, false);
        Self { store, plan: plan.into(), now: START, admitted: Vec::new() }
    }

    fn ask(&mut self, cost: u64) -> Decision {
        let policy = policy("p", self.plan.at(self.now), Mode::Enforce);
        let decision = self.store.decide(&[check("k", "s", &policy, cost)], self.now, 1)[0];
        if decision.allowed {
            self.admitted.push((self.now.as_micros(), cost));
        }
        decision
    }

    fn step(&mut self, by_us: i64) {
        self.now = Timestamp::from_micros(self.now.as_micros().saturating_add_signed(by_us));
    }

    /// The most units admitted in any span of `span_us`, its end not included.
    fn most_within(&self, span_us: u64) -> u64 {
        let each = self.admitted.iter().map(|(from, _)| {
            let within =
                self.admitted.iter().filter(|(at, _)| (*from..from + span_us).contains(at));
            within.map(|(_, cost)| cost).sum()
        });
        each.max().unwrap_or(0)
    }
}

fn pauses() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![5 => 0_u64..50_000, 5 => 0_u64..2_000_000, 1 => 0_u64..30_000_000];
    prop::collection::vec((pause, 1_u64..4), 200)
}

fn windows() -> impl Strategy<Value = (u64, u64)> {
    (1_u64..40, prop_oneof![Just(1_000_000_u64), Just(10_000_000), 1_000_u64..20_000_000])
}

/// A quota and a plan of any algorithm with it.
fn plans() -> impl Strategy<Value = (u64, Plan)> {
    let limits = (windows(), any::<bool>()).prop_map(|((quota, window), bucket)| {
        let sliding = || sliding_window(quota, window, 64);
        let limit = if bucket { token_bucket(quota, window, quota) } else { sliding() };
        (quota, Plan::from(limit))
    });
    let calendars = (1_u64..40).prop_flat_map(|quota| {
        let length = prop_oneof![1_u64..30, Just(86_400)];
        (Just(quota), calendars(Just(quota), length))
    });
    prop_oneof![2 => limits, 1 => calendars]
}

fn wait_of(decision: Decision) -> Option<Micros> {
    match decision.retry {
        Retry::After(wait) => Some(wait),
        Retry::Now | Retry::Never => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sliding_window_never_exceeds_its_quota_in_any_window(
        (quota, window) in windows(), resolution in 1_u64..=240, pauses in pauses()
    ) {
        let mut client = Client::new(sliding_window(quota, window, resolution));
        for (pause, cost) in pauses {
            client.step(i64::try_from(pause).unwrap());
            client.ask(cost);
        }
        prop_assert!(client.most_within(window) <= quota);
        prop_assert!(!client.admitted.is_empty());
    }

    #[test]
    fn token_bucket_never_exceeds_burst_and_rate(
        (quota, window) in windows(), burst in 1_u64..60, pauses in pauses()
    ) {
        let mut client = Client::new(token_bucket(quota, window, burst));
        for (pause, cost) in pauses {
            client.step(i64::try_from(pause).unwrap());
            client.ask(cost.min(burst));
        }
        for (first, (from, _)) in client.admitted.iter().enumerate() {
            let mut units = 0_u128;
            for (at, cost) in &client.admitted[first..] {
                units += u128::from(*cost);
                let refilled = u128::from(at - from) * u128::from(quota);
                // Exact: units <= burst + time * quota / window, without a rounding anywhere.
                prop_assert!(units * u128::from(window) <= u128::from(burst) * u128::from(window) + refilled);
            }
        }
    }

    #[test]
    fn a_calendar_never_exceeds_its_quota_in_a_period_and_begins_each_afresh(
        (quota, length_s) in (1_u64..40, 1_u64..30), pauses in pauses()
    ) {
        let mut client = Client::new(Plan::Periods { quota, length_s, from_s: 0 });
        let mut periods: BTreeMap<u64, u64> = BTreeMap::new();
        for (pause, cost) in pauses {
            client.step(i64::try_from(pause).unwrap());
            let used = periods.entry(client.now.as_micros() / (length_s * 1_000_000)).or_default();
            let decision = client.ask(cost);
            // Exactly: as long as there is room, and from the first moment of each period.
            prop_assert_eq!(decision.allowed, *used + cost <= quota);
            *used += if decision.allowed { cost } else { 0 };
            prop_assert_eq!(decision.remaining, quota - *used, "a denial charges nothing");
        }
    }

    #[test]
    fn a_denied_client_is_allowed_exactly_when_it_was_told(
        (quota, plan) in plans(), pauses in pauses(), early in 1_u64..1_000_000
    ) {
        let mut client = Client::new(plan);
        let mut denials = 0;
        // However short the window is: more than the quota at one instant, at the end.
        let at_once = iter::repeat_n((0, 1), usize::try_from(quota).unwrap() + 1);
        for (pause, cost) in pauses.into_iter().chain(at_once) {
            client.step(i64::try_from(pause % 100_000).unwrap());
            let cost = cost.min(quota);
            let Some(wait) = wait_of(client.ask(cost)) else { continue };
            denials += 1;
            let told = client.now.after(wait);
            for before in [1, early.min(wait.get())] {
                client.now = Timestamp::from_micros(told.as_micros() - before);
                prop_assert!(!client.ask(cost).allowed, "allowed {before} us early");
            }
            client.now = told;
            prop_assert!(client.ask(cost).allowed, "not allowed when told");
        }
        prop_assert!(denials > 0);
    }

    #[test]
    fn a_clock_step_costs_one_quota_and_locks_nobody_out_longer_than_a_window(
        (quota, plan) in plans(), forward in any::<bool>(),
        by in prop_oneof![1_i64..1_000, 1_i64..30_000_000, 1_i64..90_000_000_000]
    ) {
        let mut client = Client::new(plan);
        while client.ask(1).allowed {}
        client.step(if forward { by } else { -by });
        let before = client.admitted.len() as u64;
        while client.ask(1).allowed {}
        let extra = client.admitted.len() as u64 - before;
        prop_assert!(extra <= quota, "{extra} admitted at once after the step");
        // Whatever the step was: who comes back after a window, by the new clock, is let in. A
        // sliding window gives a unit back up to one tick late, with or without a step.
        let limit = plan.at(client.now);
        let window = limit.quota().expect("it has windows").window().get();
        // A calendar goes on with a period that seems to begin within ten seconds.
        let tick = match limit {
            Limit::TokenBucket(_) | Limit::Ban(_) => 0,
            Limit::SlidingWindow(_) => (window / 64 + 1).max(32),
            Limit::Calendar(_) => SKEW.get(),
            Limit::Concurrency(_) => panic!("it has no windows"),
        };
        client.step(i64::try_from(window + tick).unwrap());
        prop_assert!(client.ask(1).allowed, "locked out longer than a window");
    }
}

#[test]
fn a_small_step_back_does_not_give_the_quota_away() {
    let mut client = Client::new(sliding_window(10, 60_000_000, 64));
    while client.ask(1).allowed {}
    client.step(-3_000_000);
    assert!(!client.ask(1).allowed, "the records of the last three seconds still count");
}

#[test]
fn an_edge_burst_is_not_admitted_twice() {
    let mut client = Client::new(sliding_window(100, 60_000_000, 64));
    // The whole quota just before a minute ends, then again just after it began.
    client.now = Timestamp::from_micros(START.as_micros().next_multiple_of(60_000_000) - 1);
    while client.ask(1).allowed {}
    assert_eq!(client.admitted.len(), 100);
    client.step(2);
    assert!(!client.ask(1).allowed);
    assert_eq!(client.most_within(60_000_000), 100);
}

#[test]
fn burst_may_be_smaller_or_larger_than_the_quota() {
    for (burst, after_a_second) in [(1, 1), (5, 5), (40, 10)] {
        // Ten a second.
        let mut client = Client::new(token_bucket(10, 1_000_000, burst));
        while client.ask(1).allowed {}
        assert_eq!(client.admitted.len() as u64, burst);
        client.step(1_000_000);
        while client.ask(1).allowed {}
        assert_eq!(client.admitted.len() as u64, burst + after_a_second);
    }
}

#[test]
fn a_cost_above_the_limit_is_denied_for_good() {
    let day = calendar(3, 1_762_992_000, 1_763_078_400);
    for limit in [token_bucket(10, 1_000_000, 3), sliding_window(3, 1_000_000, 64), day] {
        let mut client = Client::new(limit);
        assert_eq!(client.ask(4).retry, Retry::Never);
        assert_eq!(client.ask(3).remaining, 0, "and has taken nothing");
    }
}

#[test]
fn a_changed_policy_acts_on_the_state_that_is_there() {
    let changes = [
        (sliding_window(10, 60_000_000, 64), sliding_window(10, 3_600_000_000, 64)),
        (sliding_window(10, 3_600_000_000, 64), sliding_window(10, 60_000_000, 64)),
        (sliding_window(10, 60_000_000, 64), sliding_window(5, 60_000_000, 16)),
        (token_bucket(10, 60_000_000, 10), token_bucket(10, 3_600_000_000, 1)),
        (token_bucket(10, 60_000_000, 10), token_bucket(10, 3_600_000_000, 10)),
        (token_bucket(10, 60_000_000, 10), token_bucket(1, 60_000_000, 10)),
        (token_bucket(10, 3_600_000_000, 10), token_bucket(10, 60_000_000, 10)),
        (token_bucket(10, 3_600_000_000, 10), token_bucket(7, 60_000_000, 7)),
        (day(10, 0), month(10)),
        (month(10), day(10, 0)),
        (day(10, 0), day(10, 3_600)),
        (day(10, 0), day(5, 0)),
    ];
    for (before, after) in changes {
        let mut client = Client::new(before);
        while client.ask(1).allowed {}
        client.plan = after.into();
        assert!(!client.ask(1).allowed, "a fresh quota by a reload: {before:?} to {after:?}");
    }
}

/// A client after a history under one limit, which has changed to another.
struct Changed {
    client: Client,
    /// What it was told last under the first limit.
    last: Decision,
    /// How many admissions were before the change.
    before: usize,
}

fn changed(before: Limit, after: Limit, pauses: &[(u64, u64)]) -> Changed {
    let mut client = Client::new(before);
    let mut last = client.ask(1);
    for (pause, cost) in pauses {
        client.now = client.now.after(Micros::new(*pause));
        last = client.ask(*cost);
    }
    client.plan = after.into();
    let before = client.admitted.len();
    Changed { client, last, before }
}

#[test]
fn a_changed_bucket_has_used_as_many_units_as_before() {
    let bucket = || (1_u64..40, windows());
    proptest!(|(was in bucket(), is in bucket(), pauses in pauses())| {
        let limit = |(burst, (quota, window))| token_bucket(quota, window, burst);
        let Changed { mut client, last, .. } = changed(limit(was), limit(is), &pauses[..60]);
        let left = is.0.saturating_sub(was.0 - last.remaining);
        let admitted = (0..100).take_while(|_| client.ask(1).allowed).count() as u64;
        // What another rate makes of a part of a unit is rounded up.
        let right = left.saturating_sub(1)..=left;
        prop_assert!(right.contains(&admitted), "{admitted} of {left}");
    });
}

#[test]
fn a_changed_window_counts_what_it_finds() {
    let window = || (windows(), 1_u64..=240);
    proptest!(|(was in window(), is in window(), pauses in pauses())| {
        let limit = |((quota, window), resolution)| sliding_window(quota, window, resolution);
        let Changed { mut client, before, .. } = changed(limit(was), limit(is), &pauses[..60]);
        // What the first limit had forgotten is not there to be counted.
        let ((_, first), (quota, window)) = (was.0, is.0);
        let known = client.now.as_micros() - first;
        for (pause, cost) in &pauses[60..] {
            client.ask(*cost);
            client.now = client.now.after(Micros::new(*pause));
        }
        for (index, (now, _)) in client.admitted.iter().enumerate().skip(before) {
            let from = known.max(now - window);
            let all = client.admitted[..=index].iter().filter(|(at, _)| *at > from);
            let units: u64 = all.map(|(_, cost)| cost).sum();
            prop_assert!(units <= quota, "{units} of {quota} within a window");
        }
    });
}

/// The day of [`START`], that much later than in UTC, and the month around it.
fn day(quota: u64, later_s: u64) -> Limit {
    calendar(quota, 1_762_992_000 + later_s, 1_763_078_400 + later_s)
}

fn month(quota: u64) -> Limit {
    calendar(quota, 1_761_955_200, 1_764_547_200)
}

#[test]
fn a_changed_calendar_locks_nobody_out_longer_than_the_present_period() {
    let mut client = Client::new(month(10));
    while client.ask(1).allowed {}
    client.plan = Plan::Periods { quota: 10, length_s: 86_400, from_s: 0 };
    let Some(wait) = wait_of(client.ask(1)) else { panic!("a fresh quota by a reload") };
    client.now = client.now.after(wait);
    assert!(client.ask(1).allowed, "the month is over only later");
}

#[test]
fn a_period_that_another_gateway_has_begun_goes_on() {
    let mut client = Client::new(day(3, 86_400));
    client.now = Timestamp::from_micros(1_763_078_399_990_000);
    assert!(client.ask(2).allowed, "its clock is ten milliseconds ahead");
    client.plan = day(3, 0).into();
    let decision = client.ask(1);
    assert!(decision.allowed, "counted with the other's");
    assert_eq!((decision.remaining, decision.reset_after.as_secs_ceil()), (0, 86_401));
    assert!(!client.ask(1).allowed);
    client.plan = day(3, 86_400).into();
    client.step(20_000);
    assert!(!client.ask(1).allowed, "nothing was forgotten");
}

#[test]
fn a_gateway_that_is_wrong_about_the_clock_begins_no_period() {
    let mut client = Client::new(day(3, 0));
    client.ask(2);
    // It is a day ahead.
    client.plan = day(3, 86_400).into();
    let decision = client.ask(1);
    assert!(decision.allowed && decision.remaining == 0, "counted in the day that it is");
    assert_eq!(decision.reset_after.as_secs_ceil(), 78_400);
    assert!(!client.ask(1).allowed);
}

#[test]
fn after_the_end_of_its_period_a_late_check_waits_for_no_time() {
    let mut client = Client::new(day(1, 0));
    client.ask(1);
    client.now = Timestamp::from_micros(1_763_078_400_005_000);
    let decision = client.ask(1);
    assert_eq!((decision.retry, decision.reset_after), (Retry::After(Micros::ZERO), Micros::ZERO));
}

#[test]
fn a_full_table_gives_up_the_least_used_limit() {
    // One state fits in the table eight times over a lock; fresh keys come by the thousand.
    let store = LocalStore::new(1, false);
    let policy = policy("p", sliding_window(20, 60_000_000, 64), Mode::Enforce);
    let mut now = START;
    let limited = |now| store.decide(&[check("k", "limited", &policy, 1)], now, 1)[0].allowed;
    while limited(now) {}
    for fresh in 0..20_000 {
        now = now.after(Micros::new(1_000));
        store.decide(&[check("k", &format!("fresh{fresh}"), &policy, 1)], now, 1);
    }
    assert!(!limited(now), "pushed out by fresh keys");
    assert!(store.len() <= 512, "{} states in a table for 512", store.len());
}
