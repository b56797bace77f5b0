//! Nobody is there: a clear answer, at once, and no later than the next check everything is well.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::server::{Reply, Server};
use super::{failed, gateway, upstream};
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

fn refused(gateway: &Gateway, method: &str) -> u64 {
    let method = method.parse().unwrap();
    let answer = gateway.client().request(method, gateway.url("/")).send().unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
    assert_eq!((&body["status"], &body["type"]), (&503.into(), &"about:blank".into()));
    assert!(wait >= 1);
    wait
}

#[test]
fn servers_that_are_all_away_are_a_503() {
    let (one, other) = (Server::dead(|_| Reply::Break), Server::dead(|_| Reply::Break));
    let gateway = gateway(&[one.address(), other.address()], "retries = 1");
    assert_eq!([refused(&gateway, "GET"), refused(&gateway, "POST")], [1, 1]);
    assert_eq!(failed(&gateway, "connect"), 2);
    assert_eq!(upstream(&gateway, "retries_total", &[]), 2, "each was asked by each");
    assert_eq!(gateway.readiness()["status"], "ready", "the gateway itself is well");
}

#[test]
fn a_connect_that_takes_too_long_is_a_503_too() {
    // Of the networks for documentation: nobody answers, or nobody is even asked.
    let nobody: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let gateway = gateway(&[nobody], "connect_timeout = \"50ms\"");
    refused(&gateway, "GET");
}

/// The server itself asks through the gateway, when it is checked for the second time since it is
/// back: by then requests have to come through.
#[test]
fn one_good_check_brings_everything_back() {
    let (url, asked) = (Arc::new(OnceLock::<String>::new()), Arc::new(OnceLock::new()));
    let (checks, (to, result)) = (AtomicUsize::new(0), (Arc::clone(&url), Arc::clone(&asked)));
    let mut server = Server::dead(move |what| {
        if what == "GET /healthz" && checks.fetch_add(1, Ordering::SeqCst) == 1 {
            let status = reqwest::blocking::get(to.get().unwrap()).unwrap().status();
            let _ = result.set(status.as_u16());
        }
        Reply::Status(200)
    });
    let other = Server::dead(|_| Reply::Break);
    let gateway = gateway(
        &[server.address(), other.address()],
        "[upstreams.app.health]\npath = \"/healthz\"\ninterval = \"2s\"\ntimeout = \"2s\"",
    );
    url.set(gateway.url("/")).unwrap();
    assert_eq!(gateway.readiness()["upstreams"]["app"]["up"], 0, "checked before it listens");
    assert_eq!((upstream(&gateway, "servers", &[]), upstream(&gateway, "servers_up", &[])), (2, 0));
    assert!((1..=2).contains(&refused(&gateway, "GET")), "until the next check");
    refused(&gateway, "POST");
    assert_eq!((failed(&gateway, "down"), failed(&gateway, "connect")), (2, 0), "nobody is asked");
    assert_eq!(upstream(&gateway, "retries_total", &[]), 0);
    assert!(upstream(&gateway, "health_checks_total", &["result=\"failed\""]) >= 2);
    server.revive();
    wait_until("the second check", || asked.get().is_some());
    assert_eq!(asked.get(), Some(&200));
    assert_eq!(gateway.readiness()["upstreams"]["app"]["up"], 1);
    let log = gateway.log();
    let line = |says: &str| {
        let about =
            |line: &&str| line.contains(says) && line.contains(&server.address().to_string());
        log.lines().filter(about).count()
    };
    assert_eq!((line("is down"), line("is up again")), (1, 1), "{log}");
}
