//! `concurrency`: so many requests under way at once, over all gateways, and nothing left behind.

pub(crate) mod abrupt;
mod alike;
mod alone;
mod away;
pub(crate) mod holding;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Load, Target};
use crate::support::raw;
use crate::support::redis::{RedisServer, wait_until};
use holding::HoldingApp;

/// The one key of a policy that everyone shares.
const KEY: &str = "sg:{everyone}:slots:n";
/// A generous timeout: on a busy machine a slow answer of Redis would be a local decision.
const TIMEOUT: &str = "timeout = \"1s\"";
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An application, and `quota` requests at once for everyone together. Each takes one permit,
/// whatever its cost.
fn slots(app: SocketAddr, quota: usize, more: &str) -> String {
    format!(
        "{}[policies.slots]\nalgorithm = \"concurrency\"\nquota = {quota}\npartition = []\n{more}\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"slots\"]\ncost = 9\n",
        app_at(app)
    )
}

fn held_in(redis: &RedisServer) -> usize {
    redis.command(&["ZCARD", KEY])
}

fn held_by(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_permits_held", &["policy=\"slots\""])
}

fn finish(streams: Vec<TcpStream>) {
    for mut stream in streams {
        assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200 "));
    }
}

/// An application that counts how many requests are with it at once, and the most that ever were.
fn counting() -> (App, Arc<AtomicUsize>) {
    let (present, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let app = App::answering(move |_| {
        seen.fetch_max(present.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        // Before the answer leaves: what comes after it is not with the application any more.
        present.fetch_sub(1, Ordering::SeqCst);
        response("200 OK", "", b"done")
    });
    (app, most)
}

/// Four clients of each gateway that do not wait, and room for three requests.
#[test]
fn never_more_than_the_quota_are_with_the_application() {
    const QUOTA: usize = 3;
    const ANSWERS: usize = 3_000;
    let redis = RedisServer::start();
    let (app, most) = counting();
    let config = slots(app.address(), QUOTA, "");
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, TIMEOUT, &config));
    let targets = (0..8).map(|number| {
        vec![Target { number, address: gateways[number % 2].public(), path: "/", headers: "" }]
    });
    let load = Load::start(targets.collect(), Duration::ZERO);
    wait_until("enough answers", || app.seen().len() > ANSWERS);
    let samples = load.stop();
    let refused = samples.iter().filter(|sample| sample.status == Ok(429)).count();
    let failed: Vec<_> = samples.iter().filter(|sample| sample.failed()).collect();
    println!("{} answered, {refused} refused", samples.len());
    assert!(failed.is_empty(), "{:?}", failed.first());
    assert!(refused > 100, "only {refused} refused: there was room enough");
    assert_eq!(most.load(Ordering::SeqCst), QUOTA, "reached, and never exceeded");
    wait_until("nothing to be left", || held_in(&redis) == 0);
    assert_eq!(gateways.iter().map(held_by).sum::<f64>(), 0.0);
}

#[test]
fn a_client_is_told_what_is_left_and_a_denial_is_not_remembered() {
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let config = slots(app.address(), 2, "on_store_error = \"deny\"\n");
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"\ndeny_cache = \"60s\"", &config);
    let mut first = app.send(gateway.public(), "").stream();
    let second = app.send(gateway.public(), "").stream();
    assert_eq!((held_in(&redis), held_by(&gateway)), (2, 2.0));
    let denied = app.send(gateway.public(), "").head().to_ascii_lowercase();
    let expected = [
        "http/1.1 429 ",
        "\r\nratelimit-policy: \"slots\";q=2;qu=\"concurrent-requests\"\r\n",
        "\r\nratelimit: \"slots\";r=0;t=1\r\n",
        "\r\nretry-after: 1\r\n",
        "\r\nx-ratelimit-limit: 2\r\n",
    ];
    assert!(expected.iter().all(|line| denied.contains(line)), "{denied}");
    app.release();
    let allowed = raw::read_answer(&mut first).0.to_ascii_lowercase();
    assert!(allowed.contains("\r\nratelimit: \"slots\";r=1\r\n"), "{allowed}");
    finish(vec![second]);
    // At once, though the same was denied a moment ago.
    let third = app.send(gateway.public(), "").stream();
    drop(third);
    wait_until("the permit of who went away to be free", || held_in(&redis) == 0);
}

/// All or nothing: what another policy denies holds no permit, and what has no permit is not
/// charged.
#[test]
fn a_denial_holds_nothing_and_charges_nothing() {
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let config = slots(app.address(), 1, "").replace(
        "[[rules]]",
        "[policies.rate]\nquota = 2\nwindow = \"1h\"\npartition = []\n\
         [policies.watched]\nalgorithm = \"concurrency\"\nquota = 1\npartition = []\n\
         mode = \"shadow\"\n[[rules]]\npath = \"/**\"\npolicies = [\"rate\", \"watched\"]\n[[rules]]",
    );
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &config);
    let watched = || redis.command::<usize>(&["ZCARD", "sg:{everyone}:watched:n"]);
    let first = app.send(gateway.public(), "").stream();
    assert_eq!((held_in(&redis), watched()), (1, 1));
    for _ in 0..3 {
        let denied = app.send(gateway.public(), "").head();
        assert!(denied.contains("\"rate\";r=1"), "the rate is not charged: {denied}");
    }
    app.release();
    finish(vec![first]);
    let second = app.send(gateway.public(), "").stream();
    app.release();
    finish(vec![second]);
    wait_until("the permits to be free", || held_in(&redis) + watched() == 0);
    let denied = app.send(gateway.public(), "").head();
    assert!(denied.contains("\"rate\";r=0") && denied.contains("\"slots\";r=1"), "{denied}");
    assert_eq!((held_in(&redis), held_by(&gateway)), (0, 0.0));
}

/// A socket is one request for as long as it is open. Its permit is renewed: here Redis forgets it,
/// and the renewal brings it back.
#[test]
fn a_socket_holds_its_permit_until_it_ends() {
    use std::io::{Read, Write};
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &slots(app.address(), 1, ""));
    let mut socket = app.send(gateway.public(), UPGRADE).stream();
    let mut talk = |word: &[u8; 4]| {
        socket.write_all(word).expect("the socket is open");
        word.to_vec()
    };
    let said = [talk(b"one "), talk(b"two ")].concat();
    assert_eq!((held_in(&redis), held_by(&gateway)), (1, 1.0));
    assert!(app.send(gateway.public(), "").head().starts_with("HTTP/1.1 429 "));
    let _: () = redis.command(&["DEL", KEY]);
    wait_until("the permit to be renewed", || held_in(&redis) == 1);
    assert!(app.send(gateway.public(), UPGRADE).head().starts_with("HTTP/1.1 429 "));
    let head = raw::read_answer(&mut socket).0;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut echoed = vec![0; said.len()];
    socket.read_exact(&mut echoed).expect("it comes back");
    assert_eq!(echoed, said);
    drop(socket);
    wait_until("the permit to be free", || held_in(&redis) == 0);
    drop(app.send(gateway.public(), UPGRADE).stream());
}

/// Without a shared store the gateway counts what it holds itself.
#[test]
fn a_gateway_by_itself_counts_what_it_holds() {
    let app = HoldingApp::start();
    let config = slots(app.address(), 3, "");
    let gateway = Gateway::start(&format!("[store]\nkind = \"local\"\n{config}"));
    for _ in 0..3 {
        let held = app.fill(gateway.public(), 5);
        assert_eq!((held.len(), held_by(&gateway)), (3, 3.0));
        app.release();
        finish(held);
    }
    let gone = app.fill(gateway.public(), 5);
    drop(gone);
    wait_until("their permits to be free", || held_by(&gateway) == 0.0);
    assert_eq!(gateway.metric("sluicegate_local_entries", &[]), 0.0, "permits are no states");
}

/// A gateway that is told to stop tells of its last permits before it ends.
#[test]
fn a_gateway_that_stops_leaves_nothing() {
    let (redis, app) = (RedisServer::start(), HoldingApp::start());
    let mut gateway = Gateway::with_redis(&redis, TIMEOUT, &slots(app.address(), 5, ""));
    let held = app.fill(gateway.public(), 5);
    gateway.signal("TERM");
    wait_until("it to drain", || gateway.readiness()["status"] == "draining");
    app.release();
    finish(held);
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(held_in(&redis), 0);
}
