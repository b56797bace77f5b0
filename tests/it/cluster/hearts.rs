//! How gateways count one another: on each master by itself, under a name that goes with its slots.

use super::scene::{
    STORE, ask, by_ip, client, instances, left, pair, passed, rule, wait_for_stores,
};
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::redis::wait_until;

/// A gateway that has not beaten for so many microseconds is gone, and a smaller count is believed
/// after as long.
const LIFE_US: f64 = 10_000_000.0;

/// The heartbeats that a master has: each set with when its gateways beat last.
fn hearts(cluster: &Cluster, master: usize) -> Vec<(String, Vec<f64>)> {
    let server = cluster.server(master);
    let keys: Vec<String> = server.command(&["KEYS", "*:live"]);
    let beats = |key: &String| {
        let scores: Vec<(String, f64)> = server.command(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
        scores.into_iter().map(|(_, at)| at).collect()
    };
    keys.iter().map(|key| (key.clone(), beats(key))).collect()
}

#[test]
fn gateways_count_each_other_whatever_becomes_of_a_master() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let limits = by_ip(10, "") + &rule("/**", &["by-ip"]);
    let gateways = pair(&cluster.store(STORE), app.address(), &limits);
    for master in 0..3 {
        wait_until(
            "both to beat there",
            || matches!(hearts(&cluster, master).as_slice(), [(_, beats)] if beats.len() == 2),
        );
    }
    let clients = [0, 1, 2].map(|master| client(&cluster, master));
    for client in &clients {
        assert_eq!((passed(&gateways[0], client, 3), passed(&gateways[1], client, 2)), (3, 2));
    }
    // The slot moves by which the gateways name the first master.
    let name = hearts(&cluster, 0).remove(0).0;
    cluster.migrate_slot(slot_of(&name), 1);
    wait_until("both to beat under another name", || {
        hearts(&cluster, 0).iter().any(|(key, beats)| *key != name && beats.len() == 2)
    });
    cluster.kill(2);
    wait_for_stores(&gateways, "partly");
    let latest = || {
        let beats = hearts(&cluster, 0).into_iter().flat_map(|(_, beats)| beats);
        beats.fold(0.0, f64::max)
    };
    let killed = latest();
    wait_until("a smaller count to be believed if there were one", || {
        assert!(gateways.iter().all(|gateway| instances(gateway) == 2.0));
        latest() > killed + LIFE_US + 2_000_000.0
    });
    for (master, client) in clients.iter().enumerate().take(2) {
        assert_eq!(left(&ask(&gateways[0], client, "/"), "by-ip"), 4, "of master {master}");
    }
    // One of two shares of what was left.
    for (gateway, seen) in gateways.iter().zip([3, 5]) {
        let admitted = passed(gateway, &clients[2], 10);
        assert!(admitted <= (10 - seen) / 2 + 1, "{admitted} after {seen}");
    }
}
