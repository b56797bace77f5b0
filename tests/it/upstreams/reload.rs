//! What is known of servers outlives the configuration.

use std::thread;

use super::server::{Barrier, Reply, Server};
use super::{failed, gateway, upstream};
use reqwest::StatusCode;

use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

fn reload(gateway: &Gateway, from: &str, to: &str) {
    let applied = || gateway.metric("sluicegate_config_reloads_total", &["applied"]);
    let before = applied();
    gateway.edit(from, to);
    gateway.signal("HUP");
    wait_until("the reload", || applied() > before);
}

#[test]
fn what_is_under_way_still_takes_its_place() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let server = Server::doing(move |what| {
        if what.ends_with("/held") {
            held.pass();
        }
        Reply::Status(200)
    });
    let gateway = gateway(&[server.address()], "max_connections = 2\nretries = 1");
    thread::scope(|scope| {
        let one = scope.spawn(|| gateway.get("/held").status());
        wait_until("one under way", || server.under_way() == 1);
        reload(&gateway, "retries = 1", "retries = 0");
        let other = scope.spawn(|| gateway.get("/held").status());
        wait_until("two under way", || server.under_way() == 2);
        assert_eq!(gateway.get("/").status(), 503);
        reload(&gateway, "max_connections = 2", "max_connections = 3");
        assert_eq!(gateway.get("/").status(), 200);
        barrier.open();
        assert_eq!((one.join().unwrap(), other.join().unwrap()), (StatusCode::OK, StatusCode::OK));
    });
    reload(&gateway, "max_connections = 3", "max_connections = 1");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status(), 200, "all places have come back");
    }
}

/// A server that was found down stays so until it is checked again, and that is in an hour; and its
/// counters go on.
#[test]
fn health_and_ejections_are_kept() {
    let (mut down, up) = (Server::dead(|_| Reply::Status(200)), Server::start());
    let bad =
        Server::doing(
            |what| {
                if what.ends_with("/healthz") { Reply::Status(204) } else { Reply::Break }
            },
        );
    let gateway = gateway(
        &[down.address(), up.address(), bad.address()],
        "retries = 1\n[upstreams.app.health]\npath = \"/healthz\"\ninterval = \"1h\"\n\
         [upstreams.app.ejection]\nfailures = 1\nfor = \"1h\"",
    );
    assert_eq!(upstream(&gateway, "servers_up", &[]), 2);
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!(upstream(&gateway, "servers_up", &[]), 1);
    down.revive();
    let checks = [down.requests(), up.requests_for("GET /healthz"), bad.requests()];
    for (from, to) in [("retries = 1", "retries = 3"), ("failures = 1", "failures = 9")] {
        reload(&gateway, from, to);
        assert_eq!(upstream(&gateway, "servers_up", &[]), 1);
        for _ in 0..10 {
            assert_eq!(gateway.get("/").status(), 200);
        }
    }
    let after = [down.requests(), up.requests_for("GET /healthz"), bad.requests()];
    assert_eq!(checks, after, "nobody was asked or checked anew");
    assert_eq!(upstream(&gateway, "ejections_total", &[]), 1);
    assert_eq!(upstream(&gateway, "health_checks_total", &[]), 3);
}

/// Another server has another state.
#[test]
fn a_server_that_is_new_is_checked_before_it_is_asked() {
    let (dead, alive) = (Server::dead(|_| Reply::Break), Server::start());
    let health = "[upstreams.app.health]\npath = \"/healthz\"\ninterval = \"1h\"";
    let gateway = gateway(&[dead.address()], health);
    assert_eq!(gateway.get("/").status(), 503);
    reload(&gateway, &dead.address().to_string(), &alive.address().to_string());
    assert_eq!(alive.requests_for("GET /healthz"), 1);
    assert_eq!((gateway.get("/").status().as_u16(), failed(&gateway, "down")), (200, 1));
}

/// A request that lasts keeps the old configuration alive, but not its checks. Those of another
/// upstream tell how much time has passed.
#[test]
fn checks_of_a_replaced_configuration_end() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let server = Server::doing(move |what| {
        if what.ends_with("/held") {
            held.pass();
        }
        Reply::Status(200)
    });
    let clock = Server::start();
    let health = "path = \"/healthz\"\ninterval = \"100ms\"\ntimeout = \"100ms\"";
    let gateway = gateway(
        &[server.address()],
        &format!(
            "[upstreams.app.health]\n{health}\n[upstreams.clock]\nservers = [\"{}\"]\n\
             [upstreams.clock.health]\n{health}",
            clock.address()
        ),
    );
    let checks = |server: &Server| server.requests_for("GET /healthz");
    thread::scope(|scope| {
        let under_way = scope.spawn(|| gateway.get("/held").status());
        wait_until("the request", || server.requests_for("GET /held") == 1);
        reload(&gateway, &format!("[upstreams.app.health]\n{health}"), "");
        let (before, began) = (checks(&server), checks(&clock));
        wait_until("time to pass", || checks(&clock) > began + 8);
        // One may have been under way.
        assert!(checks(&server) <= before + 1, "{before}, then {}", checks(&server));
        barrier.open();
        assert_eq!(under_way.join().unwrap(), StatusCode::OK);
    });
}
