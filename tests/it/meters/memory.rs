//! What a meter costs in Redis, and what its scripts do with marks from the future.

use redis::Value;

use super::{VIEWS, counted, gateway, view};
use crate::support::app::App;
use crate::support::redis::{RedisServer, wait_until};

const SCRIPT: &str = include_str!("../../../lua/meter.lua");
/// Bytes of a pair of item and subject, at most: of subjects that see up to 128 items within the
/// span, and of those that see more.
const FEW_MAX: u64 = 50;
const MANY_MAX: u64 = 140;
const PAIRS: u64 = 20_000;

fn used_memory(redis: &RedisServer) -> u64 {
    let told = |section: &str, name: &str| {
        let info: String = redis.command(&["INFO", section]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse::<u64>().ok()).expect("a number")
    };
    wait_until("the others to leave", || told("clients", "connected_clients") == 1);
    told("memory", "used_memory")
}

/// Bytes that Redis uses for a pair where each subject sees `items`.
fn bytes_of_a_pair(redis: &RedisServer, items: u64) -> u64 {
    redis.command::<()>(&["FLUSHALL"]);
    let before = used_memory(redis);
    let mut connection = redis.connect();
    for subject in 0..PAIRS / items {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(3).arg("sg:{meter:views}:open").arg("sg:{meter:views}:calls:0");
        command.arg(format!("sg:{{meter:views}}:seen:{subject:022}"));
        command.arg(subject + 1).arg(86_400).arg(1_000_000).arg(1_000_000).arg(1_000_000_000);
        command.arg(1_000_000_000);
        for item in 0..items {
            let path = format!("/stories/{item}");
            let mark = sluicegate::meter::mark(&path);
            command.arg(3).arg(path).arg(&mark[..]).arg(1);
        }
        let reply: Vec<u64> = command.query(&mut connection).expect("it runs");
        assert_eq!(reply, [subject + 1, items, 0, 0]);
    }
    let _: Value = redis::cmd("QUIT").query(&mut connection).expect("it ends");
    drop(connection);
    (used_memory(redis) - before) / PAIRS
}

#[test]
fn a_pair_of_item_and_subject_is_small() {
    let redis = RedisServer::start();
    for (items, most) in [(100, FEW_MAX), (10, FEW_MAX), (1_000, MANY_MAX)] {
        let bytes = bytes_of_a_pair(&redis, items);
        println!("{items} items a subject: {bytes} bytes a pair");
        assert!(bytes <= most, "{items} items a subject: {bytes} bytes a pair");
    }
}

#[test]
fn an_open_item_is_small() {
    let redis = RedisServer::start();
    let open = "sg:{meter:views}:open";
    for first in (0..PAIRS).step_by(500) {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(2).arg(open).arg("sg:{meter:views}:calls:0").arg(first + 1);
        command.arg(0).arg(1_000_000).arg(1).arg(1_000_000_000).arg(1_000_000_000);
        for item in first..first + 500 {
            command.arg(0).arg(format!("/stories/a-title-like-others-{item}")).arg("").arg(7);
        }
        let reply: Vec<u64> = command.query(&mut redis.connect()).expect("it runs");
        assert_eq!(reply, [first + 1, 3_500, 0, 0]);
    }
    let bytes: u64 = redis.command(&["MEMORY", "USAGE", open, "SAMPLES", "0"]);
    println!("{} bytes an open item", bytes / PAIRS);
    assert!(bytes / PAIRS <= 110, "{} bytes an open item", bytes / PAIRS);
}

/// The clock of Redis was ahead and is right again: nobody is locked out for longer than the span.
#[test]
fn a_mark_from_the_future_is_moved_to_the_present() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, &VIEWS.replace("24h", "1s"));
    view(&gateway, "/stories/1", "ann");
    assert_eq!(counted(&gateway, 1)[0], 1);
    let keys: Vec<String> = redis.command(&["KEYS", "sg:{meter:views}:seen:*"]);
    let [key] = &keys[..] else { panic!("one subject: {keys:?}") };
    let mut connection = redis.connect();
    let mark = sluicegate::meter::mark("/stories/1");
    let mut command = redis::cmd("ZADD");
    command.arg(key).arg("XX").arg("CH").arg(4_000_000_000_u64).arg(&mark[..]);
    let changed: u64 = command.query(&mut connection).expect("it is there");
    assert_eq!(changed, 1);
    redis.command::<()>(&["PERSIST", key]);
    view(&gateway, "/stories/1", "ann");
    assert_eq!(counted(&gateway, 2)[..2], [1, 1]);
    let mut seen = 2;
    wait_until("the span to be over", || {
        view(&gateway, "/stories/1", "ann");
        seen += 1;
        counted(&gateway, seen)[0] == 2
    });
}
