//! A master that goes and comes back empty: what the gateways tell it, and what the others do not
//! notice.

use super::scene::{STORE, by_ip, client, clients, decided, pair, passed, rule, wait_for_stores};
use crate::support::app::App;
use crate::support::cluster::{Cluster, SLOTS, slot_of};

fn an_empty_master_grants_nothing(algorithm: &str) {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let policy = by_ip(10, &format!("algorithm = \"{algorithm}\""));
    let limits = policy + &rule("/**", &["by-ip"]);
    let gateways = pair(&cluster.store(STORE), app.address(), &limits);
    let [known, full, new] = [(); 3].map({
        let mut clients = clients(&cluster, 1);
        move |()| clients.next().expect("one of so many")
    });
    let elsewhere: Vec<String> = clients(&cluster, 0).take(2).collect();
    for client in [&known, &elsewhere[0]] {
        assert_eq!(passed(&gateways[0], client, 4), 4);
        assert_eq!(passed(&gateways[1], client, 1), 1);
    }
    assert_eq!(passed(&gateways[0], &full, 12), 10);
    cluster.kill(1);
    wait_for_stores(&gateways, "partly");
    // The first knows of four and the second of five: half of what was left, each.
    assert_eq!(passed(&gateways[0], &known, 9), 3);
    assert_eq!(passed(&gateways[1], &known, 9), 2);
    assert_eq!(passed(&gateways[0], &full, 3), 0, "limited before, limited now");
    let local = gateways.each_ref().map(|gateway| decided(gateway, "local"));
    assert_eq!(passed(&gateways[1], &elsewhere[0], 9), 5, "not a share, but what is left");
    cluster.restart(1);
    wait_for_stores(&gateways, "up");
    assert_eq!(cluster.server(1).command::<u64>(&["EXISTS", &format!("sg:{{{new}}}:by-ip:s")]), 0);
    for gateway in &gateways {
        assert_eq!(passed(gateway, &known, 3), 0, "ten have been admitted");
        assert_eq!(passed(gateway, &full, 3), 0);
        assert_eq!(passed(gateway, &elsewhere[0], 3), 0);
    }
    assert_eq!(passed(&gateways[1], &new, 12), 10, "who was not known has a whole quota");
    assert_eq!(passed(&gateways[0], &elsewhere[1], 12), 10);
    assert_eq!(gateways.each_ref().map(|gateway| decided(gateway, "local")), local);
}

#[test]
fn a_master_that_returns_empty_grants_nobody_a_fresh_window() {
    an_empty_master_grants_nothing("sliding-window");
}

#[test]
fn a_master_that_returns_empty_grants_nobody_a_fresh_bucket() {
    an_empty_master_grants_nothing("token-bucket");
}

/// An operator gives the slots of a dead master to another one, which knows nothing of them.
#[test]
fn slots_that_another_master_takes_over_empty_grant_nobody_a_fresh_window() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let limits = by_ip(10, "") + &rule("/**", &["by-ip"]);
    let gateways = pair(&cluster.store(STORE), app.address(), &limits);
    let itself = cluster.itself(1);
    let own = || (0..SLOTS).filter(|slot| itself.owns(*slot)).map(|slot| slot.to_string());
    let (from, to) = (own().next().expect("a slot"), own().next_back().expect("a slot"));
    let orphans: Vec<String> = clients(&cluster, 1).take(3).collect();
    let [known, full, new] = orphans.try_into().expect("three of so many");
    assert_eq!((passed(&gateways[0], &known, 4), passed(&gateways[1], &known, 1)), (4, 1));
    assert_eq!(passed(&gateways[0], &full, 12), 10);
    let elsewhere = client(&cluster, 0);
    assert_eq!(passed(&gateways[0], &elsewhere, 6), 6);
    cluster.kill(1);
    wait_for_stores(&gateways, "partly");
    assert_eq!((passed(&gateways[0], &known, 9), passed(&gateways[1], &known, 9)), (3, 2));
    for node in [0, 2] {
        cluster.server(node).command::<()>(&["CLUSTER", "DELSLOTSRANGE", &from, &to]);
    }
    cluster.server(0).command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
    cluster.server(0).command::<String>(&["CLUSTER", "BUMPEPOCH"]);
    wait_for_stores(&gateways, "up");
    assert_eq!(cluster.master_of(slot_of(&known)), 0);
    for gateway in &gateways {
        assert_eq!(passed(gateway, &known, 3), 0, "ten have been admitted");
        assert_eq!(passed(gateway, &full, 3), 0);
    }
    assert_eq!(passed(&gateways[1], &elsewhere, 12), 4);
    assert_eq!(passed(&gateways[1], &new, 12), 10, "who was not known has a whole quota");
}
