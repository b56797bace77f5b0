//! All or nothing: requests that are limited by address, user and path at once consume all three
//! or none, whoever they say they are.

use std::collections::BTreeMap;
use std::thread;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

const REQUESTS: usize = 10_000;
const THREADS: usize = 4;
const ADDRESSES: u64 = 20;
const USERS: u64 = 10;
const PATHS: u64 = 12;
/// Units that a state of `sliding-window` was charged stand in its last bytes, after this many.
const HEAD: usize = 13;

/// What a request says of itself.
struct Said {
    address: String,
    /// `None`: nothing, or what is not believed.
    user: Option<String>,
    path: String,
    headers: String,
}

/// Requests that passed, by the name of what they are counted under: for each policy.
type Passed = [BTreeMap<String, u64>; 3];

fn said(random: &mut fastrand::Rng) -> Said {
    let address = format!("192.0.2.{}", random.u64(..ADDRESSES));
    let path = format!("/p{}", random.u64(..PATHS));
    let name = format!("user-{}", random.u64(..USERS));
    let mut headers = format!("x-forwarded-for: {address}\r\n");
    let user = match random.u64(..4) {
        // Nobody; somebody with a name that is none; else somebody.
        0 => None,
        1 => {
            // Longer than a user may be: nobody's.
            headers += &format!("x-user: {}\r\n", "x".repeat(257));
            None
        }
        _ => {
            headers += &format!("x-user: {name}\r\n");
            Some(name)
        }
    };
    Said { address, user, path, headers }
}

/// Sends a part of the requests and counts those that passed.
fn send(gateway: &Gateway, seed: u64) -> (Passed, usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut caller = Caller::new(gateway.public());
    let (mut passed, mut denied) = (Passed::default(), 0);
    for _ in 0..REQUESTS / THREADS {
        let said = said(&mut random);
        match caller.get(&said.path, &said.headers).expect("an answer") {
            200 => {
                // Without a user the address takes its place.
                let user = said.user.unwrap_or_else(|| format!("at {}", said.address));
                for (count, name) in passed.iter_mut().zip([said.address, user, said.path]) {
                    *count.entry(name).or_default() += 1;
                }
            }
            429 => denied += 1,
            other => panic!("status {other}"),
        }
    }
    (passed, denied)
}

/// What Redis holds of a policy: the units of each of its keys, in order of size.
fn charged(redis: &RedisServer, policy: &str) -> Vec<u64> {
    let keys: Vec<String> = redis.command(&["KEYS", &format!("sg:*:{policy}:s")]);
    let units = keys.iter().map(|key| {
        let value: Vec<u8> = redis.command(&["GET", key]);
        let width = usize::from(value[0]);
        assert!(value.len() > HEAD + width, "{key}");
        value[value.len() - width..].iter().fold(0, |units, byte| units << 8 | u64::from(*byte))
    });
    let mut units: Vec<u64> = units.collect();
    units.sort_unstable();
    units
}

#[test]
fn a_request_consumes_all_of_its_limits_or_none() {
    let (redis, app) = (RedisServer::start(), App::start());
    let policy = |name: &str, quota: u64, partition: &str| {
        format!(
            "[policies.{name}]\nquota = {quota}\nwindow = \"1d\"\npartition = [\"{partition}\"]\n"
        )
    };
    let config = [
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n[identity.header]\nuser = \"x-user\"\n",
        &app_at(app.address()),
        &policy("by-address", 220, "ip"),
        &policy("by-user", 180, "user"),
        &policy("by-path", 380, "path"),
        "[[rules]]\npath = \"/**\"\npolicies = [\"by-address\", \"by-user\"]\n",
        "[[rules]]\npath = \"/p*\"\npolicies = [\"by-path\"]\n",
    ];
    let gateways =
        [(); 2].map(|()| Gateway::with_redis(&redis, "timeout = \"5s\"", &config.concat()));
    let sent = thread::scope(|scope| {
        let gateways = &gateways;
        let threads: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(move || send(&gateways[number % 2], number as u64)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect::<Vec<_>>()
    });
    let denied: usize = sent.iter().map(|(_, denied)| denied).sum();
    let mut passed = Passed::default();
    for (part, _) in &sent {
        for (all, some) in passed.iter_mut().zip(part) {
            for (name, count) in some {
                *all.entry(name.clone()).or_default() += count;
            }
        }
    }
    let all: u64 = passed[0].values().sum();
    println!("{all} passed, {denied} denied");
    assert_eq!(all as usize + denied, REQUESTS);
    assert!(denied > REQUESTS / 10 && all as usize > REQUESTS / 10, "both happen often");
    let names = ["by-address", "by-user", "by-path"];
    for ((name, passed), most) in names.into_iter().zip(passed).zip([220, 180, 380]) {
        let mut expected: Vec<u64> = passed.into_values().collect();
        expected.sort_unstable();
        assert!(expected.iter().all(|count| *count <= most), "{name}: {expected:?}");
        assert_eq!(charged(&redis, name), expected, "{name}");
        let denials = ["decision=\"deny\"", &format!("policy=\"{name}\"")];
        let denials: f64 =
            gateways.iter().map(|g| g.metric("sluicegate_decisions_total", &denials)).sum();
        assert!(denials > 0.0, "{name} denies as well");
    }
}
