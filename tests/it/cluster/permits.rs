//! Permits of `concurrency` policies whose keys are on different masters.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::scene::{
    STORE, ask, client, clients, everyone, gateway, other_than, pair, rule, wait_for_stores,
};
use crate::concurrency::holding::HoldingApp;
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;
use crate::support::raw;
use crate::support::redis::wait_until;

const QUOTA: usize = 4;
/// A permit that nobody gives back ends by itself after thrice as long.
const SOON: Duration = Duration::from_secs(10);

fn slots() -> String {
    format!(
        "[policies.slots]\nalgorithm = \"concurrency\"\nquota = {QUOTA}\npartition = [\"ip\"]\n"
    )
}

fn key(client: &str) -> String {
    format!("sg:{{{client}}}:slots:n")
}

fn held_in(cluster: &Cluster, client: &str) -> usize {
    let key = key(client);
    cluster.server(cluster.master_of(slot_of(&key))).command(&["ZCARD", &key])
}

fn held_by(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_permits_held", &[])
}

/// Sends requests one after the other; those that are with the application.
fn fill(app: &HoldingApp, gateway: &Gateway, client: &str, count: usize) -> Vec<TcpStream> {
    app.fill_with(gateway.public(), &format!("x-forwarded-for: {client}\r\n"), count)
}

fn finish(app: &HoldingApp, streams: Vec<TcpStream>) {
    app.release();
    for mut stream in streams {
        assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200 "));
    }
}

/// When the first permit of this client ends in Redis, if it is not renewed.
fn first_end(cluster: &Cluster, client: &str) -> u64 {
    let key = key(client);
    let server = cluster.server(cluster.master_of(slot_of(&key)));
    let ends: Vec<(String, u64)> = server.command(&["ZRANGE", &key, "0", "0", "WITHSCORES"]);
    ends.first().map_or(0, |(_, end)| *end)
}

#[test]
fn permits_are_exact_and_a_dead_master_takes_none_of_the_others() {
    let (mut cluster, app) = (Cluster::start(3, 0), HoldingApp::start());
    let limits = slots() + &rule("/**", &["slots"]);
    let gateways = pair(&cluster.store(STORE), app.address(), &limits);
    let known = [0, 1, 2].map(|master| client(&cluster, master));
    let unknown = clients(&cluster, 1).nth(1).expect("one of so many");
    let mut held = Vec::new();
    for client in &known {
        held.extend(fill(&app, &gateways[0], client, QUOTA / 2));
        held.extend(fill(&app, &gateways[1], client, QUOTA));
        assert_eq!(held_in(&cluster, client), QUOTA);
    }
    cluster.kill(1);
    wait_for_stores(&gateways, "partly");
    let end = first_end(&cluster, &known[0]);
    // Who was not known has one of two shares with each gateway.
    for gateway in &gateways {
        assert_eq!(fill(&app, gateway, &known[1], 1).len(), 0, "all are taken");
        let new = fill(&app, gateway, &unknown, 3);
        assert_eq!(new.len(), QUOTA / 2);
        held.extend(new);
    }
    wait_until("the others to be renewed", || first_end(&cluster, &known[0]) > end);
    assert_eq!(held_in(&cluster, &known[0]), QUOTA);
    finish(&app, held);
    for client in [&known[0], &known[2]] {
        wait_until("nothing to be left", || held_in(&cluster, client) == 0);
    }
    // What has ended there cannot be told, and that keeps nobody waiting.
    let mut again = fill(&app, &gateways[1], &known[0], QUOTA + 1);
    assert_eq!(again.len(), QUOTA);
    again.extend(fill(&app, &gateways[0], &known[1], QUOTA));
    assert_eq!(again.len(), QUOTA + QUOTA / 2);
    cluster.restart(1);
    wait_for_stores(&gateways, "up");
    assert_eq!([held_in(&cluster, &known[1]), held_in(&cluster, &unknown)], [QUOTA / 2, 0]);
    finish(&app, again);
    wait_until("nothing to be left", || {
        known.iter().all(|client| held_in(&cluster, client) == 0)
            && gateways.iter().all(|gateway| held_by(gateway) == 0.0)
    });
    assert_eq!(fill(&app, &gateways[0], &known[1], QUOTA + 1).len(), QUOTA, "exact again");
}

#[test]
fn a_request_that_is_denied_elsewhere_leaves_no_permit_behind() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let limits = slots() + &everyone(1, "") + &rule("/**", &["slots", "all"]);
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits);
    let master = other_than(&cluster, "everyone");
    let ann = client(&cluster, master);
    let given_back = || cluster.calls(master).get("zrem").copied().unwrap_or(0);
    assert_eq!(ask(&gateway, &ann, "/").status(), 200);
    wait_until("nothing to be left", || held_in(&cluster, &ann) == 0);
    for turn in 0..20 {
        let before = given_back();
        assert_eq!(ask(&gateway, &ann, "/").status(), 429);
        let until = Instant::now() + SOON;
        while given_back() == before || held_in(&cluster, &ann) > 0 {
            assert!(Instant::now() < until, "a permit is left of request {turn}");
            std::thread::yield_now();
        }
    }
    assert_eq!(held_by(&gateway), 0.0);
    assert_eq!(gateway.metric("sluicegate_refunds_total", &[]), 0.0, "no quota was charged");
}
