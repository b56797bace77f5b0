//! Requests of policies whose keys are on different masters: what one has taken it gives back when
//! another denies, and none is charged where one has to say no by itself.

use super::scene::{
    STORE, ask, by_ip, client, everyone, gateway, left, other_than, rule, wait_for_stores,
};
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

const EVERYONE: &str = "everyone";

fn refunds(gateway: &Gateway, by: &str) -> f64 {
    gateway.metric("sluicegate_refunds_total", &[&format!("by=\"{by}\"")])
}

/// A client whose own count is on another master than that of everyone.
fn somebody(cluster: &Cluster) -> String {
    client(cluster, other_than(cluster, EVERYONE))
}

fn rules() -> String {
    rule("/both", &["by-ip", "all"]) + &rule("/own", &["by-ip"]) + &rule("/all", &["all"])
}

#[test]
fn what_is_denied_elsewhere_is_given_back() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let limits = by_ip(10, "") + &everyone(3, "") + &rules();
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits);
    let ann = somebody(&cluster);
    for turn in 1..=3 {
        let answer = ask(&gateway, &ann, "/both");
        assert_eq!((answer.status().as_u16(), left(&answer, "by-ip")), (200, 10 - turn));
    }
    for turn in 1..=4_u64 {
        let answer = ask(&gateway, &ann, "/both");
        assert_eq!((answer.status().as_u16(), left(&answer, "all")), (429, 0));
        assert_eq!(left(&answer, "by-ip"), 7, "as it is once it has been given back");
        wait_until("it to be given back", || refunds(&gateway, "redis") == turn as f64);
    }
    assert_eq!(left(&ask(&gateway, &ann, "/own"), "by-ip"), 6);
    assert_eq!(refunds(&gateway, ""), 0.0);
    assert_eq!(gateway.metric("sluicegate_refunds_total", &[]), 4.0);
    assert_eq!(gateway.metric("sluicegate_settlements_total", &[]), 0.0, "no cost was reported");
}

/// A policy in shadow mode is counted as if it was enforced: what is denied is not counted.
#[test]
fn a_shadow_policy_gets_back_what_it_took_and_has_nothing_taken_back() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let limits = by_ip(2, "mode = \"shadow\"") + &everyone(4, "") + &rules();
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits);
    let (ann, ben) = (somebody(&cluster), {
        let master = other_than(&cluster, EVERYONE);
        super::scene::clients(&cluster, master).nth(1).expect("one of so many")
    });
    // What it would deny passes, and is charged to the other policy.
    let statuses = [(); 3].map(|()| ask(&gateway, &ann, "/both").status().as_u16());
    assert_eq!(statuses, [200; 3]);
    assert_eq!(refunds(&gateway, "redis"), 0.0);
    assert_eq!(left(&ask(&gateway, &ann, "/all"), "all"), 0);
    // And what the other denies is given back to it.
    for turn in 1..=3_u64 {
        assert_eq!(ask(&gateway, &ben, "/both").status(), 429);
        wait_until("it to be given back", || refunds(&gateway, "redis") == turn as f64);
    }
    let denied = ["policy=\"by-ip\"", "decision=\"deny\""];
    let before = gateway.metric("sluicegate_decisions_total", &denied);
    for _ in 0..2 {
        assert_eq!(ask(&gateway, &ben, "/own").status(), 200);
    }
    let would_deny = || gateway.metric("sluicegate_decisions_total", &denied) - before;
    assert_eq!(would_deny(), 0.0, "both were left");
    ask(&gateway, &ben, "/own");
    assert_eq!(would_deny(), 1.0);
}

/// One master is dead, and a policy with a key there says what is done without it.
#[test]
fn what_a_dead_master_would_decide_is_decided_before_the_others_are_charged() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let ann = somebody(&cluster);
    let gateways = ["deny", "allow", "local"].map(|what| {
        let more = format!("on_store_error = \"{what}\"");
        let limits = by_ip(2, &more) + &everyone(50, "") + &rules();
        let store = cluster.store(&format!("{STORE}key_prefix = \"{what}\"\n"));
        gateway(&store, app.address(), &limits)
    });
    let [deny, allow, local] = &gateways;
    for gateway in &gateways {
        assert_eq!(left(&ask(gateway, &ann, "/all"), "all"), 49);
    }
    cluster.kill(cluster.master_of(slot_of(&ann)));
    wait_for_stores(&gateways, "partly");
    for _ in 0..3 {
        assert_eq!(ask(deny, &ann, "/both").status(), 503);
    }
    assert_eq!(left(&ask(deny, &ann, "/all"), "all"), 48, "nobody was charged");
    for turn in 1..=3 {
        let answer = ask(allow, &ann, "/both");
        assert_eq!((answer.status().as_u16(), left(&answer, "all")), (200, 49 - turn));
    }
    // Whoever shares the masters beats there, under another prefix: it is alone.
    let statuses = [(); 4].map(|()| ask(local, &ann, "/both").status().as_u16());
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(left(&ask(local, &ann, "/all"), "all"), 46, "two passed");
    for gateway in &gateways {
        assert_eq!(gateway.metric("sluicegate_refunds_total", &[]), 0.0, "nothing to give back");
    }
}

/// The master that denies is alive, and the other policy was charged here.
#[test]
fn what_was_charged_without_a_master_is_given_back_here() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let ann = somebody(&cluster);
    let limits = by_ip(2, "") + &everyone(1, "") + &rules();
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits);
    assert_eq!(ask(&gateway, &ann, "/all").status(), 200);
    cluster.kill(cluster.master_of(slot_of(&ann)));
    gateway.wait_for_store("partly");
    for turn in 1..=5_u64 {
        assert_eq!(ask(&gateway, &ann, "/both").status(), 429);
        assert_eq!(refunds(&gateway, "local"), turn as f64);
    }
    let statuses = [(); 3].map(|()| ask(&gateway, &ann, "/own").status().as_u16());
    assert_eq!(statuses, [200, 200, 429], "both were left");
}
