//! A client that is denied and goes on hammering.

use std::thread::scope;
use std::time::Instant;

use super::{soaking, tell};
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

const QUOTA: usize = 5;
const CONNECTIONS: usize = 8;
const COMMANDS_MAX: u64 = 100;
/// What the script calls; all else comes from outside.
const WITHIN: [&str; 8] =
    ["mget", "set", "time", "zscore", "zadd", "zremrangebyscore", "zcount", "pexpire"];

/// Commands that Redis has run so far: sent to it, and called by the script. The test's own do
/// not count.
fn commands(redis: &RedisServer) -> (u64, u64) {
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let (mut sent, mut within) = (0, 0);
    for line in stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (name, rest) = line.split_once(":calls=").expect("a name and calls");
        let calls: u64 = rest.split(',').next().expect("calls").parse().expect("a number");
        match name {
            "info" => {}
            name if WITHIN.contains(&name) => within += calls,
            _ => sent += calls,
        }
    }
    (sent, within)
}

#[test]
fn a_denied_flood_costs_redis_next_to_nothing() {
    let requests = if soaking() { 100_000 } else { 20_000 };
    let (redis, app) = (RedisServer::start(), App::start());
    redis.reserve_admin();
    let config = format!(
        "{}[policies.few]\nquota = {QUOTA}\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"few\"]\n",
        app_at(app.address())
    );
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"", &config);
    let ask = |times: usize, status: u16| {
        let mut caller = Caller::new(gateway.public());
        for _ in 0..times {
            assert_eq!(caller.get("/", "").expect("an answer"), status);
        }
    };
    ask(QUOTA, 200);
    let (before, began) = (commands(&redis), Instant::now());
    scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| ask(requests / CONNECTIONS, 429));
        }
    });
    let (took, after) = (began.elapsed(), commands(&redis));
    let (sent, within) = (after.0 - before.0, after.1 - before.1);
    let figures = format!(
        "{requests} requests of one denied client in {took:.1?}: {sent} commands to Redis, and \
         {within} by its scripts"
    );
    tell("flood", &figures);
    assert!(sent > 0, "the gateway has asked, or the count is wrong");
    assert!(sent < COMMANDS_MAX, "{sent} commands for {requests} refusals");
    assert_eq!(app.seen().len(), QUOTA);
}
