//! What the local store promises beside a shared one, in virtual time: shares, the last state seen,
//! and what the shared store is told when it is back.

mod corners;

use std::collections::HashMap;
use std::iter;
use std::sync::Arc;

use proptest::prelude::*;
use sluicegate::limit::{Check, Limit, Micros, Mode, Policy, Standing, State, Timestamp};
use sluicegate::store::local::{Known, LocalStore, What};

use crate::support::policies::{
    Plan, calendar, calendars, check, policy, sliding_window, token_bucket,
};

const START: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);
const WINDOW_S: u64 = 10;
const WINDOW_US: u64 = WINDOW_S * 1_000_000;
/// A day around [`START`], in seconds since the epoch.
const PERIOD_S: [u64; 2] = [1_762_992_000, 1_763_078_400];
/// So much that no set of the table overflows by chance.
const MEMORY: usize = 64 << 20;

/// A shared store that can be away and can lose its memory.
#[derive(Default)]
struct Shared(HashMap<String, State>);

impl Shared {
    fn decide(&mut self, check: &Check, now: Timestamp) -> (bool, Standing) {
        let mut standing = check.policy.limit.read(self.0.get(check.key.as_str()), now);
        let room = standing.has_room(check.cost);
        if room {
            standing.charge(check.cost);
            self.0.insert(check.key.as_str().to_owned(), standing.state());
        }
        (room, standing)
    }

    /// What a gateway has seen: the first step of the return to a store that has forgotten.
    fn shown(&mut self, gateway: &LocalStore, now: Timestamp) {
        for known in known(gateway, EVERYTHING, now) {
            let standing = known.seen_beside(self.0.get(&*known.key), now);
            self.0.insert(known.key.to_string(), standing.state());
        }
    }

    /// What a gateway has charged.
    fn told(&mut self, gateway: &LocalStore, now: Timestamp) {
        for known in known(gateway, What::Untold, now) {
            let standing = known.on_top_of(self.0.get(&*known.key), now);
            self.0.insert(known.key.to_string(), standing.state());
            gateway.confirm(&known, Some(&standing.state()), now);
        }
    }

    fn used(&self, check: &Check, now: Timestamp) -> u64 {
        let standing = check.policy.limit.read(self.0.get(check.key.as_str()), now);
        check.policy.limit.cost_max() - standing.remaining()
    }
}

const EVERYTHING: What = What::Seen { since: Timestamp::EPOCH };

/// All keys that are asked for.
fn known(gateway: &LocalStore, what: What, now: Timestamp) -> Vec<Known> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(set) = from {
        let batch = gateway.known(set, what, now, |_| true);
        all.extend(batch.known);
        from = batch.next;
    }
    all
}

/// Ten a window, or in the calendar's period around [`START`], by each algorithm.
fn tens() -> [Limit; 3] {
    let calendar = calendar(10, PERIOD_S[0], PERIOD_S[1]);
    [sliding_window(10, WINDOW_US, 64), token_bucket(10, WINDOW_US, 10), calendar]
}

fn gateways(count: u64) -> Vec<LocalStore> {
    (0..count).map(|_| LocalStore::new(MEMORY, true)).collect()
}

fn one(limit: Limit, cost: u64) -> (Arc<Policy>, Check) {
    let policy = policy("p", limit, Mode::Enforce);
    let check = check("k", "s", &policy, cost);
    (policy, check)
}

fn admit_all(gateway: &LocalStore, check: &Check, now: Timestamp, among: u64) -> u64 {
    let asking = std::iter::repeat_with(|| gateway.decide(std::slice::from_ref(check), now, among));
    asking.take_while(|decisions| decisions[0].allowed).count() as u64
}

/// The most units admitted in any span of `span_us`, its end not included.
fn most_within(admitted: &[u64], span_us: u64) -> u64 {
    let within =
        |from: &u64| admitted.iter().filter(|at| (*from..from + span_us).contains(at)).count();
    admitted.iter().map(within).max().unwrap_or(0) as u64
}

/// The period of a calendar in which a moment lies.
fn period_of(plan: &Plan, at: u64) -> [u64; 3] {
    plan.at(Timestamp::from_micros(at)).parameters()
}

/// Whether no span admitted more than `times` what `plan` admits, or `least` if that is more.
fn within_limit(plan: &Plan, admitted: &[u64], least: u64, times: u64) -> bool {
    let limit = plan.at(START);
    let quota = limit.units();
    let bound = limit.cost_max().max(least);
    match limit {
        Limit::Calendar(_) => {
            let mut periods: HashMap<[u64; 3], u64> = HashMap::new();
            for at in admitted {
                *periods.entry(period_of(plan, *at)).or_default() += 1;
            }
            periods.into_values().all(|units| units <= times * bound)
        }
        Limit::SlidingWindow(_) => most_within(admitted, WINDOW_US) <= times * bound,
        Limit::Ban(_) => unreachable!("none is made"),
        Limit::Concurrency(_) => panic!("permits are given back: this is not about them"),
        Limit::TokenBucket(_) => admitted.iter().enumerate().all(|(first, from)| {
            admitted[first..].iter().zip(1..).all(|(at, units): (&u64, u64)| {
                units * WINDOW_US <= times * (bound * WINDOW_US + (at - from) * quota)
            })
        }),
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let limits = (1_u64..30, any::<bool>()).prop_map(|(quota, bucket)| {
        Plan::Always(if bucket {
            token_bucket(quota, WINDOW_US, quota)
        } else {
            sliding_window(quota, WINDOW_US, 64)
        })
    });
    prop_oneof![2 => limits, 1 => calendars(1_u64..30, WINDOW_S / 2..2 * WINDOW_S)]
}

/// Some units of the only client there is.
fn ask(plan: &Plan, cost: u64, now: Timestamp) -> Check {
    check("k", "s", &policy("p", plan.at(now), Mode::Enforce), cost)
}

#[derive(Clone, Debug)]
enum Event {
    /// A request; if Redis is there, it may still not answer in time.
    Asks { gateway: usize, in_time: bool },
    /// Redis is away for one gateway or for all.
    Goes { only: Option<usize> },
    /// It is back for all, and may have forgotten everything.
    Comes { empty: bool, first: usize },
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let asks = (0_usize..4, prop::bool::weighted(0.9))
        .prop_map(|(gateway, in_time)| Event::Asks { gateway, in_time });
    let event = prop_oneof![
        40 => asks,
        1 => prop::option::of(0_usize..4).prop_map(|only| Event::Goes { only }),
        1 => (any::<bool>(), 0_usize..4).prop_map(|(empty, first)| Event::Comes { empty, first }),
    ];
    let pause = prop_oneof![8 => 0_u64..100_000, 2 => 0_u64..2_000_000];
    prop::collection::vec((pause, event), 300)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_shares_together_admit_no_more_than_the_quota(
        plan in plans(), count in 1_u64..8, cost in 1_u64..4, asks in prop::collection::vec((0_u64..400_000, 0_usize..8), 300)
    ) {
        let cost = cost.min(plan.at(START).cost_max());
        let gateways = gateways(count);
        let (mut now, mut admitted) = (START, Vec::new());
        for (pause, gateway) in asks {
            now = now.after(Micros::new(pause));
            let gateway = &gateways[gateway % gateways.len()];
            if gateway.decide(&[ask(&plan, cost, now)], now, count)[0].allowed {
                admitted.extend(iter::repeat_n(now.as_micros(), usize::try_from(cost).unwrap()));
            }
        }
        prop_assert!(within_limit(&plan, &admitted, count * cost, 1));
        prop_assert!(!admitted.is_empty());
    }

    #[test]
    fn outages_admit_twice_the_quota_in_a_window_at_most(
        plan in plans(), count in 1_u64..5, cost in 1_u64..4, events in events()
    ) {
        let cost = cost.min(plan.at(START).cost_max());
        let (mut shared, gateways) = (Shared::default(), gateways(count));
        let (mut now, mut admitted, mut alone) = (START, Vec::new(), false);
        let mut away = vec![false; gateways.len()];
        for (pause, event) in events {
            now = now.after(Micros::new(pause));
            let check = ask(&plan, cost, now);
            match event {
                Event::Asks { gateway, in_time } => {
                    let number = gateway % gateways.len();
                    let gateway = &gateways[number];
                    let allowed = if away[number] || !in_time {
                        alone = true;
                        gateway.decide(std::slice::from_ref(&check), now, count)[0].allowed
                    } else {
                        let (allowed, standing) = shared.decide(&check, now);
                        gateway.learn(std::slice::from_ref(&check), &[standing], now);
                        allowed
                    };
                    let units = if allowed { cost } else { 0 };
                    admitted.extend(iter::repeat_n(now.as_micros(), usize::try_from(units).unwrap()));
                }
                Event::Goes { only } => match only.map(|only| only % away.len()) {
                    Some(only) => away[only] = true,
                    None => away.fill(true),
                },
                Event::Comes { empty, first } => {
                    away.fill(false);
                    let in_turn = || gateways.iter().cycle().skip(first).take(gateways.len());
                    if empty {
                        shared.0.clear();
                        in_turn().for_each(|gateway| shared.shown(gateway, now));
                    }
                    in_turn().for_each(|gateway| shared.told(gateway, now));
                    let limit = check.policy.limit;
                    if !matches!(limit, Limit::TokenBucket(_)) {
                        let since = now.as_micros().saturating_sub(WINDOW_US);
                        let lives = |at: &&u64| match limit {
                            Limit::Calendar(_) => period_of(&plan, **at) == limit.parameters(),
                            _ => **at > since,
                        };
                        let live = admitted.iter().filter(lives).count() as u64;
                        let used = shared.used(&check, now);
                        prop_assert!(used >= live.min(limit.units()), "{used} of {live}");
                    }
                }
            }
        }
        prop_assert!(within_limit(&plan, &admitted, count * cost, 2));
        if !alone {
            prop_assert!(within_limit(&plan, &admitted, 1, 1));
        }
    }
}

#[test]
fn a_share_is_one_of_what_was_left() {
    for limit in tens() {
        let (mut shared, gateways, (_policy, check)) =
            (Shared::default(), gateways(2), one(limit, 1));
        for _ in 0..6 {
            let (_, standing) = shared.decide(&check, START);
            gateways[0].learn(std::slice::from_ref(&check), &[standing], START);
        }
        assert_eq!(admit_all(&gateways[0], &check, START, 2), 2, "half of the four that were left");
        assert_eq!(admit_all(&gateways[1], &check, START, 2), 5, "it knows nothing of this client");
    }
}

#[test]
fn more_gateways_than_quota_admit_one_each() {
    let day = calendar(2, PERIOD_S[0], PERIOD_S[1]);
    for limit in [sliding_window(2, WINDOW_US, 64), token_bucket(2, WINDOW_US, 2), day] {
        let (gateways, (_policy, check)) = (gateways(5), one(limit, 1));
        for gateway in &gateways {
            assert_eq!(admit_all(gateway, &check, START, 5), 1);
        }
    }
}

#[test]
fn a_cost_above_the_share_is_admitted_when_nothing_is_used() {
    let calendar = Plan::Periods { quota: 10, length_s: WINDOW_S, from_s: 0 };
    let limits = [sliding_window(10, WINDOW_US, 64), token_bucket(10, WINDOW_US, 10)];
    for plan in limits.map(Plan::from).into_iter().chain([calendar]) {
        let gateway = LocalStore::new(MEMORY, true);
        assert_eq!(admit_all(&gateway, &ask(&plan, 8, START), START, 4), 1);
        let later = START.after(Micros::new(WINDOW_US * 4 + WINDOW_US / 32));
        let check = ask(&plan, 8, later);
        assert_eq!(admit_all(&gateway, &check, later, 4), 1, "not locked out for good");
    }
}

#[test]
fn a_store_that_came_back_empty_grants_nothing_afresh() {
    for limit in tens() {
        let (mut shared, gateways, (_policy, check)) =
            (Shared::default(), gateways(2), one(limit, 1));
        for _ in 0..4 {
            let (_, standing) = shared.decide(&check, START);
            for gateway in &gateways {
                gateway.learn(std::slice::from_ref(&check), std::slice::from_ref(&standing), START);
            }
        }
        let locally: u64 =
            gateways.iter().map(|gateway| admit_all(gateway, &check, START, 2)).sum();
        assert_eq!(locally, 6, "what was left");
        shared.0.clear();
        for gateway in &gateways {
            shared.shown(gateway, START);
        }
        for gateway in &gateways {
            shared.told(gateway, START);
        }
        assert_eq!(shared.used(&check, START), 10);
        // And it is told once.
        for gateway in &gateways {
            assert!(known(gateway, What::Untold, START).is_empty());
        }
    }
}

#[test]
fn what_was_admitted_without_the_store_is_charged_to_it_once() {
    let limit = sliding_window(100, WINDOW_US, 64);
    let (mut shared, gateways, (_policy, check)) = (Shared::default(), gateways(2), one(limit, 1));
    let ask =
        |gateway: &LocalStore, now| gateway.decide(std::slice::from_ref(&check), now, 2)[0].allowed;
    for gateway in &gateways {
        let (_, standing) = shared.decide(&check, START);
        gateway.learn(std::slice::from_ref(&check), &[standing], START);
        assert!(ask(gateway, START) && ask(gateway, START));
    }
    // Each tells its two; one more is admitted while the first is at it.
    let charged = known(&gateways[0], What::Untold, START);
    assert!(ask(&gateways[0], START));
    for known in &charged {
        let standing = known.on_top_of(shared.0.get(&*known.key), START);
        shared.0.insert(known.key.to_string(), standing.state());
        gateways[0].confirm(known, Some(&standing.state()), START);
    }
    assert_eq!(shared.used(&check, START), 2 + 2);
    shared.told(&gateways[0], START);
    assert_eq!(shared.used(&check, START), 2 + 2 + 1);
    shared.told(&gateways[1], START);
    shared.told(&gateways[1], START);
    assert_eq!(shared.used(&check, START), 2 + 2 + 1 + 2);
}

#[test]
fn an_hour_without_the_store_stays_within_memory_and_limits() {
    const CLIENTS: usize = 500;
    let gateway = LocalStore::new(MEMORY, true);
    let policy = policy("p", sliding_window(10, 60_000_000, 64), Mode::Enforce);
    let checks: Vec<Check> =
        (0..CLIENTS).map(|c| check("k", &format!("s{c}"), &policy, 1)).collect();
    let (mut now, mut admitted) = (START, vec![Vec::new(); CLIENTS]);
    // A hundred requests a second.
    for turn in 0..360_000 {
        now = now.after(Micros::new(10_000));
        let client = turn * 7 % CLIENTS;
        if gateway.decide(&checks[client..=client], now, 2)[0].allowed {
            admitted[client].push(now.as_micros());
        }
    }
    assert!(gateway.len() <= CLIENTS);
    for times in admitted {
        assert_eq!(most_within(&times, 60_000_000), 5, "half the quota, in every minute");
    }
}
