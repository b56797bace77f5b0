//! What those who hammer cost Redis.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::{HOUR, PATIENT, config, is_banned};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

/// How long is counted.
const SPAN: Duration = Duration::from_secs(5);
/// Connections of the flood.
const CLIENTS: usize = 8;
/// Calls a second that a flood may cost, beyond what an idle gateway sends.
const CALLS_MAX: f64 = 5.0;

/// Scripts that Redis has been sent: all that a gateway sends once it is connected.
fn calls(redis: &RedisServer) -> u64 {
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let named =
        |line: &&str| ["cmdstat_eval:", "cmdstat_evalsha:"].iter().any(|n| line.starts_with(n));
    let count = |line: &str| line.split(['=', ',']).nth(1)?.parse::<u64>().ok();
    stats.lines().filter(named).filter_map(count).sum()
}

/// Calls a second while `load` runs.
fn rate(redis: &RedisServer) -> f64 {
    let (before, began) = (calls(redis), Instant::now());
    sleep(SPAN);
    (calls(redis) - before) as f64 / began.elapsed().as_secs_f64()
}

/// Sends refused requests of `key` as fast as they are answered while Redis' calls are counted.
/// Returns calls and requests a second.
fn flooded(gateway: &Gateway, redis: &RedisServer, key: &str) -> [f64; 2] {
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (done, sent) = (&done, &sent);
    scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let request = gateway.client().get(gateway.url("/")).header("x-key", key);
                    assert_eq!(request.send().expect("an answer").status(), 429);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let calls = rate(redis);
        done.store(true, Ordering::Relaxed);
        [calls, sent.load(Ordering::Relaxed) as f64 / SPAN.as_secs_f64()]
    })
}

#[test]
fn a_flood_of_the_denied_or_banned_costs_redis_nearly_nothing() {
    let (redis, app) = (RedisServer::start(), App::start());
    // So many that a ban does not come: this one is merely denied.
    let never = HOUR.replace("denials = 10", "denials = 1000000000");
    let gateway = Gateway::with_redis(&redis, PATIENT, &config(&app, &never, ""));
    super::ask(&gateway, "a", "/");
    let idle = rate(&redis);
    let [denied, requests] = flooded(&gateway, &redis, "a");
    println!("idle {idle:.1} calls a second; denied {denied:.1} at {requests:.0} requests");
    assert!(requests > 500.0, "only {requests:.0} requests a second");
    assert!(denied - idle < CALLS_MAX, "{denied:.1} calls a second, {idle:.1} idle");
    assert!(super::stored(&redis, "p:d").is_some(), "they have been counted");
    drop(gateway);
    redis.command::<()>(&["FLUSHALL"]);
    let gateway = Gateway::with_redis(&redis, PATIENT, &config(&app, HOUR, ""));
    wait_until("the ban", || is_banned(&gateway, "a"));
    let [banned, requests] = flooded(&gateway, &redis, "a");
    println!("banned {banned:.1} calls at {requests:.0} requests a second");
    assert!(requests > 500.0, "only {requests:.0} requests a second");
    assert!(banned - idle < CALLS_MAX, "{banned:.1} calls a second, {idle:.1} idle");
    assert_eq!(super::bans(&gateway), 1.0, "it is none the longer");
}
