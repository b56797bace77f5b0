//! What a property over ordinary histories does not meet: late answers, stepped clocks, other
//! numbers of gateways, costs and quotas at their bounds, full sets.

use sluicegate::limit::sliding_window::{Log, Record};
use sluicegate::limit::{Check, Micros, Mode, State, Timestamp};
use sluicegate::store::local::{LocalStore, What};

use super::{EVERYTHING, MEMORY, START, WINDOW_US, admit_all, known, one};
use crate::support::policies::{check, policy, sliding_window, token_bucket};

fn at(us: u64) -> Timestamp {
    START.after(Micros::new(us))
}

#[test]
fn learned_states_stay_within_memory() {
    const SMALL: usize = 8 << 20;
    const TICKS: u64 = 240;
    let gateway = LocalStore::new(SMALL, true);
    let policy = policy("p", sliding_window(100_000_000, WINDOW_US, TICKS), Mode::Enforce);
    let checks: Vec<Check> =
        (0..12_000).map(|client| check("k", &format!("s{client}"), &policy, 1)).collect();
    let (now, tick) = (at(WINDOW_US), WINDOW_US.div_ceil(TICKS));
    let present = now.as_micros().div_ceil(tick);
    let learn = |ticks: u64| {
        let record = |age| Record { index: present - age, units: 100_000 };
        let log =
            State::SlidingWindow(Log { tick, records: (0..ticks).rev().map(record).collect() });
        let standing = policy.limit.read(Some(&log), now);
        for check in &checks {
            gateway.learn(std::slice::from_ref(check), std::slice::from_ref(&standing), now);
        }
    };
    learn(1);
    assert!(gateway.len() > 10_000, "they all fit");
    learn(TICKS - 2);
    let bytes: usize = known(&gateway, EVERYTHING, now)
        .iter()
        .map(|known| 64 + known.key.len() + known.seen_bytes().len())
        .sum();
    assert!(bytes <= SMALL, "{bytes} bytes of {SMALL}");
    assert!(gateway.len() > 2_000, "{} states: the table is in use", gateway.len());
}

#[test]
fn a_late_answer_does_not_undo_what_was_told() {
    let (policy, check) = one(sliding_window(10, WINDOW_US, 64), 1);
    let gateway = LocalStore::new(MEMORY, true);
    let mut old = policy.limit.read(None, at(1_000));
    old.charge(1);
    gateway.learn(std::slice::from_ref(&check), std::slice::from_ref(&old), at(0));
    old.charge(1);
    assert!((0..4).all(|_| gateway.decide(std::slice::from_ref(&check), at(2_000), 1)[0].allowed));
    let charged = known(&gateway, What::Untold, at(3_000)).pop().expect("a key");
    assert_eq!(charged.on_top_of(Some(&old.state()), at(3_000)).remaining(), 4);
    let told = charged.on_top_of(Some(&old.state()), at(3_000)).state();
    gateway.confirm(&charged, Some(&told), at(3_000));
    gateway.learn(std::slice::from_ref(&check), &[old], at(1_000));
    let seen = known(&gateway, EVERYTHING, at(4_000)).pop().expect("a key");
    assert!(seen.seen_beside(None, at(4_000)).remaining() == 4, "six are known to be used");
}

#[test]
fn a_very_late_answer_is_not_believed() {
    let (policy, check) = one(sliding_window(10, WINDOW_US, 64), 1);
    let gateway = LocalStore::new(MEMORY, true);
    let mut early = policy.limit.read(None, START);
    early.charge(1);
    let later = at(1_500_000);
    let mut late = policy.limit.read(Some(&early.state()), later);
    late.charge(9);
    gateway.learn(std::slice::from_ref(&check), &[late], later);
    gateway.learn(std::slice::from_ref(&check), &[early], START);
    assert!(!gateway.decide(std::slice::from_ref(&check), later, 1)[0].allowed);
}

#[test]
fn a_step_of_the_clock_charges_nothing_twice() {
    let (policy, check) = one(sliding_window(100, WINDOW_US, 64), 1);
    let gateway = LocalStore::new(MEMORY, true);
    let mut shared = policy.limit.read(None, at(2_000_000));
    shared.charge(50);
    gateway.learn(std::slice::from_ref(&check), std::slice::from_ref(&shared), at(2_000_000));
    // A failover to a clock two seconds behind.
    assert!(gateway.decide(std::slice::from_ref(&check), START, 1)[0].allowed);
    let charged = known(&gateway, What::Untold, at(1_000_000)).pop().expect("a key");
    assert_eq!(charged.on_top_of(Some(&shared.state()), at(1_000_000)).remaining(), 49);
}

#[test]
fn a_share_follows_the_count_once_the_state_has_run_down() {
    for limit in [sliding_window(10, WINDOW_US, 64), token_bucket(10, WINDOW_US, 10)] {
        let (_policy, check) = one(limit, 1);
        let gateway = LocalStore::new(MEMORY, true);
        assert_eq!(admit_all(&gateway, &check, START, 1), 10);
        assert_eq!(admit_all(&gateway, &check, at(3 * WINDOW_US), 5), 2, "a fifth of ten");
        let charged = known(&gateway, What::Untold, at(3 * WINDOW_US)).pop().expect("a key");
        assert_eq!(charged.on_top_of(None, at(3 * WINDOW_US)).remaining(), 8);
    }
}

#[test]
fn charges_are_told_in_full_whatever_their_size() {
    let large = 1_000_000_000_000;
    for (quota, cost, among) in [(large, large / 2, 10), (large / 1_000, 900, 1)] {
        for limit in [sliding_window(quota, WINDOW_US, 64), token_bucket(quota, WINDOW_US, quota)] {
            let (_policy, check) = one(limit, cost);
            let gateway = LocalStore::new(MEMORY, true);
            assert!(gateway.decide(std::slice::from_ref(&check), START, among)[0].allowed);
            let charged = known(&gateway, What::Untold, START).pop().expect("a key");
            assert_eq!(charged.on_top_of(None, START).remaining(), quota - cost, "{limit:?}");
        }
    }
}

#[test]
fn a_changed_window_charges_nothing_twice() {
    let (before, _) = one(sliding_window(100, WINDOW_US, 64), 1);
    let mut shared = before.limit.read(None, START);
    shared.charge(50);
    let gateway = LocalStore::new(MEMORY, true);
    let mut now = START;
    gateway.learn(&[check("k", "s", &before, 1)], &[shared.clone()], now);
    for (window, ticks) in [(WINDOW_US, 17), (2 * WINDOW_US, 240), (WINDOW_US, 64)] {
        now = now.after(Micros::new(100_000));
        let policy = policy("p", sliding_window(100, window, ticks), Mode::Enforce);
        assert!(gateway.decide(&[check("k", "s", &policy, 1)], now, 1)[0].allowed);
    }
    let charged = known(&gateway, What::Untold, now).pop().expect("a key");
    assert_eq!(charged.charged(now).remaining(), 97, "three were charged");
}
