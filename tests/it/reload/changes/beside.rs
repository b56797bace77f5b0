//! What is not of the state: the log, and how the store is asked.

use std::time::Duration;

use crate::reload::{change, post, put, text};
use crate::support::app::App;
use crate::support::fault_proxy::{Behaviour, FaultProxy};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

const POLICY: &str =
    "[policies.p]\nquota = 2\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";

/// Decisions so far that this has made.
fn by(gateway: &Gateway, provenance: &str) -> f64 {
    let label = format!("provenance=\"{provenance}\"");
    gateway.metric("sluicegate_decisions_total", &[&label])
}

#[test]
fn what_is_logged_and_how() {
    let app = App::start();
    let rest = format!("[store]\nkind = \"local\"\n{}", app_at(app.address()));
    let log = "[log]\nlevel = \"error\"\nformat = \"text\"\naccess = false\n";
    let gateway = Gateway::start(&format!("{log}{rest}"));
    let in_force = || gateway.log().matches("the new configuration is in force").count();
    assert_eq!(post(&gateway).0, 200);
    assert_eq!(in_force(), 0);
    change(&gateway, "\"error\"", "\"info\"");
    assert_eq!(in_force(), 1, "{}", gateway.log());
    change(&gateway, "\"text\"", "\"json\"");
    let log = gateway.log();
    let line: serde_json::Value =
        serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["message"], "the new configuration is in force");
    assert_eq!(line["by"], "API");
    change(&gateway, "access = false", "access = true");
    gateway.get("/seen");
    wait_until("an access line", || gateway.log().contains("\"path\":\"/seen\""));
    put(&gateway, &text(&gateway).replace("\"info\"", "\"error\"").replace("\"json\"", "\"text\""));
    post(&gateway);
    let before = gateway.log();
    post(&gateway);
    gateway.get("/unseen");
    wait_until("the request to be over", || {
        gateway.metric("sluicegate_requests_total", &[]) == 2.0
    });
    assert_eq!(gateway.log(), before, "nothing more is said");
}

#[test]
fn how_long_the_store_is_waited_for() {
    let (redis, app) = (RedisServer::start(), App::start());
    let proxy = FaultProxy::start(redis.address());
    let gateway = Gateway::start(&format!(
        "[store]\nurl = \"{}\"\ntimeout = \"10s\"\ndeny_cache = \"0s\"\n{}{POLICY}",
        proxy.url(),
        app_at(app.address())
    ));
    gateway.wait_for_store("up");
    proxy.set(Behaviour::Delay(Duration::from_millis(100)));
    gateway.get("/");
    assert_eq!((by(&gateway, "redis"), by(&gateway, "local")), (1.0, 0.0));
    change(&gateway, "\"10s\"", "\"1ms\"");
    gateway.get("/");
    assert_eq!((by(&gateway, "redis"), by(&gateway, "local")), (1.0, 1.0));
}

#[test]
fn how_long_a_denial_is_remembered() {
    let (redis, app) = (RedisServer::start(), App::start());
    let store = "timeout = \"5s\"\ndeny_cache = \"60s\"\n";
    let gateway = Gateway::with_redis(&redis, store, &format!("{}{POLICY}", app_at(app.address())));
    let statuses: Vec<u16> = (0..4).map(|_| gateway.get("/").status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!((by(&gateway, "redis"), by(&gateway, "deny-cache")), (3.0, 1.0));
    change(&gateway, "\"60s\"", "\"0s\"");
    assert_eq!([(); 2].map(|()| gateway.get("/").status().as_u16()), [429, 429]);
    assert_eq!((by(&gateway, "redis"), by(&gateway, "deny-cache")), (5.0, 1.0));
    change(&gateway, "\"0s\"", "\"60s\"");
    assert_eq!([(); 2].map(|()| gateway.get("/").status().as_u16()), [429, 429]);
    assert_eq!((by(&gateway, "redis"), by(&gateway, "deny-cache")), (6.0, 2.0));
}

#[test]
fn among_how_many_the_quotas_are_shared() {
    let app = App::start();
    let store = "[store]\nurl = \"redis://127.0.0.1:1\"\nexpected_instances = 1\n";
    let policy = POLICY.replace("quota = 2", "quota = 8");
    let gateway = Gateway::start(&format!("{store}{}{policy}", app_at(app.address())));
    let passed = || (0..10).filter(|_| gateway.get("/").status() == 200).count();
    change(&gateway, "expected_instances = 1\n", "expected_instances = 4\n");
    assert_eq!(gateway.metric("sluicegate_instances", &[]), 4.0);
    assert_eq!(passed(), 2, "a share of a quarter");
    change(&gateway, "expected_instances = 4\n", "");
    assert_eq!(gateway.metric("sluicegate_instances", &[]), 1.0);
}
