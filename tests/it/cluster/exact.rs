//! How many of one subject's requests are admitted.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::gateway;
use crate::endurance::{soaking, tell};
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

const THREADS: usize = 8;

#[test]
fn each_key_is_counted_where_its_slot_is() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let rules = "[policies.by-name]\nquota = 3\nwindow = \"1h\"\npartition = [\"header:x-name\"]\n\
                 [[rules]]\npath = \"/**\"\npolicies = [\"by-name\"]\n";
    let gateway = gateway(&cluster, &app, "", rules);
    let mut caller = Caller::new(gateway.public());
    for name in 0..30 {
        let header = format!("x-name: {name}\r\n");
        let statuses = [(); 5].map(|()| caller.get("/", &header).expect("an answer"));
        assert_eq!(statuses, [200, 200, 200, 429, 429], "{name}");
    }
    let mut keys = cluster.keys();
    keys.retain(|key| key.contains(":by-name:"));
    assert_eq!(keys.len(), 30);
    for key in keys {
        let master = cluster.server(cluster.master_of(slot_of(&key)));
        assert_eq!(master.command::<u64>(&["EXISTS", &key]), 1, "{key}");
    }
    assert_eq!(gateway.metric("sluicegate_store_errors_total", &[]), 0.0);
}

/// Requests of one subject under three policies at once, over two gateways: how many pass, and how
/// many each policy of the first gateway denies.
fn admitted(gateways: &[Gateway; 2], requests: usize) -> usize {
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (passed, gateway) = (&passed, &gateways[thread % 2]);
            scope.spawn(move || {
                let mut caller = Caller::new(gateway.public());
                for _ in 0..requests / THREADS {
                    match caller.get("/", "x-name: one\r\n").expect("an answer") {
                        200 => passed.fetch_add(1, Ordering::Relaxed),
                        429 => 0,
                        other => panic!("unexpected status {other}"),
                    };
                }
            });
        }
    });
    for gateway in gateways {
        let by = |provenance: &str| {
            let label = format!("provenance=\"{provenance}\"");
            gateway.metric("sluicegate_decisions_total", &[&label])
        };
        assert!(by("redis") > 0.0 && by("local") + by("fail-open") == 0.0);
        // One subject is in one slot: there is nothing to give back.
        assert_eq!(gateway.metric("sluicegate_refunds_total", &[]), 0.0);
    }
    passed.into_inner()
}

#[test]
fn one_subject_is_admitted_as_on_a_single_server() {
    let requests = if soaking() { 100_000 } else { 8_000 };
    let quota = requests / 2;
    let app = App::start();
    let rules = format!(
        "[policies.sliding]\nquota = {quota}\nwindow = \"1h\"\npartition = [\"header:x-name\"]\n\
         [policies.daily]\nquota = {}\nwindow = \"24h\"\npartition = [\"header:x-name\"]\n\
         [policies.bucket]\nquota = {requests}\nwindow = \"24h\"\nburst = {}\n\
         partition = [\"header:x-name\"]\nalgorithm = \"token-bucket\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"sliding\", \"daily\", \"bucket\"]\n",
        quota + 1,
        quota + 2,
    );
    // Every denial is Redis' own.
    let store = "deny_cache = \"0s\"\n";
    let cluster = Cluster::start(3, 0);
    let shared = [(); 2].map(|()| gateway(&cluster, &app, store, &rules));
    let of_cluster = admitted(&shared, requests);
    drop((shared, cluster));
    let redis = RedisServer::start();
    let config = format!("{}{rules}", app_at(app.address()));
    let store = format!("timeout = \"1s\"\n{store}");
    let alone = [(); 2].map(|()| Gateway::with_redis(&redis, &store, &config));
    let of_one = admitted(&alone, requests);
    let figures =
        format!("{requests} requests: {of_cluster} admitted by a cluster, {of_one} by one server");
    tell("cluster one subject", &figures);
    assert_eq!([of_cluster, of_one], [quota, quota]);
}
