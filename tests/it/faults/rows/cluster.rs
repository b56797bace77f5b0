//! Rows about a cluster of three masters, in most with a replica each.

use std::collections::BTreeSet;

use crate::faults::row::Row;
use crate::support::cluster::{Cluster, Plan, slot_of};

/// Slots that move besides those in use.
const EMPTY_SLOTS: u16 = 300;

fn row(number: u32, name: &'static str) -> Row<Cluster> {
    Row::on(number, name, Plan::default())
}

fn without_replicas(number: u32, name: &'static str) -> Row<Cluster> {
    Row::on(number, name, Plan { replicas: 0, ..Plan::default() })
}

/// The slots of the clients that the gateways have counted.
fn slots_in_use(cluster: &Cluster) -> BTreeSet<u16> {
    let keys = cluster.keys().into_iter().filter(|key| key.contains(":sliding:"));
    let slots: BTreeSet<u16> = keys.map(|key| slot_of(&key)).collect();
    assert!(slots.len() > 3, "{slots:?}");
    slots
}

#[test]
fn planned_failover() {
    row(41, "Cluster: planned failover")
        .passing()
        .at_once()
        .run(|cluster| cluster.failover(3), |_| {});
}

#[test]
fn master_killed() {
    row(42, "Cluster: master killed, replica promoted")
        .at_once()
        .run(|cluster| cluster.kill(0), |cluster| assert_eq!(cluster.wait_for_promotion(0), 3));
}

#[test]
fn master_killed_and_back() {
    row(43, "Cluster: killed master comes back").passing().run(
        |cluster| {
            cluster.kill(0);
            cluster.wait_for_promotion(0);
        },
        |cluster| {
            cluster.restart(0);
            cluster.wait_until_well();
            assert_eq!(cluster.replicas_of(3), [0]);
        },
    );
}

#[test]
fn master_killed_without_replica() {
    without_replicas(44, "Cluster: master killed, no replica").run(
        |cluster| cluster.kill(0),
        |cluster| {
            cluster.restart(0);
            cluster.wait_until_well();
        },
    );
}

#[test]
fn master_paused() {
    row(45, "Cluster: master SIGSTOP, replica promoted, SIGCONT").at_once().run(
        |cluster| cluster.pause(0),
        |cluster| {
            cluster.wait_for_promotion(0);
            cluster.resume(0);
            cluster.wait_until_well();
        },
    );
}

#[test]
fn slot_moved() {
    without_replicas(46, "Cluster: one slot moved").unnoticed().run(
        |cluster| {
            let slot = *slots_in_use(cluster).first().expect("one");
            let to = (cluster.master_of(slot) + 1) % 3;
            cluster.migrate_slot(slot, to);
        },
        |_| {},
    );
}

#[test]
fn slots_moved() {
    without_replicas(47, "Cluster: many slots moved").unnoticed().run(
        |cluster| {
            for slot in slots_in_use(cluster) {
                let to = (cluster.master_of(slot) + 1) % 3;
                cluster.migrate_slot(slot, to);
            }
            cluster.migrate_slots(0..EMPTY_SLOTS, 2);
        },
        |cluster| cluster.wait_until_well(),
    );
}

#[test]
fn node_added() {
    without_replicas(48, "Cluster: node added, slots moved to it").unnoticed().run(
        |cluster| {
            let added = cluster.add_master();
            let slots: Vec<u16> = slots_in_use(cluster).into_iter().step_by(2).collect();
            for slot in slots {
                cluster.migrate_slot(slot, added);
            }
            cluster.migrate_slots(0..EMPTY_SLOTS, added);
            let keys: Vec<String> = cluster.server(added).command(&["KEYS", "*:sliding:*"]);
            assert!(!keys.is_empty(), "it counts");
        },
        |cluster| cluster.wait_until_well(),
    );
}

#[test]
fn all_killed() {
    row(49, "Cluster: all nodes killed, and back").run(Cluster::kill_all, Cluster::restart_all);
}
