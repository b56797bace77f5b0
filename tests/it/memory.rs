//! What a key costs in Redis.

use redis::Value;
use sluicegate::limit::{Check, Limit, Micros, Mode, Timestamp, quota};
use sluicegate::store::script::{Call, Now, QUOTAS_SOURCE};

use crate::support::policies::{calendar, check, policy, sliding_window, token_bucket};
use crate::support::redis::{RedisServer, wait_until};

const TOKEN_BUCKET_MAX: u64 = 140;
const SLIDING_WINDOW_MAX: u64 = 450;
const CALENDAR_MAX: u64 = 140;

/// The bytes of a key in full use: `times` requests for the quota together, spread evenly over one
/// window.
fn bytes(connection: &mut redis::Connection, subject: &str, limit: Limit, times: u64) -> u64 {
    let policy = policy("per-user", limit, Mode::Enforce);
    let check: [Check; 1] = [check("sg", subject, &policy, limit.units() / times)];
    let window = limit.quota().expect("it has a window").window().get();
    for request in 0..times {
        let now = Timestamp::from_micros(1_763_000_000_000_123)
            .after(Micros::new(window * request / times));
        let requests = [&check[..]];
        let call = Call::new(&requests);
        let reply: Value =
            call.command("EVAL", QUOTAS_SOURCE, Now::Given(now)).query(connection).unwrap();
        assert!(call.answer(&reply).unwrap().decisions[0][0].allowed);
    }
    let key = check[0].key.as_str();
    let ttl: i64 = redis::cmd("PTTL").arg(key).query(connection).unwrap();
    assert!(ttl > 0, "every key has a time to live");
    redis::cmd("MEMORY").arg("USAGE").arg(key).query(connection).unwrap()
}

#[test]
fn a_key_is_small() {
    let server = RedisServer::start();
    let mut connection = server.connect();
    let cases = [
        (
            "token-bucket, whole microseconds",
            token_bucket(100, 60_000_000, 100),
            50,
            TOKEN_BUCKET_MAX,
        ),
        ("token-bucket, thirds of one", token_bucket(7, 60_000_000, 7), 5, TOKEN_BUCKET_MAX),
        ("token-bucket, parts of one", token_bucket(999, 60_000_000, 999), 50, TOKEN_BUCKET_MAX),
        (
            "sliding-window, quota 1000",
            sliding_window(1_000, 60_000_000, 64),
            1_000,
            SLIDING_WINDOW_MAX,
        ),
        (
            "sliding-window, one request",
            sliding_window(1_000, 60_000_000, 64),
            1,
            SLIDING_WINDOW_MAX,
        ),
        (
            "calendar, quota 10000",
            calendar(10_000, 1_763_000_000, 1_763_086_400),
            100,
            CALENDAR_MAX,
        ),
        (
            "calendar, the largest count",
            calendar(quota::UNITS_MAX, 1_763_000_000, 1_763_086_400),
            1,
            CALENDAR_MAX,
        ),
    ];
    for (number, (what, limit, times, most)) in cases.into_iter().enumerate() {
        for subject in ["203.0.113.7".to_owned(), format!("255.255.255.{}", 100 + number)] {
            let bytes = bytes(&mut connection, &subject, limit, times);
            println!("{what}, {subject}: {bytes} bytes");
            assert!(bytes <= most, "{what}: {bytes} bytes");
            let _: () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        }
    }
}

/// Pairs of an address and a path, each with a quota of 100: a site of a thousand busy readers.
const PAIRS: usize = 10_000;
const PAIRS_QUOTA: u64 = 100;
const PAIRS_MAX: u64 = 5_000_000;
/// Requests that one call decides here, so that the test is short.
const TOGETHER: usize = 500;

/// The memory that Redis uses for pairs that are filled to their quota by `steps` requests each,
/// spread evenly over one window.
fn memory_of_pairs(server: &RedisServer, limit: Limit, steps: u64) -> u64 {
    let policy = policy("page", limit, Mode::Enforce);
    let before = used_memory(server);
    let connection = &mut server.connect();
    let subjects: Vec<String> = (0..PAIRS).map(|number| format!("{number:022}")).collect();
    let window = limit.quota().expect("it has a window").window().get();
    for step in 0..steps {
        let now =
            Timestamp::from_micros(1_763_000_000_000_123).after(Micros::new(window * step / steps));
        let checks: Vec<[Check; 1]> = subjects
            .iter()
            .map(|subject| [check("stories", subject, &policy, PAIRS_QUOTA / steps)])
            .collect();
        for some in checks.chunks(TOGETHER) {
            let requests: Vec<&[Check]> = some.iter().map(|check| &check[..]).collect();
            let call = Call::new(&requests);
            let command = call.command("EVAL", QUOTAS_SOURCE, Now::Given(now));
            let answer = call.answer(&command.query(connection).unwrap()).unwrap();
            assert!(answer.decisions.iter().all(|decisions| decisions[0].allowed));
            assert!(answer.standings.len() == TOGETHER);
        }
    }
    let keys: usize = redis::cmd("DBSIZE").query(connection).unwrap();
    assert_eq!(keys, PAIRS);
    let full = check("stories", &subjects[0], &policy, 1);
    let request = [std::slice::from_ref(&full)];
    let last = Timestamp::from_micros(1_763_000_000_000_123)
        .after(Micros::new(window * (steps - 1) / steps));
    let call = Call::new(&request);
    let reply = call.command("EVAL", QUOTAS_SOURCE, Now::Given(last)).query(connection).unwrap();
    assert!(!call.answer(&reply).unwrap().decisions[0][0].allowed, "they are full");
    let _: () = redis::cmd("QUIT").query(connection).unwrap();
    let used = used_memory(server) - before;
    server.command::<()>(&["FLUSHALL"]);
    used
}

/// What Redis uses while nobody but the one who asks is connected: a connection that has carried
/// much keeps its buffers for a while.
fn used_memory(server: &RedisServer) -> u64 {
    let told = |section: &str, name: &str| {
        let info: String = server.command(&["INFO", section]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number")
    };
    wait_until("the others to leave", || told("clients", "connected_clients") == 1);
    told("memory", "used_memory")
}

#[test]
fn ten_thousand_pairs_filled_to_their_quota_are_small() {
    // On a busy machine the slow log would hold a part of every call.
    let server = RedisServer::start_with(&["--slowlog-log-slower-than", "-1"]);
    // One by one over the window leaves the most records: the largest state that there is.
    for (what, steps) in [("each at once", 1), ("each one by one", PAIRS_QUOTA)] {
        let limit = sliding_window(PAIRS_QUOTA, 60_000_000, 64);
        let used = memory_of_pairs(&server, limit, steps);
        println!("{PAIRS} pairs, {what}: {used} bytes");
        assert!(used <= PAIRS_MAX, "{what}: {used} bytes");
    }
}
