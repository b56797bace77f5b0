//! The rights that docs/operating.md tells the operator to give on a cluster, and what the log says
//! where one is missing or the topology is another.

use super::scene::{STORE, ask, by_ip, client, decided, rule};
use crate::connections::acl::{PASSWORD, documented, documented_for_clusters};
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// All nodes have the documented user with `more` of its rights.
fn cluster_with_user(more: &[&str]) -> Cluster {
    let cluster = Cluster::start(3, 0);
    let (words, for_clusters) = (documented(), documented_for_clusters());
    for node in 0..3 {
        let mut line = vec!["ACL", "SETUSER"];
        line.extend(words.iter().map(String::as_str).chain(for_clusters.iter().copied()));
        line.extend(more);
        cluster.server(node).command::<()>(&line);
    }
    cluster
}

/// A gateway that signs in as that user; it is as its store may be.
fn gateway(cluster: &Cluster, app: &App) -> Gateway {
    let user = format!("redis://{}:{PASSWORD}@", documented()[0]);
    let store = cluster.store(STORE).replace("redis://", &user);
    let trusted = "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let limits = by_ip(5, "") + &rule("/**", &["by-ip"]);
    Gateway::start(&format!("{store}{trusted}{}{limits}", app_at(app.address())))
}

#[test]
fn the_documented_rights_are_enough_on_a_cluster() {
    let (cluster, app) = (cluster_with_user(&[]), App::start());
    let gateway = gateway(&cluster, &app);
    gateway.wait_for_store("up");
    let clients = [0, 1, 2].map(|master| client(&cluster, master));
    for client in &clients {
        assert_eq!(ask(&gateway, client, "/").status(), 200);
    }
    let slot = slot_of(&clients[0]);
    cluster.open_slot(slot, 1);
    cluster.move_keys(slot, 1);
    assert_eq!(ask(&gateway, &clients[0], "/").status(), 200);
    cluster.close_slot(slot, 1);
    assert_eq!(ask(&gateway, &clients[0], "/").status(), 200);
    assert_eq!(decided(&gateway, "redis"), 5.0);
    for node in 0..3 {
        let denied: Vec<redis::Value> = cluster.server(node).command(&["ACL", "LOG"]);
        assert_eq!(denied, [], "nothing was even tried in vain");
    }
}

#[test]
fn a_right_that_is_missing_on_a_cluster_is_named() {
    for right in ["cluster|info", "cluster|slots"] {
        let (cluster, app) = (cluster_with_user(&[&format!("-{right}")]), App::start());
        let gateway = gateway(&cluster, &app);
        wait_until("the log to say so", || gateway.log().contains(right));
        assert_eq!(gateway.readiness()["store"]["state"], "away");
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains(right)).expect("a line");
        assert!(
            line.contains("cannot ask the cluster") && line.contains("no permissions"),
            "{log}"
        );
        assert!(!log.contains(PASSWORD), "{log}");
    }
    let (cluster, app) = (cluster_with_user(&["-asking"]), App::start());
    let gateway = gateway(&cluster, &app);
    gateway.wait_for_store("up");
    let ann = client(&cluster, 0);
    cluster.open_slot(slot_of(&ann), 1);
    assert_eq!(ask(&gateway, &ann, "/").status(), 200);
    wait_until("the log to say so", || gateway.log().contains("'asking'"));
}

/// What the log says where `store` has the wrong topology.
fn says(store: &str, way_out: &str) {
    let app = App::start();
    let limits = by_ip(5, "") + &rule("/**", &["by-ip"]);
    let gateway = Gateway::start(&format!("{store}{}{limits}", app_at(app.address())));
    wait_until("the log to say so", || gateway.log().contains(way_out));
    assert_eq!(ask(&gateway, "192.0.2.1", "/").status(), 200, "it limits all the same");
}

#[test]
fn another_topology_than_the_configured_one_is_told() {
    let (redis, cluster) = (RedisServer::start(), Cluster::start(3, 0));
    let single = format!("[store]\nurl = \"{}\"\n", redis.url());
    says(&format!("{single}topology = \"cluster\"\n"), "set `store.topology` to \"single\"");
    for node in 0..3 {
        let single = format!("[store]\nurl = \"{}\"\n", cluster.server(node).url());
        says(&single, "set `store.topology` to \"cluster\"");
    }
}
