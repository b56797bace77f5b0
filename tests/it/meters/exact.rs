//! Exactly once under load: two gateways, clients that ask again, and a Redis that is killed and
//! comes back while the views go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{VIEWS, counted, export, gateway};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::load::Caller;
use crate::support::redis::{RedisServer, wait_until};

/// Views, users and stories; `make soak` takes the others.
const USUAL: [usize; 3] = [20_000, 200, 50];
const SOAK: [usize; 3] = [200_000, 1_000, 100];
const CLIENTS: usize = 4;
/// Of a hundred views, so many are asked for again, as by a client that got no answer.
const AGAIN_PERCENT: u8 = 30;

fn sizes() -> [usize; 3] {
    if std::env::var_os("SLUICEGATE_SOAK").is_some() { SOAK } else { USUAL }
}

/// Asks for `count` random stories as random users, each at a random one of the gateways; gives
/// the pairs of user and story.
fn read(
    gateways: &[Gateway],
    seed: u64,
    count: usize,
    done: &AtomicUsize,
) -> BTreeSet<(usize, usize)> {
    let [_, users, stories] = sizes();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut callers: Vec<Caller> =
        gateways.iter().map(|gateway| Caller::new(gateway.public())).collect();
    let mut pairs = BTreeSet::new();
    for _ in 0..count {
        let (user, story) = (random.usize(..users), random.usize(..stories));
        let (path, line) = (format!("/stories/{story}"), format!("x-user-id: user-{user}\r\n"));
        loop {
            let at = random.usize(..callers.len());
            assert_eq!(callers[at].get(&path, &line).expect("an answer"), 200);
            if random.u8(..100) >= AGAIN_PERCENT {
                break;
            }
        }
        pairs.insert((user, story));
        done.fetch_add(1, Ordering::Relaxed);
    }
    pairs
}

#[test]
fn each_user_counts_once_for_each_story_whatever_happens() {
    let [views, ..] = sizes();
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let app = App::start();
    let gateways = [0, 1].map(|_| gateway(&redis, &app, VIEWS));
    let done = AtomicUsize::new(0);
    let pairs = thread::scope(|scope| {
        let (gateways, done) = (&gateways, &done);
        let clients: Vec<_> = (0..CLIENTS as u64)
            .map(|seed| scope.spawn(move || read(gateways, seed, views / CLIENTS, done)))
            .collect();
        // In hundredths: of many views a quarter takes longer than anybody waits for one thing.
        let reached = |part: usize| {
            for hundredth in 25 * (part - 1)..=25 * part {
                let wanted = views * hundredth / 100;
                wait_until("the views to go on", || done.load(Ordering::Relaxed) >= wanted);
            }
        };
        reached(1);
        redis.kill();
        for gateway in gateways {
            gateway.wait_for_store("away");
        }
        reached(2);
        redis.restart();
        for gateway in gateways {
            gateway.wait_for_store("up");
        }
        let pairs = clients.into_iter().flat_map(|client| client.join().expect("no panic"));
        pairs.collect::<BTreeSet<_>>()
    });
    let asked = app.seen().len() as u64;
    let sum = |tally: [u64; 4]| tally.iter().sum::<u64>();
    wait_until("the views to be counted", || {
        gateways.iter().map(|gateway| sum(counted(gateway, 0))).sum::<u64>() == asked
    });
    let tallies = gateways.each_ref().map(|gateway| counted(gateway, 0));
    println!("{} pairs; counted, known, full, dropped: {tallies:?}", pairs.len());
    assert_eq!(tallies[0][0] + tallies[1][0], pairs.len() as u64);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (_, story) in &pairs {
        *expected.entry(format!("/stories/{story}")).or_default() += 1;
    }
    let [batch] = &export(&gateways[0])[..] else { panic!("one batch") };
    assert_eq!(batch.counts, expected);
}

/// Without dedup it is the number of a call that keeps one whose reply was lost from counting twice.
#[test]
fn every_request_counts_once_also_where_replies_are_lost() {
    use crate::support::fault_proxy::{Behaviour, FaultProxy};
    use crate::support::gateway::app_at;

    let (redis, app) = (RedisServer::start(), App::start());
    let between = FaultProxy::start(redis.address());
    let every = VIEWS.replace("\"user\"", "\"none\"").replace("unique_for = \"24h\"\n", "");
    let store = format!("[store]\nurl = \"{}\"\ntimeout = \"1s\"\n", between.url());
    let gateway = Gateway::start(&format!("{store}{}{every}", app_at(app.address())));
    gateway.wait_for_store("up");
    let mut caller = Caller::new(gateway.public());
    let rounds = 8;
    for round in 1..=rounds {
        for _ in 0..25 {
            assert_eq!(caller.get("/stories/1", "").expect("an answer"), 200);
        }
        // The call arrives, its reply does not: a chunk of it ends the connection.
        between.set(Behaviour::Reset { percent: 50 });
        let counts =
            || redis.command::<Option<u64>>(&["HGET", "sg:{meter:views}:open", "/stories/1"]);
        wait_until("the call to arrive or the connection to go", || {
            counts() >= Some(25 * round) || gateway.readiness()["store"]["state"] == "away"
        });
        between.set(Behaviour::Pass);
        gateway.wait_for_store("up");
        counted(&gateway, 25 * round);
        assert_eq!(counts(), Some(25 * round));
    }
}
