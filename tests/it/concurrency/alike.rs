//! The scripts on a real Redis and the pure core agree on permits, whatever happens to them: taken,
//! taken over, given back, renewed, forgotten, told late, ended by themselves, and clocks that step.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Value;
use sluicegate::limit::concurrency::LIFE;
use sluicegate::limit::{Check, Decision, Mode, Offer, PermitId, State, Timestamp, decision};
use sluicegate::store::script::{Call, Now, PERMITS_SOURCE, PermitsOf, SOURCE, Telling};

use crate::support::policies::{check, concurrency, policy, sliding_window};
use crate::support::redis::RedisServer;

const START_US: u64 = 1_763_000_000_000_000;
const LIFE_US: i64 = 30_000_000;
const HISTORIES: u32 = 300;
const DECISIONS_MIN: u64 = 20_000;
/// `make soak` compares so many times as much.
const SOAK_FACTOR: u32 = 20;
/// Permits that the histories speak of, of each key.
const PERMITS: u64 = 12;
const KEYS: usize = 2;

/// One request: which key it takes a permit of, which one it offers, which ones its gateway has
/// given back, and whether a rate limit asks besides.
#[derive(Clone, Debug)]
struct Ask {
    key: usize,
    offers: u64,
    freed: Vec<u64>,
    rated: bool,
}

#[derive(Clone, Debug)]
enum Event {
    /// Requests that travel together.
    Ask(Vec<Ask>),
    /// A gateway tells what it holds and what it has given back.
    Tell { key: usize, held: Vec<u64>, freed: Vec<u64> },
    /// Redis loses a key.
    Forget(usize),
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let permits = || prop::collection::vec(1..PERMITS, 0..4);
    let ask = (0..KEYS, 0..PERMITS, permits(), prop::bool::weighted(0.3))
        .prop_map(|(key, offers, freed, rated)| Ask { key, offers, freed, rated });
    let tell = (0..KEYS, permits(), permits()).prop_map(|(key, held, freed)| Event::Tell {
        key,
        held,
        freed,
    });
    let event = prop_oneof![
        8 => prop::collection::vec(ask, 1..4).prop_map(Event::Ask),
        4 => tell,
        1 => (0..KEYS).prop_map(Event::Forget),
    ];
    let advance = prop_oneof![
        8 => 0_i64..2_000_000,
        4 => 0_i64..LIFE_US,
        2 => Just(LIFE_US),
        1 => -LIFE_US..0,
        1 => -10 * LIFE_US..10 * LIFE_US,
    ];
    prop::collection::vec((advance, event), 40..80)
}

/// What Redis holds of a key: each permit with its end.
#[derive(Clone, Debug, Default)]
struct Roster(BTreeMap<u64, Timestamp>);

impl Roster {
    fn counts(ends: Timestamp, now: Timestamp) -> bool {
        ends > now && ends <= now.after(LIFE)
    }

    fn live(&self, now: Timestamp, freed: &[u64]) -> u64 {
        let live =
            |(id, ends): &(&u64, &Timestamp)| Self::counts(**ends, now) && !freed.contains(id);
        self.0.iter().filter(live).count() as u64
    }

    fn hold(&mut self, permits: &[u64], now: Timestamp) {
        if !permits.is_empty() {
            self.0.retain(|_, ends| Self::counts(*ends, now));
            self.0.extend(permits.iter().map(|id| (*id, now.after(LIFE))));
        }
    }
}

fn ids(numbers: &[u64]) -> Vec<PermitId> {
    numbers.iter().copied().map(PermitId::new).collect()
}

/// Both sides of a history.
struct Sides<'a> {
    connection: &'a mut redis::Connection,
    prefix: String,
    quota: u64,
    rosters: Vec<Roster>,
    rated: Option<State>,
    now: Timestamp,
}

impl Sides<'_> {
    fn checks(&self, ask: &Ask) -> Vec<Check> {
        let slots = policy("slots", concurrency(self.quota), Mode::Enforce);
        let mut taking = check(&self.prefix, &format!("s{}", ask.key), &slots, 7);
        let offer = Offer { id: PermitId::new(ask.offers), freed: ids(&ask.freed) };
        taking.offer = (ask.offers > 0).then_some(offer);
        let rate = policy("rate", sliding_window(5, 1_000_000, 64), Mode::Enforce);
        let rate = ask.rated.then(|| check(&self.prefix, "all", &rate, 1));
        std::iter::once(taking).chain(rate).collect()
    }

    fn redis(&mut self, requests: &[&[Check]]) -> Vec<Vec<Decision>> {
        let call = Call::new(requests);
        let command = call.command("EVAL", SOURCE, Now::Given(self.now));
        let reply: Value = command.query(self.connection).expect("the script runs");
        call.answer(&reply)
            .expect("the reply is well formed, and the core finds the same rooms")
            .decisions
    }

    /// What the core makes of it, one request after the other.
    fn core(&mut self, asks: &[Ask], requests: &[&[Check]]) -> Vec<Vec<Decision>> {
        let freed = |key: usize| {
            let those = asks.iter().filter(|ask| ask.key == key && ask.offers > 0);
            those.flat_map(|ask| ask.freed.clone()).collect::<Vec<u64>>()
        };
        let mut live: Vec<u64> =
            (0..KEYS).map(|key| self.rosters[key].live(self.now, &freed(key))).collect();
        let mut taken = vec![Vec::new(); KEYS];
        let decide = |(ask, checks): (&Ask, &&[Check])| {
            let states = [Some(State::InFlight(live[ask.key])), self.rated.clone()];
            let each = checks.iter().zip(&states);
            let read = each.map(|(check, state)| check.policy.limit.read(state.as_ref(), self.now));
            let mut standings: Vec<_> = read.collect();
            let rooms = decision::rooms(checks, &standings);
            let decisions = decision::decide(checks, &mut standings, &rooms);
            if decisions[0].receipt.is_some() {
                live[ask.key] += 1;
                taken[ask.key].extend((ask.offers > 0).then_some(ask.offers));
            }
            if let Some(rate) = standings.get(1).filter(|rate| rate.must_be_stored()) {
                self.rated = Some(rate.state());
            }
            decisions
        };
        let decisions = asks.iter().zip(requests).map(decide).collect();
        for (roster, taken) in self.rosters.iter_mut().zip(taken) {
            roster.hold(&taken, self.now);
        }
        decisions
    }

    fn tell(&mut self, key: usize, held: &[u64], freed: &[u64]) {
        let slots = policy("slots", concurrency(self.quota), Mode::Enforce);
        let of = check(&self.prefix, &format!("s{key}"), &slots, 1).key;
        let permits = [PermitsOf { key: of, held: ids(held), freed: ids(freed) }];
        let telling = Telling::new(&permits);
        let command = telling.command("EVAL", PERMITS_SOURCE, Now::Given(self.now));
        let reply: Value = command.query(self.connection).expect("the script runs");
        assert_eq!(telling.told(&reply), Ok(self.now));
        self.rosters[key].0.retain(|id, _| !freed.contains(id));
        self.rosters[key].hold(held, self.now);
    }

    fn forget(&mut self, key: usize) {
        let key_in_redis = format!("{}:{{s{key}}}:slots:n", self.prefix);
        redis::cmd("DEL").arg(key_in_redis).exec(self.connection).expect("it forgets");
        self.rosters[key] = Roster::default();
    }
}

#[test]
fn scripts_and_core_count_alike() {
    let server = RedisServer::start();
    let connection = RefCell::new(server.connect());
    let counts = RefCell::new((0_u64, 0_u64, 0_u64));
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let cases = if soak { SOAK_FACTOR * HISTORIES } else { HISTORIES };
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&(1_u64..6, events()), |(quota, events)| {
            counts.borrow_mut().0 += 1;
            let mut sides = Sides {
                connection: &mut connection.borrow_mut(),
                prefix: format!("c{}", counts.borrow().0),
                quota,
                rosters: vec![Roster::default(); KEYS],
                rated: None,
                now: Timestamp::from_micros(START_US),
            };
            for (advance, event) in events {
                sides.now = sides.now.moved(advance).max(Timestamp::from_micros(START_US));
                match event {
                    Event::Ask(asks) => {
                        let requests: Vec<Vec<Check>> =
                            asks.iter().map(|ask| sides.checks(ask)).collect();
                        let requests: Vec<&[Check]> = requests.iter().map(Vec::as_slice).collect();
                        let (shared, own) = (sides.redis(&requests), sides.core(&asks, &requests));
                        prop_assert_eq!(&shared, &own);
                        let slots = own.iter().map(|decisions| decisions[0]);
                        counts.borrow_mut().1 += own.len() as u64;
                        counts.borrow_mut().2 += slots.filter(|one| !one.allowed).count() as u64;
                    }
                    Event::Tell { key, held, freed } => sides.tell(key, &held, &freed),
                    Event::Forget(key) => sides.forget(key),
                }
            }
            Ok(())
        })
        .unwrap();
    let (_, decisions, denials) = counts.into_inner();
    println!("{decisions} decisions, {denials} denials");
    assert!(decisions >= DECISIONS_MIN, "only {decisions} decisions compared");
    assert!(denials > decisions / 20, "only {denials} denials among {decisions} decisions");
}

/// Something else under the name counts as none, and the first permit takes its place.
#[test]
fn what_is_no_set_of_permits_counts_as_none() {
    let server = RedisServer::start();
    let mut connection = server.connect();
    let slots = policy("slots", concurrency(1), Mode::Enforce);
    for (number, write) in
        [["SET", "x", ""], ["HSET", "x", "y"], ["RPUSH", "x", "y"]].iter().enumerate()
    {
        let mut taking = check(&format!("f{number}"), "s", &slots, 1);
        let mut put = redis::cmd(write[0]);
        put.arg(taking.key.as_str()).arg(write[1]);
        if !write[2].is_empty() {
            put.arg(write[2]);
        }
        put.exec(&mut connection).expect("it is written");
        let offer = |id: u64| Some(Offer { id: PermitId::new(id), freed: ids(&[3]) });
        let rooms = [5, 6].map(|id| {
            taking.offer = offer(id);
            let requests = [std::slice::from_ref(&taking)];
            let call = Call::new(&requests);
            let command = call.command("EVAL", SOURCE, Now::Redis);
            let reply: Value = command.query(&mut connection).expect("the script runs");
            call.answer(&reply).expect("it is well formed").decisions[0][0].allowed
        });
        assert_eq!(rooms, [true, false], "{write:?}");
    }
}
