//! What requests turned out to cost: Redis, the local store and the core settle alike, and nothing
//! is given back that the true cost, taken at once, would not have left.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Value;
use sluicegate::limit::{Check, Limit, Micros, Mode, Settlement, Timestamp, quota};
use sluicegate::store::local::LocalStore;
use sluicegate::store::script::{Call, Now, QUOTAS_SOURCE, SETTLE_SOURCE, SettleCall};

use super::{HISTORIES, START_US, plans};
use crate::support::policies::{Plan, calendar, check, policy, sliding_window, token_bucket};
use crate::support::redis::RedisServer;

/// A request after some time, and what it turns out to cost when so many others have come.
#[derive(Clone, Debug)]
struct Request {
    pause_us: u64,
    taken: u64,
    cost: u64,
    later: usize,
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let pause = prop_oneof![4 => 0_u64..2_000, 4 => 0_u64..3_000_000, 1 => 0_u64..90_000_000];
    let units = || prop_oneof![6 => 0_u64..8, 2 => 0_u64..100, 1 => 0_u64..100_000];
    let request =
        (pause, units(), units(), 0_usize..6).prop_map(|(pause_us, taken, cost, later)| Request {
            pause_us,
            taken: taken.max(1),
            cost,
            later,
        });
    prop::collection::vec(request, 20..50)
}

/// One key in Redis and in a local store.
struct Both<'a> {
    connection: &'a RefCell<redis::Connection>,
    local: LocalStore,
    prefix: String,
    plan: Plan,
    now: Timestamp,
}

impl Both<'_> {
    fn check(&self, cost: u64) -> Check {
        check(&self.prefix, "s", &policy("p", self.plan.at(self.now), Mode::Enforce), cost)
    }

    /// What was taken by both, if it was.
    fn ask(&self, cost: u64) -> Option<Settlement> {
        let check = self.check(cost);
        let requests = [std::slice::from_ref(&check)];
        let call = Call::new(&requests);
        let command = call.command("EVAL", QUOTAS_SOURCE, Now::Given(self.now));
        let reply: Value = command.query(&mut *self.connection.borrow_mut()).expect("it runs");
        let shared = call.answer(&reply).expect("it is well formed").decisions[0][0];
        let here = self.local.decide(std::slice::from_ref(&check), self.now, 1)[0];
        assert_eq!(shared, here, "{check:?}");
        shared.receipt.map(|receipt| Settlement { check, receipt, cost })
    }

    fn settle(&self, settlement: &Settlement) {
        let call = SettleCall::new(std::slice::from_ref(settlement));
        let command = call.command("EVAL", SETTLE_SOURCE, Now::Given(self.now));
        let reply: Value = command.query(&mut *self.connection.borrow_mut()).expect("it runs");
        let (now, told) = call.standings(&reply).expect("it is well formed");
        assert_eq!(now, self.now);
        self.local.settle(settlement, self.now, 1);
        let told = &told[0];
        let key = settlement.check.key.as_str();
        // A key with nothing left in it has a millisecond at most.
        let ttl: i64 =
            redis::cmd("PTTL").arg(key).query(&mut *self.connection.borrow_mut()).unwrap();
        assert_eq!(ttl > 1, told.says_anything(), "every key has a time to live, or is gone");
    }
}

/// Runs `settled` for every history of requests whose costs are settled later, in any order.
fn histories(cases: u32, settled: impl Fn(Plan, Vec<Request>)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&(plans(), requests()), |(plan, requests)| {
        settled(plan, requests);
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn redis_settles_as_the_core_does() {
    let server = RedisServer::start();
    let connection = RefCell::new(server.connect());
    let (turn, charged, given_back) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(0_u64));
    let add = |count: &Cell<u64>| count.set(count.get() + 1);
    histories(HISTORIES, |plan, requests| {
        add(&turn);
        let mut both = Both {
            connection: &connection,
            local: LocalStore::new(1, false),
            prefix: format!("e{}", turn.get()),
            plan,
            now: Timestamp::from_micros(START_US),
        };
        let mut open: Vec<(usize, Settlement)> = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            both.now = both.now.after(Micros::new(request.pause_us));
            if let Some(settlement) = both.ask(request.taken) {
                let settlement = Settlement { cost: request.cost, ..settlement };
                open.push((number + request.later, settlement));
            }
            let (due, rest): (Vec<_>, _) = open.into_iter().partition(|(at, _)| *at <= number);
            open = rest;
            let differing = due.iter().map(|(_, one): &(usize, Settlement)| one);
            for settlement in differing.filter(|one| one.adjustment().is_some()) {
                add(if settlement.cost > settlement.check.cost { &charged } else { &given_back });
                both.settle(settlement);
            }
            // What never fits shows how the key stands, and changes nothing.
            both.ask(quota::UNITS_MAX);
        }
    });
    assert!(charged.get() > 500 && given_back.get() > 500, "{charged:?} {given_back:?}");
}

/// What is given back leaves no more than if the true cost had been taken at once; in a
/// sliding window and in a calendar it leaves exactly that.
#[test]
fn nothing_is_given_back_that_the_true_cost_would_not_have_left() {
    let (settled, exact) = (Cell::new(0_u64), Cell::new(0_u64));
    histories(4 * HISTORIES, |plan, requests| {
        let (mut now, mut stored, mut true_state) = (Timestamp::from_micros(START_US), None, None);
        let mut open: Vec<(usize, Settlement)> = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            now = now.after(Micros::new(request.pause_us));
            let limit = plan.at(now);
            let cost = request.cost.min(request.taken);
            let mut standing = limit.read(stored.as_ref(), now);
            let mut truth = limit.read(true_state.as_ref(), now);
            if standing.has_room(request.taken) {
                let check = check("k", "s", &policy("p", limit, Mode::Enforce), request.taken);
                let receipt = standing.charge(request.taken);
                truth.charge(cost);
                open.push((number + request.later, Settlement { check, receipt, cost }));
            }
            let (due, rest): (Vec<_>, _) = open.into_iter().partition(|(at, _)| *at <= number);
            open = rest;
            for adjustment in due.iter().filter_map(|(_, settlement)| settlement.adjustment()) {
                standing.adjust(&adjustment);
                settled.set(settled.get() + 1);
            }
            assert!(standing.remaining() <= truth.remaining(), "{plan:?} {request:?}");
            if open.is_empty() && !matches!(limit, Limit::TokenBucket(_)) {
                assert_eq!(standing.remaining(), truth.remaining(), "{plan:?} {request:?}");
                exact.set(exact.get() + 1);
            }
            stored = Some(standing.state());
            true_state = Some(truth.state());
        }
    });
    assert!(settled.get() > 5_000 && exact.get() > 500, "{settled:?} {exact:?}");
}

/// A bucket that pays its debts off meanwhile gives back what is not paid off yet.
#[test]
fn what_a_bucket_has_paid_off_is_not_given_back() {
    let limit = token_bucket(10, 10_000_000, 10);
    let start = Timestamp::from_micros(START_US);
    let mut standing = limit.read(None, start);
    let check = check("k", "s", &policy("p", limit, Mode::Enforce), 6);
    let receipt = standing.charge(6);
    let settlement = Settlement { check, receipt, cost: 0 };
    let adjustment = settlement.adjustment().expect("less than was taken");
    let after = |seconds: u64, more: u64| {
        let later = start.after(Micros::new(seconds * 1_000_000));
        let mut standing = limit.read(Some(&standing.state()), later);
        standing.charge(more);
        standing.adjust(&adjustment);
        standing.remaining()
    };
    assert_eq!(after(0, 0), 10, "all of it at once");
    assert_eq!(after(2, 0), 10, "four of six are unpaid, and they are all that is owed");
    assert_eq!(after(2, 3), 7, "what came later stays");
    assert_eq!(after(7, 5), 5, "nothing of it is unpaid");
}

/// The second of two charges is not unpaid for longer because the first was ahead of it: that one
/// may have been given back.
#[test]
fn a_bucket_gives_two_charges_back_in_any_order() {
    let limit = token_bucket(10, 10_000_000, 10);
    let at = |seconds: u64| Timestamp::from_micros(START_US + seconds * 1_000_000);
    let settlement = |receipt| {
        let check = check("k", "s", &policy("p", limit, Mode::Enforce), 3);
        Settlement { check, receipt, cost: 0 }.adjustment().expect("less than was taken")
    };
    let mut standing = limit.read(None, at(0));
    let (first, second) = (settlement(standing.charge(3)), settlement(standing.charge(3)));
    standing.adjust(&first);
    let mut standing = limit.read(Some(&standing.state()), at(3));
    assert_eq!(standing.remaining(), 10, "the second is paid off");
    standing.charge(3);
    standing.adjust(&second);
    assert_eq!(standing.remaining(), 7, "it is not paid for by what came later");
}

#[test]
fn units_go_back_to_where_they_were_counted() {
    let at = |seconds: u64| Timestamp::from_micros(START_US + seconds * 1_000_000);
    let start_s = START_US / 1_000_000;
    let cases: [(&str, [Limit; 2]); 2] = [
        ("a window", [sliding_window(5, 10_000_000, 10), sliding_window(5, 10_000_000, 10)]),
        ("a period", [calendar(5, start_s, start_s + 10), calendar(5, start_s + 10, start_s + 20)]),
    ];
    for (what, [first, second]) in cases {
        let mut standing = first.read(None, at(1));
        let check = check("k", "s", &policy("p", first, Mode::Enforce), 3);
        let settlement = Settlement { check, receipt: standing.charge(3), cost: 1 };
        let adjustment = settlement.adjustment().expect("less than was taken");
        let later = |seconds: u64, limit: Limit| {
            let mut standing = limit.read(Some(&standing.state()), at(seconds));
            standing.charge(2);
            standing.adjust(&adjustment);
            standing.remaining()
        };
        assert_eq!(later(2, first), 2, "{what}: one and two are used");
        assert_eq!(later(13, second), 3, "{what}: it is over, and two are used in the next");
    }
}
