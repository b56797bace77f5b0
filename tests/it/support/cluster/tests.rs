//! That the cluster does what its methods say.

use std::collections::BTreeSet;

use redis::ErrorKind;

use super::{Cluster, Plan, SLOTS, slot_of};
use crate::support::redis::wait_until;

/// Writes keys, each to the master of its slot.
fn write(cluster: &Cluster, keys: &[String]) {
    for key in keys {
        let master = cluster.server(cluster.master_of(slot_of(key)));
        master.command::<()>(&["SET", key, "1"]);
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{{{number}}}")).collect()
}

/// Keys in one slot.
fn neighbours(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{one}}:{number}")).collect()
}

fn all(cluster: &Cluster) -> BTreeSet<String> {
    cluster.keys().into_iter().collect()
}

#[test]
fn a_cluster_serves_every_slot_at_one_master() {
    let cluster = Cluster::start(3, 0);
    for (key, slot) in names(50).iter().map(|key| (key, slot_of(key))) {
        let said: u16 = cluster.server(0).command(&["CLUSTER", "KEYSLOT", key]);
        assert_eq!(slot, said, "{key}");
    }
    assert_eq!([0, SLOTS / 2, SLOTS - 1].map(|slot| cluster.master_of(slot)), [0, 1, 2]);
    let view: BTreeSet<_> = cluster.view(0).into_iter().map(|peer| peer.address).collect();
    assert_eq!(view, cluster.nodes().iter().map(ToString::to_string).collect());
    let keys = names(50);
    write(&cluster, &keys);
    assert_eq!(all(&cluster), keys.iter().cloned().collect());
    let calls: u64 = (0..3).map(|node| cluster.calls(node)["set"]).sum();
    assert_eq!(calls, 50);
    assert!((0..3).all(|node| cluster.used_memory(node) > 0 && cluster.calls(node)["set"] > 0));
    let elsewhere = (cluster.master_of(slot_of("foo")) + 1) % 3;
    let moved = cluster.server(elsewhere).try_command::<()>(&["SET", "foo", "1"]).unwrap_err();
    assert_eq!(moved.redirect_node().map(|(_, slot)| slot), Some(slot_of("foo")), "{moved}");
    cluster.set_config_everywhere("maxmemory-policy", "volatile-ttl");
    let set: Vec<String> = cluster.server(2).command(&["CONFIG", "GET", "maxmemory-policy"]);
    assert_eq!(set[1], "volatile-ttl");
}

#[test]
fn replicas_take_over_from_masters_that_are_killed_or_hang_or_give_way() {
    let mut cluster = Cluster::start_with(Plan { login: ":hunter2@", ..Plan::default() });
    let keys = names(20);
    write(&cluster, &keys);
    for server in (0..3).map(|node| cluster.server(node)) {
        server.command::<usize>(&["WAIT", "1", "0"]);
    }
    assert_eq!([0, 1, 2].map(|master| cluster.replicas_of(master)), [[3], [4], [5]]);
    cluster.failover(5);
    assert_eq!(cluster.master_of(SLOTS - 1), 5);
    cluster.kill(0);
    assert_eq!(cluster.wait_for_promotion(0), 3);
    cluster.pause(1);
    assert_eq!(cluster.wait_for_promotion(1), 4);
    assert_eq!([0, SLOTS / 2, SLOTS - 1].map(|slot| cluster.master_of(slot)), [3, 4, 5]);
    assert_eq!(all(&cluster), keys.iter().cloned().collect(), "they had the data");
    cluster.resume(1);
    cluster.restart(0);
    wait_until("the old masters to be replicas", || cluster.masters() == [3, 4, 5]);
    cluster.wait_until_well();
    assert!([3, 4, 5].iter().all(|master| cluster.replicas_of(*master) == [master - 3]));
}

#[test]
fn a_cluster_is_down_where_a_master_is_missing() {
    let plan = Plan { replicas: 0, full_coverage: true, ..Plan::default() };
    let mut cluster = Cluster::start_with(plan);
    cluster.kill(2);
    wait_until("the others to stop", || {
        let refused = cluster.server(0).try_command::<()>(&["GET", "{1}"]).err();
        refused.is_some_and(|error| {
            error.kind() == ErrorKind::Server(redis::ServerErrorKind::ClusterDown)
        })
    });
    cluster.kill_all();
    cluster.restart_all();
    assert_eq!(cluster.masters(), [0, 1, 2]);
}

#[test]
fn slots_move_with_their_keys_and_nodes_come_and_go() {
    let mut cluster = Cluster::start(2, 0);
    let keys = neighbours(250);
    write(&cluster, &keys);
    let slot = slot_of(&keys[0]);
    let from = cluster.master_of(slot);
    let to = 1 - from;
    cluster.open_slot(slot, to);
    let ask = |words: &[&str]| cluster.server(from).try_command::<()>(words).unwrap_err();
    let away = ask(&["GET", "{one}:away"]);
    assert_eq!(away.kind(), ErrorKind::Server(redis::ServerErrorKind::Ask), "{away}");
    let some = ask(&["MGET", &keys[0], "{one}:away"]);
    assert_eq!(some.kind(), ErrorKind::Server(redis::ServerErrorKind::TryAgain), "{some}");
    cluster.move_keys(slot, to);
    assert_eq!(cluster.master_of(slot), from, "its slot is still open");
    cluster.close_slot(slot, to);
    assert_eq!(cluster.master_of(slot), to);
    let added = cluster.add_master();
    cluster.migrate_slots(slot..slot + 3, added);
    assert_eq!(cluster.server(added).command::<usize>(&["DBSIZE"]), keys.len());
    assert_eq!(all(&cluster), keys.iter().cloned().collect());
    cluster.migrate_slots(slot..slot + 3, from);
    cluster.remove(added);
    assert_eq!(cluster.nodes().len(), 2);
    cluster.wait_until_well();
    assert!(cluster.view(from).iter().all(|peer| peer.id != cluster.id(added)));
    let heir = cluster.add_replica(from);
    assert_eq!(cluster.replicas_of(from), [heir]);
    assert_eq!(all(&cluster), keys.iter().cloned().collect());
}
