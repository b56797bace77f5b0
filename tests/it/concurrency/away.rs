//! Redis goes, hangs, comes back and forgets while permits are held.

use super::{KEY, TIMEOUT, finish, held_by, held_in, slots};
use crate::concurrency::holding::HoldingApp;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

const QUOTA: usize = 4;
const SHORT: &str = "timeout = \"100ms\"\nexpected_instances = 2";

/// Each of two gateways has its share, with what it held before; Redis is told of all of it before
/// it decides again.
#[test]
fn each_gateway_keeps_to_its_share_and_redis_is_told_on_its_return() {
    let (mut redis, app) = (RedisServer::start(), HoldingApp::start());
    let config = slots(app.address(), QUOTA, "");
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, SHORT, &config));
    let mut held = app.fill(gateways[0].public(), 1);
    redis.kill();
    for gateway in &gateways {
        gateway.wait_for_store("away");
        held.extend(app.fill(gateway.public(), 5));
        assert_eq!(held_by(gateway), 2.0, "one of two shares of {QUOTA}");
    }
    assert_eq!(held.len(), QUOTA);
    redis.restart_empty();
    for gateway in &gateways {
        gateway.wait_for_store("up");
    }
    assert_eq!(held_in(&redis), QUOTA);
    assert_eq!(app.fill(gateways[0].public(), 2).len(), 0, "all are taken");
    app.release();
    finish(held);
    wait_until("nothing to be left", || held_in(&redis) == 0);
    let held = app.fill(gateways[1].public(), QUOTA + 2);
    assert_eq!(held.len(), QUOTA, "and all come back");
}

/// What ended while Redis was away is given back when it returns with its memory.
#[test]
fn what_ends_during_an_outage_is_free_after_it() {
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let gateway = Gateway::with_redis(&redis, SHORT, &slots(app.address(), QUOTA, ""));
    let held = app.fill(gateway.public(), QUOTA);
    redis.signal("STOP");
    // Answered late and locally; Redis may carry the calls out when it goes on.
    wait_until("the gateway to go on without it", || {
        drop(app.fill(gateway.public(), 2));
        gateway.readiness()["store"]["state"] == "away"
    });
    app.release();
    finish(held);
    let during = app.fill(gateway.public(), QUOTA);
    assert_eq!(during.len(), QUOTA / 2, "its share");
    redis.signal("CONT");
    gateway.wait_for_store("up");
    wait_until("Redis to know what is held and nothing else", || held_in(&redis) == during.len());
    app.release();
    finish(during);
    wait_until("nothing to be left", || held_in(&redis) == 0);
}

/// Redis is emptied while it is connected: the gateway notices within a second.
#[test]
fn a_redis_that_forgets_is_told_what_is_held() {
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &slots(app.address(), QUOTA, ""));
    let held = app.fill(gateway.public(), QUOTA);
    let _: () = redis.command(&["FLUSHALL"]);
    wait_until("it to be told", || held_in(&redis) == QUOTA);
    assert_eq!(app.fill(gateway.public(), 1).len(), 0, "none is given twice");
    let now: (u64, u64) = redis.command(&["TIME"]);
    let ends: Vec<(String, u64)> = redis.command(&["ZRANGE", KEY, "0", "-1", "WITHSCORES"]);
    let soon = (now.0 + 30) * 1_000_000 + now.1;
    assert!(ends.iter().all(|(_, end)| *end <= soon), "each would end by itself: {ends:?}");
    let kept: i64 = redis.command(&["PTTL", KEY]);
    assert!(kept > 86_000_000, "Redis evicts others first: {kept} ms");
    app.release();
    finish(held);
    wait_until("nothing to be left", || held_in(&redis) == 0);
}
