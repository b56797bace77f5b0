//! Rows about a master, two replicas and three Sentinels.

use crate::faults::row::Row;
use crate::support::sentinels::{Plan, Sentinels};

fn row(number: u32, name: &'static str) -> Row<Sentinels> {
    let user = Some(("sentinel-user", "hunter3"));
    Row::on(number, name, Plan { password: Some("hunter2"), user, ..Plan::default() })
}

/// A row whose network can be parted.
fn partable(number: u32, name: &'static str) -> Row<Sentinels> {
    Row::on(number, name, Plan { partable: true, ..Plan::default() })
}

#[test]
fn planned_failover() {
    row(31, "Sentinel: planned failover").passing().at_once().run(
        |sentinels| {
            sentinels.planned_failover();
        },
        |_| {},
    );
}

#[test]
fn master_killed() {
    row(32, "Sentinel: master killed, replica promoted").at_once().run(
        |sentinels| assert_eq!(sentinels.kill_master(), 0),
        |sentinels| {
            sentinels.wait_for_other_master(0);
        },
    );
}

/// It starts as the master that it was, and the Sentinels make it a replica.
#[test]
fn demoted_master_back() {
    row(33, "Sentinel: killed master comes back").passing().run(
        |sentinels| {
            sentinels.kill_master();
            sentinels.wait_for_other_master(0);
        },
        |sentinels| {
            sentinels.restart(0);
            sentinels.wait_for_demotion(0);
        },
    );
}

#[test]
fn all_sentinels_gone() {
    row(34, "Sentinel: all Sentinels gone")
        .unnoticed()
        .run(Sentinels::kill_sentinels, Sentinels::restart_sentinels);
}

/// Two masters, for as long as the gateways are not told: each admits its quota.
#[test]
fn master_parted_from_sentinels() {
    partable(35, "Sentinel: master cut off from Sentinels and replicas").passing().run(
        |sentinels| {
            sentinels.cut_off_backstage(0);
            sentinels.wait_for_other_master(0);
        },
        |sentinels| {
            sentinels.heal(0);
            sentinels.wait_for_demotion(0);
        },
    );
}

#[test]
fn master_parted_from_gateways() {
    partable(36, "Sentinel: master cut off from gateways")
        .run(|sentinels| sentinels.cut_off_gateways(0), |sentinels| sentinels.heal(0));
}

#[test]
fn master_parted_from_all() {
    partable(37, "Sentinel: master cut off from everybody, replica promoted").at_once().run(
        |sentinels| sentinels.cut_off(0),
        |sentinels| {
            sentinels.wait_for_other_master(0);
            sentinels.heal(0);
            sentinels.wait_for_demotion(0);
        },
    );
}
