//! Clients that go away at every moment, an application that fails in every way, and gateways that
//! are killed: no permit outlives its request, or the gateway by more than a permit's life.

pub(crate) mod clients;
pub(crate) mod rough;

use std::net::SocketAddr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redis::Value;
use sluicegate::limit::concurrency::LIFE;
use sluicegate::limit::{Micros, Mode, Offer, PermitId, Timestamp};
use sluicegate::store::script::{Call, Now, SOURCE};

use crate::support::gateway::{Gateway, app_at};
use crate::support::policies::{check, concurrency, policy};
use crate::support::raw;
use crate::support::redis::{RedisServer, free_port, wait_until};
use clients::{WAYS, ask};
use rough::RoughApp;

const REQUESTS: usize = 3_000;
/// `SLUICEGATE_SOAK=1` asks so many times as much.
const SOAK_FACTOR: usize = 34;
const CLIENTS: usize = 16;
const KILLS: usize = 4;
/// Few, so that some are denied; and so many that what killed gateways leave is no hindrance.
const QUOTAS: [(&str, u64); 2] = [("alive", 12), ("mortal", 500)];

/// Two policies, so that what the killed gateways leave stands by itself; an upstream that rather
/// gives up, and one that nobody listens at.
fn config(app: SocketAddr) -> String {
    let policies = QUOTAS.map(|(name, quota)| {
        format!(
            "[policies.{name}]\nalgorithm = \"concurrency\"\nquota = {quota}\npartition = []\n\
             [[rules]]\npath = \"/{name}/**\"\npolicies = [\"{name}\"]\n"
        )
    });
    let app = app_at(app).replace("[[routes]]", "read_timeout = \"200ms\"\n[[routes]]");
    format!(
        "{app}[upstreams.nobody]\nservers = [\"127.0.0.1:{}\"]\n\
         [[routes]]\npath = \"/*/nobody\"\nupstream = \"nobody\"\n{}",
        free_port(),
        policies.concat()
    )
}

fn start(redis: &RedisServer, config: &str) -> Gateway {
    let store = format!("h2c = true\n[store]\nurl = \"{}\"\ntimeout = \"1s\"\n", redis.url());
    let gateway = Gateway::start(&format!("{store}{config}"));
    gateway.wait_for_store("up");
    gateway
}

fn held_in(redis: &RedisServer, name: &str) -> usize {
    redis.command(&["ZCARD", &format!("sg:{{everyone}}:{name}:n")])
}

fn held_by(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_permits_held", &[])
}

fn clock(redis: &RedisServer) -> Timestamp {
    let (seconds, micros): (u64, u64) = redis.command(&["TIME"]);
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}

/// Kills the gateway while it holds permits, and starts another one in its place. Returns when it
/// was killed, and how many permits were left there by then.
fn replace(
    redis: &RedisServer,
    mortal: &mut Gateway,
    address: &RwLock<SocketAddr>,
    config: &str,
) -> (Timestamp, usize) {
    let hanging = [(); 2].map(|()| {
        let mut stream = raw::connect(mortal.public());
        clients::send(&mut stream, "GET", "/mortal/wait", "");
        stream
    });
    wait_until("it to hold permits", || held_by(mortal) > 0.0);
    mortal.signal("KILL");
    mortal.wait();
    let left = (clock(redis), held_in(redis, "mortal"));
    drop(hanging);
    *mortal = start(redis, config);
    *address.write().expect("nobody panics") = mortal.public();
    left
}

/// Whether somebody gets in at `at`, by a clock that is given, where only one may.
fn gets_in(redis: &RedisServer, name: &str, at: Timestamp) -> bool {
    let mut one = check("sg", "everyone", &policy(name, concurrency(1), Mode::Enforce), 1);
    one.offer = Some(Offer { id: PermitId::new(1), freed: Vec::new() });
    let requests = [std::slice::from_ref(&one)];
    let call = Call::new(&requests);
    let reply: Value = call
        .command("EVAL", SOURCE, Now::Given(at))
        .query(&mut redis.connect())
        .expect("the script runs");
    call.answer(&reply).expect("it is well formed").decisions[0][0].allowed
}

#[test]
fn whatever_ends_a_request_leaves_no_permit_behind() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let requests = if soak { SOAK_FACTOR * REQUESTS } else { REQUESTS };
    let (redis, app) = (RedisServer::start(), RoughApp::start());
    let config = config(app.address());
    let (alive, mut mortal) = (start(&redis, &config), start(&redis, &config));
    let mortal_at = RwLock::new(mortal.public());
    let asked = AtomicUsize::new(0);
    let mut kills = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (asked, mortal_at, alive_at) = (&asked, &mortal_at, alive.public());
            scope.spawn(move || {
                while asked.fetch_add(1, Ordering::Relaxed) < requests {
                    let (gateway, name) = if fastrand::bool() {
                        (alive_at, "alive")
                    } else {
                        (*mortal_at.read().expect("nobody panics"), "mortal")
                    };
                    ask(gateway, name);
                }
            });
        }
        for number in 1..=KILLS {
            let turn = number * requests / (KILLS + 1);
            wait_until_asked(&asked, turn);
            kills.push(replace(&redis, &mut mortal, &mortal_at, &config));
        }
    });
    let ended = Instant::now();
    wait_until("the gateways to hold nothing", || held_by(&alive) + held_by(&mortal) == 0.0);
    wait_until("Redis to be told", || held_in(&redis, "alive") == 0);
    // So it was told, and has not forgotten by itself.
    assert!(ended.elapsed() < std::time::Duration::from(LIFE) / 2, "{:?}", ended.elapsed());
    for way in WAYS {
        assert!(app.seen(way) > 0 || way == "nobody", "no request came for {way}");
    }
    let denied = alive.metric("sluicegate_decisions_total", &["deny"]);
    let allowed = alive.metric("sluicegate_decisions_total", &["allow"]);
    println!("{allowed} allowed, {denied} denied, killed: {kills:?}");
    assert!(kills.iter().all(|(_, left)| *left > 0), "they held permits: {kills:?}");
    let last = kills.iter().map(|(at, _)| *at).max().expect("some were killed");
    let key = "sg:{everyone}:mortal:n";
    let left: Vec<(String, f64)> = redis.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
    let ends = last.after(LIFE);
    for (permit, end) in &left {
        assert!(*end <= ends.as_micros() as f64, "{permit} ends at {end}, later than {ends:?}");
    }
    assert!(gets_in(&redis, "mortal", ends.after(Micros::new(1))), "{left:?}");
}

/// In steps: the soak takes longer than anybody waits for one thing, and what hangs is to fail.
fn wait_until_asked(asked: &AtomicUsize, turn: usize) {
    loop {
        let before = asked.load(Ordering::Relaxed);
        if before >= turn {
            return;
        }
        wait_until("the clients to go on", || asked.load(Ordering::Relaxed) > before);
    }
}
