//! The scripts on a real Redis and the pure core give the same answers, whatever happens: mixed
//! algorithms, costs, shadow policies, several requests a call, changed policies, a stepping clock.

mod settled;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Value;
use sluicegate::limit::{Check, Decision, Micros, Mode, Policy, Standing, State, Timestamp, quota};
use sluicegate::store::local::{Known, LocalStore, What};
use sluicegate::store::script::{
    Answer, Call, Now, QUOTAS_SOURCE, RESTORE_SOURCE, restore, restored,
};

use crate::support::policies::{
    Plan, calendar, calendars, check, policy, sliding_window, token_bucket,
};
use crate::support::redis::RedisServer;

const START_US: u64 = 1_763_000_000_000_000;
const SPAN_US: i64 = 7_200_000_000;
const HISTORIES: u32 = 270;
const DECISIONS_MIN: u64 = 100_000;
/// `make soak` compares so many times as much.
const SOAK_FACTOR: u32 = 20;

/// One check of a request: which of the policies, for which subject, at what cost.
#[derive(Clone, Debug)]
struct Ask {
    policy: usize,
    subject: usize,
    cost: u64,
}

/// A call after some time: requests, each with its checks; before it, perhaps, other policies. The
/// gateway takes the clock, by which it picks the period of a calendar, for so much ahead.
#[derive(Clone, Debug)]
struct Step {
    advance_us: i64,
    ahead_us: i64,
    reload: bool,
    requests: Vec<Vec<Ask>>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let quota = prop_oneof![4 => 1_u64..20, 2 => 20_u64..5_000, 1 => 5_000_u64..40_000_000].boxed();
    let window = prop_oneof![
        Just(1_000_u64),
        Just(1_000_000),
        Just(60_000_000),
        Just(3_600_000_000),
        1_000_u64..120_000_000
    ];
    let shape = prop_oneof![
        (1_u64..40).prop_map(|burst| (true, burst)),
        (1_u64..=240).prop_map(|resolution| (false, resolution)),
        Just((false, 64)),
    ];
    let limits = (quota.clone(), window, shape).prop_map(|(quota, window, (bucket, number))| {
        Plan::Always(if bucket {
            token_bucket(quota, window, number)
        } else {
            sliding_window(quota, window, number)
        })
    });
    let length = prop_oneof![Just(1), 2_u64..60, 60_u64..7_200, Just(86_400), Just(2_592_000)];
    prop_oneof![3 => limits, 2 => calendars(quota, length)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        8 => 0_i64..2_000,
        8 => 0_i64..3_000_000,
        3 => 0_i64..90_000_000,
        1 => -5_000_i64..0,
        1 => -SPAN_US..SPAN_US,
    ];
    let cost = prop_oneof![6 => Just(1_u64), 3 => 1_u64..8, 1 => 1_u64..100_000];
    let ask = (0_usize..4, 0_usize..2, cost).prop_map(|(policy, subject, cost)| Ask {
        policy,
        subject,
        cost,
    });
    let request = prop::collection::vec(ask, 1..4);
    let requests = prop::collection::vec(request, 1..4);
    let ahead =
        prop_oneof![4 => Just(0_i64), 2 => -20_000_i64..20_000, 1 => -15_000_000_i64..15_000_000];
    let step = (advance, ahead, prop::bool::weighted(0.02), requests).prop_map(
        |(advance_us, ahead_us, reload, requests)| Step { advance_us, ahead_us, reload, requests },
    );
    prop::collection::vec(step, 90..140)
}

/// The checks of a request that a gateway makes at `now`, each key once.
fn checks(prefix: &str, asks: &[Ask], plans: &[Plan], now: Timestamp) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for ask in asks {
        let mode = if ask.policy == 3 { Mode::Shadow } else { Mode::Enforce };
        // A name without the limit: after a reload the same key meets another limit.
        let policy = policy(&format!("p{}", ask.policy), plans[ask.policy].at(now), mode);
        let check = check(prefix, &format!("s{}", ask.subject), &policy, ask.cost);
        if checks.iter().all(|other| other.key != check.key) {
            checks.push(check);
        }
    }
    checks
}

#[test]
fn scripts_and_core_decide_alike() {
    let server = RedisServer::start();
    let mut connection = server.connect();
    let hash: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(QUOTAS_SOURCE).query(&mut connection).unwrap();
    let connection = RefCell::new(connection);
    let counts = RefCell::new((0_u64, 0_u64, 0_u64));
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let cases = if soak { SOAK_FACTOR * HISTORIES } else { HISTORIES };
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let before = prop::collection::vec(plans(), 4);
    let after = prop::collection::vec(plans(), 4);
    runner
        .run(&(before, after, steps()), |(before, after, steps)| {
            let (calls, ..) = *counts.borrow();
            let prefix = format!("h{calls}");
            let local = LocalStore::new(64 << 20, false);
            let (mut now, mut plans) = (START_US, &before);
            for step in steps {
                now = now.saturating_add_signed(step.advance_us).max(START_US);
                plans = if step.reload { &after } else { plans };
                let at = Timestamp::from_micros(now);
                let believed = at.moved(step.ahead_us);
                let of = |asks: &Vec<Ask>| checks(&prefix, asks, plans, believed);
                let requests: Vec<Vec<Check>> = step.requests.iter().map(of).collect();
                let slices: Vec<&[Check]> = requests.iter().map(Vec::as_slice).collect();
                let call = Call::new(&slices);
                let reply: Value = call
                    .command("EVALSHA", &hash, Now::Given(at))
                    .query(&mut *connection.borrow_mut())
                    .expect("the script runs");
                let shared =
                    call.answer(&reply).expect("the script's reply is well formed").decisions;
                let own: Vec<Vec<Decision>> =
                    slices.iter().map(|checks| local.decide(checks, at, 1)).collect();
                prop_assert_eq!(&shared, &own);
                let mut counts = counts.borrow_mut();
                counts.0 += 1;
                counts.1 += own.iter().flatten().count() as u64;
                counts.2 +=
                    own.iter().flatten().filter(|decision| !decision.allowed).count() as u64;
            }
            Ok(())
        })
        .unwrap();
    let (calls, decisions, denials) = counts.into_inner();
    println!("{calls} calls, {decisions} decisions, {denials} denials");
    assert!(decisions >= DECISIONS_MIN, "only {decisions} decisions compared");
    assert!(denials > decisions / 20, "only {denials} denials among {decisions} decisions");
}

/// Charges of one key: the time before each, and its cost.
fn charges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0_u64..2_000_000, 1_u64..8), 0..12)
}

/// A gateway and Redis that charge one key: first both know of it, then only Redis does, then only
/// the gateway.
struct Apart {
    connection: redis::Connection,
    plan: Plan,
    /// The gateway takes the clock, by which it picks a calendar's period, for so much ahead.
    ahead: Micros,
    prefix: String,
    gateway: LocalStore,
    now: Timestamp,
}

impl Apart {
    fn check(&self, cost: u64) -> Check {
        let limit = self.plan.at(self.now.after(self.ahead));
        check(&self.prefix, "s", &policy("p", limit, Mode::Enforce), cost)
    }

    fn ask(&mut self, checks: &[Check]) -> Answer {
        let requests = [checks];
        let call = Call::new(&requests);
        let reply: Value = call
            .command("EVAL", QUOTAS_SOURCE, Now::Given(self.now))
            .query(&mut self.connection)
            .expect("the script runs");
        call.answer(&reply).expect("it is well formed")
    }

    fn shared(&mut self, charges: &[(u64, u64)], seen: bool) {
        for (pause, cost) in charges {
            self.now = self.now.after(Micros::new(*pause));
            let checks = [self.check(*cost)];
            let answer = self.ask(&checks);
            if seen {
                self.gateway.learn(&checks, &answer.standings, answer.now);
            }
        }
    }

    fn alone(&mut self, charges: &[(u64, u64)], among: u64) {
        for (pause, cost) in charges {
            self.now = self.now.after(Micros::new(*pause));
            self.gateway.decide(&[self.check(*cost)], self.now, among);
        }
    }

    /// What Redis holds: a cost that never fits shows it and changes nothing.
    fn stored(&mut self, policy: &Arc<Policy>) -> State {
        let checks = [check(&self.prefix, "s", policy, quota::UNITS_MAX)];
        self.ask(&checks).standings[0].state()
    }

    /// What Redis holds after it was told, and what it should.
    fn tell(&mut self, number: u64, known: &[Known]) -> [Standing; 2] {
        let limit = known[0].policy.limit;
        let stored = self.stored(&known[0].policy);
        let clock = (Now::Given(self.now), self.now);
        let reply: Value = restore("EVAL", RESTORE_SOURCE, "record", number, known, clock)
            .query(&mut self.connection)
            .expect("the script runs");
        let (_, states) = restored(known, &reply).expect("it is well formed");
        let expected = known[0].on_top_of(Some(&stored), self.now);
        [limit.read(states[0].as_ref(), self.now), expected]
    }
}

#[test]
fn redis_works_out_what_the_core_does() {
    let server = RedisServer::start();
    let turn = Cell::new(0_u64);
    let mut runner = TestRunner::new(Config {
        cases: 2 * HISTORIES,
        failure_persistence: None,
        ..Config::default()
    });
    let ahead = prop_oneof![Just(0), 0_u64..5_000_000, 5_000_000_u64..15_000_000];
    let charged = (charges(), charges(), charges());
    let history = (plans(), ahead, charged, 1_u64..5, prop::bool::weighted(0.3));
    let connection = RefCell::new(Some(server.connect()));
    runner
        .run(&history, |(plan, ahead, (both, others, own), among, lost)| {
            turn.set(turn.get() + 1);
            let mut apart = Apart {
                connection: connection.take().unwrap_or_else(|| server.connect()),
                plan,
                ahead: Micros::new(ahead),
                prefix: format!("r{}", turn.get()),
                gateway: LocalStore::new(1, true),
                now: Timestamp::from_micros(START_US),
            };
            apart.shared(&both, true);
            apart.shared(&others, false);
            apart.alone(&own, among);
            if lost {
                redis::cmd("FLUSHALL").exec(&mut apart.connection).expect("it forgets");
            }
            let everything = What::Seen { since: Timestamp::EPOCH };
            let known = apart.gateway.known(0, everything, apart.now, |_| true).known;
            if !known.is_empty() {
                let [there, expected] = apart.tell(turn.get(), &known);
                let view = |standing: &Standing| {
                    (standing.remaining(), standing.reset_after(), standing.empty_after())
                };
                prop_assert_eq!(view(&there), view(&expected));
                // Sent again, it charges nothing.
                let [again, _] = apart.tell(turn.get(), &known);
                prop_assert_eq!(view(&again), view(&expected));
            }
            connection.replace(Some(apart.connection));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_value_that_is_not_ours_counts_as_none() {
    let server = RedisServer::start();
    let mut connection = server.connect();
    let now = Timestamp::from_micros(START_US);
    let foreign: [&[u8]; 31] = [
        b"",
        b"x",
        b"-5",
        b"+5",
        b"0x10",
        b"1e15",
        b" 12",
        b"nan",
        b"1.5",
        b":",
        b"12:",
        b":12",
        b"1:2:3",
        b"99999999999999999999999999999999999",
        b"\x03short",
        b"\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x05123456789012345678901234567890",
        b"\xff\xfe",
        b"1762992000:1763078400",
        b"1762992000:1763078400:",
        b":1763078400:2",
        b"1762992000:1763078400:2:2",
        b"1762992000:1763078400:2 ",
        b"1762992000:1763078400:-2",
        b"1762992000:1763078400:2.0",
        b"1762992000:1763078400:9007199254740992",
        b"1762992000:1763078400:00000000000000002",
        b"1762992000:1763078400:0",
        b"1763078400:1762992000:2",
        b"1763078400:1763078400:2",
        b"1740000000:1772000000:2",
    ];
    let day = calendar(2, 1_762_992_000, 1_763_078_400);
    for limit in [token_bucket(2, 60_000_000, 2), sliding_window(2, 60_000_000, 64), day] {
        let policy = policy("p", limit, Mode::Enforce);
        for value in foreign {
            let check = [check("f", "s", &policy, 1)];
            let key = check[0].key.as_str();
            let _: () = redis::cmd("SET").arg(key).arg(value).query(&mut connection).unwrap();
            let requests = [&check[..], &check[..], &check[..]];
            let call = Call::new(&requests);
            let reply: Value = call
                .command("EVAL", QUOTAS_SOURCE, Now::Given(now))
                .query(&mut connection)
                .unwrap();
            let decisions = call.answer(&reply).expect("script and core read it alike").decisions;
            let allowed: Vec<bool> = decisions.iter().map(|request| request[0].allowed).collect();
            assert_eq!(allowed, [true, true, false], "{}", value.escape_ascii());
        }
    }
}
