//! Returns that something gets in the way of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use sluicegate::store::script::RESTORE_SOURCE;

use super::spy::{holds, spy};
use super::{config, passed, wait_for_instances, wait_for_stores};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

/// The first three arguments of a call of restore.lua that charges nothing, as they are sent.
const NUMBER_0: &str = "\r\n$1\r\n0\r\n$1\r\n0\r\n$7\r\n3600000\r\n";
/// What was seen so shortly before a heartbeat is told in any case.
const UNSURE: Duration = Duration::from_secs(2);
/// Longer than a gateway without a heartbeat counts as alive.
const LONG: Duration = Duration::from_secs(12);

/// A Redis with a user that can be shut out.
fn redis_with_user() -> RedisServer {
    let redis = RedisServer::start();
    redis.command::<()>(&["ACL", "SETUSER", "u", "on", ">pw", "~sg:*", "+@all"]);
    redis
}

fn shut_out(redis: &RedisServer) {
    redis.command::<()>(&["ACL", "SETUSER", "u", "off"]);
    redis.command::<u64>(&["CLIENT", "KILL", "USER", "u"]);
}

fn let_in(redis: &RedisServer) {
    redis.command::<()>(&["ACL", "SETUSER", "u", "on"]);
}

fn gateway(address: impl std::fmt::Display, quota: u64, algorithm: &str, app: &App) -> Gateway {
    let url = format!("[store]\nurl = \"redis://u:pw@{address}\"\ntimeout = \"1s\"\n");
    let gateway = Gateway::start(&format!("{url}{}", config(app, quota, algorithm)));
    gateway.wait_for_store("up");
    gateway
}

/// The hash by which Redis knows restore.lua.
fn restore_hash(redis: &RedisServer) -> String {
    redis.command(&["SCRIPT", "LOAD", RESTORE_SOURCE])
}

#[test]
fn a_return_that_failed_half_way_is_done_again() {
    let (redis, app) = (redis_with_user(), App::start());
    let gateway = gateway(redis.address(), 10, "sliding-window", &app);
    assert_eq!(passed(&gateway, "full", 12), 10);
    // It may write its own keys only: it can connect and beat, and not tell anything.
    shut_out(&redis);
    redis.command::<()>(&["FLUSHALL"]);
    redis.command::<()>(&["ACL", "SETUSER", "u", "resetkeys", "~sg:{gateway}:*"]);
    gateway.wait_for_store("away");
    let attempts = || gateway.metric("sluicegate_store_errors_total", &["error-reply"]);
    let_in(&redis);
    let (before, began) = (attempts(), Instant::now());
    // Each attempt beats, so an early one would find the client among what was seen lately.
    wait_until("later attempts", || began.elapsed() > 2 * UNSURE && attempts() >= before + 2.0);
    redis.command::<()>(&["ACL", "SETUSER", "u", "~sg:*"]);
    gateway.wait_for_store("up");
    assert_eq!(passed(&gateway, "full", 12), 0, "known to be full");
}

#[test]
fn a_long_outage_is_no_loss_of_memory() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, 10, "sliding-window");
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, "timeout = \"1s\"", &config));
    wait_for_instances(&gateways, 2);
    for gateway in &gateways {
        assert_eq!(passed(gateway, "a", 1), 1);
    }
    // What was seen just before the end is told in any case.
    let calls = redis.script_calls();
    wait_until("several probes", || redis.script_calls() > calls + 10);
    redis.signal("STOP");
    wait_for_stores(&gateways, "away");
    // The servers' clocks decide who is forgotten, so this does take its time.
    let began = Instant::now();
    wait_until("a long outage", || began.elapsed() > LONG);
    redis.signal("CONT");
    wait_for_stores(&gateways, "up");
    for gateway in &gateways {
        let log = gateway.log();
        let back = log.lines().rfind(|line| line.contains("redis decides")).expect("it is back");
        assert!(back.contains("restored=0"), "nothing was charged or forgotten: {back}");
    }
}

#[test]
fn a_lost_answer_charges_once() {
    let (redis, app) = (redis_with_user(), App::start());
    let (hash, lost) = (restore_hash(&redis), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&lost);
    let address = spy(vec![redis.address()], move |sent| {
        // Not the calls that only show what was seen: their number is 0.
        let charges = holds(sent, &hash) && holds(sent, ":p:s") && !holds(sent, NUMBER_0);
        charges && counted.fetch_add(1, Ordering::SeqCst) < 3
    });
    let gateway = gateway(address, 100, "sliding-window", &app);
    assert_eq!(passed(&gateway, "a", 1), 1);
    shut_out(&redis);
    gateway.wait_for_store("away");
    assert_eq!(passed(&gateway, "a", 10), 10);
    let_in(&redis);
    wait_until("three answers to be lost", || lost.load(Ordering::SeqCst) > 3);
    gateway.wait_for_store("up");
    assert_eq!(passed(&gateway, "a", 100), 89, "1 and 10 were admitted");
}

#[test]
fn a_key_that_others_use_all_the_time_is_told_too() {
    // Of token-bucket, 100 an hour: a unit is so many microseconds.
    const UNIT: i64 = 36_000_000;
    // Moves the state of a bucket by a microsecond.
    const LATER: &str = "local at, rest = redis.call('GET', KEYS[1]):match('^(%d+)(.*)$') \
        redis.call('SET', KEYS[1], string.format('%d', at + 1) .. rest, 'KEEPTTL')";
    let (redis, app) = (redis_with_user(), App::start());
    // A network: what is sent takes a millisecond.
    let address = spy(vec![redis.address()], |_| {
        sleep(Duration::from_millis(1));
        false
    });
    let gateway = gateway(address, 100, "token-bucket", &app);
    assert_eq!(passed(&gateway, "hot", 1), 1);
    let keys: Vec<String> = redis.command(&["KEYS", "*:p:t"]);
    let stored = || {
        let value: String = redis.command(&["GET", &keys[0]]);
        let at = value.split(':').next().expect("the moment is first");
        at.parse::<i64>().expect("microseconds")
    };
    shut_out(&redis);
    gateway.wait_for_store("away");
    assert_eq!(passed(&gateway, "hot", 10), 10);
    let (before, stop) = (stored(), AtomicBool::new(false));
    scope(|scope| {
        scope.spawn(|| {
            // As others' requests would, each changes the state a little.
            let mut others = redis.connect();
            while !stop.load(Ordering::Relaxed) {
                redis::cmd("EVAL")
                    .arg(LATER)
                    .arg(1)
                    .arg(&keys[0])
                    .exec(&mut others)
                    .expect("it counts");
            }
        });
        let_in(&redis);
        gateway.wait_for_store("up");
        let told = (stored() - before) / UNIT;
        stop.store(true, Ordering::Relaxed);
        assert_eq!(told, 10);
    });
}

#[test]
fn a_gateway_that_has_much_to_tell_counts_as_alive() {
    const CLIENTS: usize = 1_000;
    let (redis, app) = (redis_with_user(), App::start());
    let hash = restore_hash(&redis);
    let address = spy(vec![redis.address()], move |sent| {
        if holds(sent, &hash) {
            sleep(Duration::from_millis(900));
        }
        false
    });
    let slow = gateway(address, 10, "sliding-window", &app);
    let other =
        Gateway::with_redis(&redis, "timeout = \"1s\"", &config(&app, 10, "sliding-window"));
    let both = [slow, other];
    wait_for_instances(&both, 2);
    for client in 0..CLIENTS {
        assert_eq!(passed(&both[0], &format!("k{client}"), 1), 1);
    }
    shut_out(&redis);
    redis.command::<()>(&["FLUSHALL"]);
    both[0].wait_for_store("away");
    let_in(&redis);
    // Eight calls of 0.9 s each: it does not wait for all of them.
    both[0].wait_for_store("up");
    let told = || redis.command::<Vec<String>>(&["KEYS", "*:p:s"]).len();
    assert!(told() < CLIENTS, "{} of {CLIENTS}: it was not much", told());
    wait_until("the rest to be told", || {
        assert_eq!(both[1].readiness()["store"]["instances"], 2);
        told() >= CLIENTS
    });
}

#[test]
fn two_useless_servers_are_a_few_lines() {
    const LINES_MAX: usize = 12;
    const ATTEMPTS: f64 = 8.0;
    let (replica, full) = (RedisServer::start(), RedisServer::start_with(&["--maxmemory", "1"]));
    replica.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let address = spy(vec![replica.address(), full.address()], |_| false);
    let app = App::start();
    let store = format!("[store]\nurl = \"redis://{address}\"\n");
    let gateway = Gateway::start(&format!("{store}{}", config(&app, 10, "sliding-window")));
    let attempts = || gateway.metric("sluicegate_store_errors_total", &["error-reply"]);
    wait_until("some attempts", || attempts() > ATTEMPTS);
    let log = gateway.log();
    assert!(log.lines().count() < LINES_MAX, "{log}");
}
