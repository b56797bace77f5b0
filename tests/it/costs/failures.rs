//! Policies that count failures alone.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use reqwest::blocking::Client;

use crate::support::app::{App, Seen, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::raw;
use crate::support::redis::{RedisServer, free_port, wait_until};

/// Guesses made at once, as the promise has it.
const AT_ONCE: usize = 50;
const QUOTA: usize = 5;

fn config(app: &App, more: &str) -> String {
    format!(
        "{}[policies.login]\nquota = {QUOTA}\nwindow = \"1m\"\ncount = \"failures\"\n\
         failure_status = [401, \"5xx\"]\npartition = [\"header:x-who\"]\n{more}\n\
         [[rules]]\npath = \"/login\"\npolicies = [\"login\"]\n",
        app_at(app.address())
    )
}

/// Signs in who knows the password.
fn door(seen: &Seen) -> Vec<u8> {
    match seen.header("x-password") {
        Some("right") => response("200 OK", "", b"welcome"),
        Some("broken") => response("503 Service Unavailable", "", b""),
        _ => response("401 Unauthorized", "", b"no"),
    }
}

fn sign_in(client: &Client, gateway: &Gateway, who: &str, password: &str) -> u16 {
    let request = client.post(gateway.url("/login")).header("x-who", who);
    request.header("x-password", password).send().expect("an answer").status().as_u16()
}

/// Statuses of guesses that are all under way at once.
fn guesses(gateway: &Gateway, who: &str) -> Vec<u16> {
    let barrier = Barrier::new(AT_ONCE);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::builder().no_proxy().build().expect("a client");
                    barrier.wait();
                    sign_in(&client, gateway, who, "wrong")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it asks")).collect()
    })
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|other| **other == status).count()
}

#[test]
fn fifty_guesses_at_once_are_five() {
    let (redis, app) = (RedisServer::start(), App::answering(door));
    let with_redis = Gateway::with_redis(&redis, "timeout = \"1s\"", &config(&app, ""));
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{}", config(&app, "")));
    for gateway in [&with_redis, &alone] {
        let before = app.seen().len();
        let statuses = guesses(gateway, "mallory");
        assert_eq!((count(&statuses, 401), count(&statuses, 429)), (QUOTA, AT_ONCE - QUOTA));
        assert_eq!(app.seen().len() - before, QUOTA, "the application sees no more");
        for password in ["wrong", "right"] {
            assert_eq!(sign_in(gateway.client(), gateway, "mallory", password), 429, "locked");
        }
        assert_eq!(sign_in(gateway.client(), gateway, "alice", "right"), 200);
    }
}

#[test]
fn who_signs_in_rightly_is_never_counted() {
    let (redis, app) = (RedisServer::start(), App::answering(door));
    let with_redis = Gateway::with_redis(&redis, "timeout = \"1s\"", &config(&app, ""));
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{}", config(&app, "")));
    for gateway in [&with_redis, &alone] {
        let mut caller = Caller::new(gateway.public());
        for _ in 0..300 {
            let status = caller.get("/login", "x-who: alice\r\nx-password: right\r\n");
            assert_eq!(status.expect("an answer"), 200);
        }
        // The last of them may be on its way still: then one guess fewer would pass.
        wait_until("everything to be given back", || {
            gateway.metric("sluicegate_settlements_total", &[]) >= 300.0
        });
        let statuses: Vec<u16> =
            (0..QUOTA + 3).map(|_| sign_in(gateway.client(), gateway, "alice", "wrong")).collect();
        assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    }
}

#[test]
fn classes_of_statuses_and_answers_of_the_gateway_count() {
    let app = App::answering(door);
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{}", config(&app, "")));
    let statuses: Vec<u16> =
        (0..=QUOTA).map(|_| sign_in(alone.client(), &alone, "a", "broken")).collect();
    assert_eq!(statuses, [503, 503, 503, 503, 503, 429]);

    let nobody = format!("127.0.0.1:{}", free_port());
    let away = config(&app, "").replace(&app.address().to_string(), &nobody);
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{away}"));
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..=QUOTA {
        statuses.push(sign_in(alone.client(), &alone, "a", "right"));
    }
    assert_eq!(statuses, [503, 503, 503, 503, 503, 429], "5xx is a failure, whoever says it");
    alone.edit("[401, \"5xx\"]", "[401]");
    alone.signal("HUP");
    wait_until("the reload", || {
        alone.metric("sluicegate_config_reloads_total", &["applied"]) == 1.0
    });
    for _ in 0..3 * QUOTA {
        assert_eq!(sign_in(alone.client(), &alone, "b", "right"), 503, "401 alone is one");
    }
}

/// The guesser does not wait for the answer, which he cannot see then: the guess counts.
#[test]
fn who_does_not_wait_for_the_answer_has_guessed() {
    let hold = Arc::new(AtomicBool::new(true));
    let entered = Arc::new(AtomicUsize::new(0));
    let (waiting, inside) = (Arc::clone(&hold), Arc::clone(&entered));
    let app = App::answering(move |seen| {
        inside.fetch_add(1, Ordering::SeqCst);
        if seen.header("x-password").is_none() {
            wait_until("the test to go on", || !waiting.load(Ordering::SeqCst));
        }
        door(seen)
    });
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{}", config(&app, "")));
    let mut streams = Vec::new();
    for guess in 1..=QUOTA {
        let mut stream = raw::connect(alone.public());
        stream.write_all(b"POST /login HTTP/1.1\r\nhost: x\r\nx-who: m\r\n\r\n").expect("it reads");
        wait_until("the guess to reach the application", || {
            entered.load(Ordering::SeqCst) == guess
        });
        streams.push(stream);
    }
    drop(streams);
    wait_until("the guesses to end", || alone.metric("sluicegate_requests_in_flight", &[]) == 0.0);
    hold.store(false, Ordering::SeqCst);
    assert_eq!(sign_in(alone.client(), &alone, "m", "wrong"), 429);
}

/// A remembered denial ends when units are given back, however long it might be remembered.
#[test]
fn a_denial_is_forgotten_when_the_guess_was_right() {
    let hold = Arc::new(AtomicBool::new(true));
    let waiting = Arc::clone(&hold);
    let app = App::answering(move |seen| {
        if seen.header("x-slow").is_some() {
            wait_until("the test to go on", || !waiting.load(Ordering::SeqCst));
        }
        door(seen)
    });
    let redis = RedisServer::start();
    let store = "timeout = \"1s\"\ndeny_cache = \"60s\"";
    let gateway =
        Gateway::with_redis(&redis, store, &config(&app, "").replace("quota = 5", "quota = 1"));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let request = gateway.client().post(gateway.url("/login")).header("x-who", "a");
            let request = request.header("x-password", "right").header("x-slow", "yes");
            request.send().expect("an answer").status().as_u16()
        });
        wait_until("the slow one to be under way", || {
            gateway.metric("sluicegate_decisions_total", &["decision=\"allow\""]) == 1.0
        });
        assert_eq!(sign_in(gateway.client(), &gateway, "a", "right"), 429);
        assert_eq!(sign_in(gateway.client(), &gateway, "a", "right"), 429);
        let cached = gateway.metric("sluicegate_decisions_total", &["deny-cache"]);
        assert_eq!(cached, 1.0, "it is remembered");
        hold.store(false, Ordering::SeqCst);
        assert_eq!(slow.join().expect("it asks"), 200);
    });
    wait_until("the unit to be given back", || {
        gateway.metric("sluicegate_settlements_total", &["by=\"redis\""]) == 1.0
    });
    assert_eq!(sign_in(gateway.client(), &gateway, "a", "right"), 200);
}
