//! Bans in virtual time: the script on a real Redis and the core give the same, whatever happens,
//! and both what a model gives that counts denials one by one.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Value;
use sluicegate::limit::{Check, Decision, Limit, Micros, Mode, Standing, State, Timestamp};
use sluicegate::store::denials::Sum;
use sluicegate::store::local::{Known, LocalStore, What};
use sluicegate::store::script::{
    Call, Now, PENALIZE_SOURCE, PenalizeCall, Penalized, RESTORE_SOURCE, SOURCE, restore, restored,
};

use crate::support::policies::{ban, check, policy};
use crate::support::redis::RedisServer;

const START: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);
const SECOND: u64 = 1_000_000;
const HISTORIES: u32 = 150;
const MEMORY: usize = 64 << 20;

/// Some time passes, perhaps the penalty changes, and then denials are told.
#[derive(Clone, Debug)]
struct Step {
    advance_us: i64,
    reload: bool,
    denials: Vec<u64>,
}

fn bans() -> impl Strategy<Value = Limit> {
    let span = || prop_oneof![Just(SECOND), SECOND..20 * SECOND, Just(3_600 * SECOND)];
    let denials = prop_oneof![4 => 1_u64..20, 1 => Just(20_000_000)];
    (denials, span(), span(), span()).prop_map(|(denials, within, first, longest)| {
        ban(denials, [within, first.min(longest), longest])
    })
}

fn steps(backwards: bool) -> impl Strategy<Value = Vec<Step>> {
    let back = if backwards { -90_000_000_i64..0 } else { 0..1 };
    let advance = prop_oneof![
        6 => 900_000_i64..1_100_000,
        3 => 0_i64..30_000_000,
        1 => 0_i64..8_000_000_000,
        1 => back,
    ];
    let count = prop_oneof![3 => Just(0_u64), 5 => 1_u64..8, 1 => 0_u64..30_000_000];
    let step = (advance, prop::bool::weighted(0.03), prop::collection::vec(count, 3));
    let step = step.prop_map(|(advance_us, reload, denials)| Step { advance_us, reload, denials });
    prop::collection::vec(step, 40..80)
}

/// What is told of three subjects: of some of them nothing.
fn sums(prefix: &str, limit: Limit, denials: &[u64]) -> Vec<Sum> {
    let policy = policy("p", limit, Mode::Enforce);
    let each = denials.iter().enumerate().filter(|(_, denials)| **denials > 0);
    let sum = |(subject, denials): (usize, &u64)| Sum {
        ban: check(prefix, &format!("s{subject}"), &policy, 1),
        denials: *denials,
    };
    each.map(sum).collect()
}

/// The state, whether somebody may pass, and the two times that can be told of it.
fn view(standing: &Standing) -> (State, bool, Micros, Micros) {
    let (reset, empty) = (standing.reset_after(), standing.empty_after());
    (standing.state(), standing.has_room(1), reset, empty)
}

fn penalize(connection: &mut redis::Connection, sums: &[Sum], now: Timestamp) -> Penalized {
    let call = PenalizeCall::new(sums);
    let command = call.command("EVAL", PENALIZE_SOURCE, Now::Given(now));
    let reply: Value = command.query(connection).expect("the script runs");
    call.answer(&reply).expect("it is well formed")
}

/// A request that asks about the bans alone.
fn decide(connection: &mut redis::Connection, bans: &[Check], now: Timestamp) -> Vec<Decision> {
    let requests = [bans];
    let call = Call::new(&requests);
    let command = call.command("EVAL", SOURCE, Now::Given(now));
    let reply: Value = command.query(connection).expect("the script runs");
    call.answer(&reply).expect("script and core find the same rooms").decisions.remove(0)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn script_and_core_penalize_alike() {
    let server = RedisServer::start();
    let connection = RefCell::new(server.connect());
    let (turn, told, begun, refused) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let history = (bans(), bans(), steps(true));
    runner(HISTORIES)
        .run(&history, |(before, after, steps)| {
            turn.set(turn.get() + 1);
            let prefix = format!("h{}", turn.get());
            let local = LocalStore::new(MEMORY, false);
            let (mut now, mut limit) = (START.as_micros(), before);
            for step in steps {
                now = now.saturating_add_signed(step.advance_us).max(START.as_micros());
                limit = if step.reload { after } else { limit };
                let at = Timestamp::from_micros(now);
                let connection = &mut *connection.borrow_mut();
                let sums = sums(&prefix, limit, &step.denials);
                if sums.is_empty() {
                    continue;
                }
                let there = penalize(connection, &sums, at);
                let here = local.penalize(&sums, at);
                let views = |answer: &Penalized| -> Vec<_> {
                    answer.standings.iter().map(view).zip(answer.begun.clone()).collect()
                };
                prop_assert_eq!(views(&there), views(&here));
                let bans = Sum::bans(&sums);
                let decisions = decide(connection, &bans, at);
                prop_assert_eq!(&decisions, &local.decide(&bans, at, 3));
                told.set(told.get() + sums.len());
                begun.set(begun.get() + there.begun.iter().filter(|begun| **begun).count());
                refused.set(refused.get() + decisions.iter().filter(|d| !d.allowed).count());
            }
            Ok(())
        })
        .unwrap();
    let (told, begun, refused) = (told.get(), begun.get(), refused.get());
    println!("{told} sums told, {begun} bans begun, {refused} refusals");
    assert!(told > 10_000 && begun > told / 50 && refused > begun, "{told} {begun} {refused}");
}

/// What one key was told of since its last ban, and that ban.
#[derive(Default)]
struct Model {
    denials: Vec<(u64, u64)>,
    until: u64,
    level: u32,
}

impl Model {
    /// The most denials in the present window, and in one that is longer by `tick`, with `denials`
    /// more at `now`; nothing while a ban lasts.
    fn count(&mut self, now: u64, denials: u64, within: u64, tick: u64) -> Option<[u64; 2]> {
        if now < self.until {
            return None;
        }
        self.denials.push((now, denials));
        let since = |from: u64| -> u64 {
            self.denials.iter().filter(|(at, _)| *at > from).map(|(_, denials)| denials).sum()
        };
        Some([since(now - within), since(now - within - tick)])
    }

    /// A ban begins: how long it is to last.
    fn ban(&mut self, now: u64, first: u64, longest: u64) -> u64 {
        let forgotten = self.level == 0 || self.until + longest <= now;
        self.level = if forgotten { 1 } else { self.level + 1 };
        let lasts = (1..self.level).fold(first, |lasts, _| (2 * lasts).min(longest));
        self.until = now + lasts;
        self.denials.clear();
        lasts
    }
}

#[test]
fn a_ban_begins_with_so_many_denials_in_any_window_and_with_no_fewer() {
    let (bans_begun, late) = (Cell::new(0), Cell::new(0));
    runner(4 * HISTORIES)
        .run(&(bans(), steps(false)), |(limit, steps)| {
            let Limit::Ban(terms) = limit else { unreachable!("it is one") };
            let quota = terms.watch().quota();
            let (most, within) = (quota.units(), quota.window().get());
            let [first, longest] = [terms.first(), terms.longest()].map(Micros::get);
            let tick = terms.watch().parameters()[2];
            let local = LocalStore::new(1, false);
            let (mut model, mut now) = (Model::default(), START.as_micros());
            for step in steps {
                now = now.saturating_add_signed(step.advance_us);
                let sums = sums("m", limit, &step.denials[..1]);
                let Some(denials) = sums.first().map(|sum| sum.denials) else { continue };
                let answer = local.penalize(&sums, Timestamp::from_micros(now));
                let counted = model.count(now, denials, within, tick);
                let least = counted.is_some_and(|[least, _]| least >= most);
                let most = counted.is_some_and(|[_, longer]| longer >= most);
                prop_assert!(!least || answer.begun[0], "so many denials and no ban");
                prop_assert!(most || !answer.begun[0], "a ban for too few denials");
                late.set(late.get() + u32::from(least != answer.begun[0]));
                if answer.begun[0] {
                    let lasts = model.ban(now, first, longest);
                    prop_assert_eq!(answer.standings[0].reset_after(), Micros::new(lasts));
                    bans_begun.set(bans_begun.get() + 1);
                }
                let banned = !answer.standings[0].has_room(1);
                prop_assert_eq!(banned, now < model.until);
            }
            Ok(())
        })
        .unwrap();
    println!("{} bans, {} of them by the tick", bans_begun.get(), late.get());
    assert!(bans_begun.get() > 1_000);
}

const DOUBLING_S: [u64; 5] = [1, 2, 4, 5, 5];

/// Three denials are a ban; five in a row, each right after the one before. Returns the end of the
/// last.
fn banned_five_times(
    limit: Limit,
    mut penalize: impl FnMut(&[Sum], Timestamp) -> Penalized,
) -> Timestamp {
    let (mut now, sums) = (START, sums("d", limit, &[3]));
    for (number, lasts_s) in DOUBLING_S.into_iter().enumerate() {
        let answer = penalize(&sums, now);
        let lasts = Micros::new(lasts_s * SECOND);
        let (state, free, wait, _) = view(&answer.standings[0]);
        assert_eq!((free, wait), (false, lasts), "ban {number}");
        let State::Ban(sentence) = state else { panic!("{state:?}") };
        assert_eq!(sentence.level as usize, number + 1);
        now = now.after(lasts);
        // Denials during a ban change nothing, up to its last moment.
        assert!(!penalize(&sums, now.before(Micros::new(1))).begun[0]);
    }
    now
}

#[test]
fn a_ban_doubles_up_to_the_longest_ends_by_itself_and_is_forgotten() {
    let server = RedisServer::start();
    let connection = &mut server.connect();
    let limit = ban(3, [10 * SECOND, SECOND, 5 * SECOND]);
    let bans = Sum::bans(&sums("d", limit, &[3]));
    for (later, level) in [(5 * SECOND - 1, 6), (5 * SECOND, 1)] {
        redis::cmd("FLUSHALL").exec(connection).expect("it forgets");
        let end = banned_five_times(limit, |sums, now| penalize(connection, sums, now));
        assert!(!decide(connection, &bans, end.before(Micros::new(1)))[0].allowed);
        assert!(decide(connection, &bans, end)[0].allowed, "it ends by itself");
        // Those that brought the ban have been forgotten with it.
        assert!(!penalize(connection, &sums("d", limit, &[2]), end).begun[0]);
        let at = end.after(Micros::new(later));
        let local = LocalStore::new(MEMORY, false);
        banned_five_times(limit, |sums, now| local.penalize(sums, now));
        for answer in [
            penalize(connection, &sums("d", limit, &[3]), at),
            local.penalize(&sums("d", limit, &[3]), at),
        ] {
            let State::Ban(sentence) = answer.standings[0].state() else { panic!("{answer:?}") };
            assert_eq!(sentence.level, level, "{later} us after the end of the last one");
        }
    }
}

#[test]
fn a_clock_that_steps_back_and_a_lowered_maximum_lock_nobody_out() {
    let server = RedisServer::start();
    let connection = &mut server.connect();
    let hour = ban(1, [SECOND, 3_600 * SECOND, 3_600 * SECOND]);
    let told = sums("c", hour, &[1]);
    penalize(connection, &told, START);
    let key = told[0].ban.key.as_str();
    let stored = |connection: &mut redis::Connection| -> String {
        redis::cmd("GET").arg(key).query(connection).expect("it is there")
    };
    // An hour ahead of a clock that was set back by a day is an hour ahead of it.
    let back = START.before(Micros::new(86_400 * SECOND));
    decide(connection, &Sum::bans(&told), back);
    let end = back.as_micros() + 3_600 * SECOND;
    assert_eq!(stored(connection), format!("{end}:1"), "written although it denies");
    let minute = sums("c", ban(1, [SECOND, SECOND, 60 * SECOND]), &[1]);
    let wait = penalize(connection, &minute, back).standings[0].reset_after();
    assert_eq!(wait, Micros::new(60 * SECOND));
    decide(connection, &Sum::bans(&minute), back);
    assert_eq!(stored(connection), format!("{}:1", back.as_micros() + 60 * SECOND));
}

#[test]
fn a_value_that_is_not_ours_is_no_ban() {
    let server = RedisServer::start();
    let connection = &mut server.connect();
    let limit = ban(2, [SECOND, SECOND, 4_000_000_000 * SECOND]);
    let told = sums("f", limit, &[1]);
    let key = told[0].ban.key.as_str();
    let until = START.as_micros() + SECOND;
    let foreign = [
        String::new(),
        "x".to_owned(),
        until.to_string(),
        format!("{until}:"),
        format!(":{until}"),
        format!("{until}:0"),
        format!("{until}:65"),
        format!("{until}:+1"),
        format!("{until}:1 "),
        format!("{until}:1.0"),
        format!("{until}:1:1"),
        format!("-{until}:1"),
        format!("{until}:0001"),
        format!("0{until}:1 "),
        "9007199254740992:1".to_owned(),
        "9007199254740993:1".to_owned(),
        format!("{until}:\u{661}"),
    ];
    let set = |connection: &mut redis::Connection, value: &str| {
        redis::cmd("SET").arg(key).arg(value).exec(connection).expect("it is written");
    };
    for value in foreign {
        set(connection, &value);
        assert!(decide(connection, &Sum::bans(&told), START)[0].allowed, "{value}");
        let answer = penalize(connection, &sums("f", limit, &[2]), START);
        let State::Ban(sentence) = answer.standings[0].state() else { panic!("{answer:?}") };
        assert_eq!((answer.begun[0], sentence.level), (true, 1), "{value}");
    }
    for value in [format!("{until}:1"), format!("0{until}:1"), format!("{until}:64")] {
        set(connection, &value);
        assert!(!decide(connection, &Sum::bans(&told), START)[0].allowed, "{value}");
    }
}

/// What Redis holds of the ban after it was told of `known`, and what it should.
fn restored_as(
    connection: &mut redis::Connection,
    known: &[Known],
    number: u64,
    now: Timestamp,
) -> Vec<[Standing; 2]> {
    let keys: Vec<&str> = known.iter().map(|known| known.key.as_ref()).collect();
    let held: Vec<Value> = redis::cmd("MGET").arg(&keys).query(connection).expect("it answers");
    let clock = (Now::Given(now), now);
    let reply: Value = restore("EVAL", RESTORE_SOURCE, "record", number, known, clock)
        .query(connection)
        .expect("the script runs");
    let (_, states) = restored(known, &reply).expect("it is well formed");
    // What was held is read as the reply is.
    let before = Value::Array([vec![Value::Int(0)], held].concat());
    let (_, before) = restored(known, &before).expect("it is well formed");
    let each = known.iter().zip(states).zip(before);
    each.map(|((known, state), before)| {
        [known.policy.limit.read(state.as_ref(), now), known.on_top_of(before.as_ref(), now)]
    })
    .collect()
}

#[test]
fn redis_is_told_of_bans_as_the_core_works_them_out() {
    let server = RedisServer::start();
    let connection = RefCell::new(server.connect());
    let turn = Cell::new(0_u64);
    let told = Cell::new(0);
    let some = || prop::collection::vec((0_u64..5_000_000, 1_u64..6), 0..6);
    let history = (bans(), some(), some(), some(), prop::bool::weighted(0.3));
    runner(2 * HISTORIES)
        .run(&history, |(limit, both, theirs, own, lost)| {
            turn.set(turn.get() + 1);
            let connection = &mut *connection.borrow_mut();
            let prefix = format!("r{}", turn.get());
            let gateway = LocalStore::new(1, true);
            let mut now = START;
            let mut pass = |pause: u64| {
                now = now.after(Micros::new(pause));
                now
            };
            for (pause, denials) in both {
                let sums = sums(&prefix, limit, &[denials]);
                let answer = penalize(connection, &sums, pass(pause));
                gateway.learn(&Sum::bans(&sums), &answer.standings, answer.now);
            }
            for (pause, denials) in theirs {
                penalize(connection, &sums(&prefix, limit, &[denials]), pass(pause));
            }
            for (pause, denials) in own {
                gateway.penalize(&sums(&prefix, limit, &[denials]), pass(pause));
            }
            let now = pass(0);
            if lost {
                redis::cmd("FLUSHALL").exec(connection).expect("it forgets");
            }
            let here = gateway.decide(&Sum::bans(&sums(&prefix, limit, &[1])), now, 2);
            let known =
                gateway.known(0, What::Seen { since: Timestamp::EPOCH }, now, |_| true).known;
            if !known.is_empty() {
                let all = restored_as(connection, &known, turn.get(), now);
                for [there, expected] in &all {
                    prop_assert_eq!(view(there), view(expected));
                }
                told.set(told.get() + 1);
            }
            // Whom this gateway refuses, all do now.
            let there = decide(connection, &Sum::bans(&sums(&prefix, limit, &[1])), now);
            prop_assert!(here[0].allowed || there[0].retry >= here[0].retry);
            Ok(())
        })
        .unwrap();
    assert!(told.get() > HISTORIES / 2, "{} times told", told.get());
}
