//! Meters whose keys are on different masters.

use std::collections::BTreeMap;

use super::scene::{STORE, ask, instances, pair, wait_for_stores};
use crate::meters::{Batch, acknowledge_of, export_of, meters};
use crate::support::app::{App, response};
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

/// Each client counts once for an item of it.
fn meter(name: &str) -> String {
    format!("[meters.{name}]\npaths = [\"/{name}/*\"]\nunique_by = \"ip\"\nunique_for = \"24h\"\n")
}

/// What it adds to be pushed to an upstream `taker`, every second.
fn pushed(name: &str, taker: &App) -> String {
    format!(
        "export = \"push\"\n[meters.{name}.push]\nupstream = \"taker\"\npath = \"/{name}\"\n\
         every = \"1s\"\n[upstreams.taker]\nservers = [\"{}\"]\n",
        taker.address()
    )
}

fn results(gateways: &[Gateway], meter: &str) -> [f64; 2] {
    ["counted", "duplicate"].map(|result| {
        let labels = [format!("\"{meter}\""), format!("\"{result}\"")];
        let labels = labels.each_ref().map(String::as_str);
        let each = gateways.iter();
        each.map(|gateway| gateway.metric("sluicegate_meter_views_total", &labels)).sum()
    })
}

fn counts(of: &[(String, u64)]) -> BTreeMap<String, u64> {
    of.iter().cloned().collect()
}

/// Both gateways are asked twice by each of `clients` for an item of this meter.
fn view(gateways: &[Gateway; 2], meter: &str, clients: std::ops::Range<u8>) {
    for client in clients {
        for turn in 0..4 {
            let client = format!("192.0.2.{client}");
            let answer = ask(&gateways[turn % 2], &client, &format!("/{meter}/1"));
            assert_eq!(answer.status(), 200);
        }
    }
}

/// Two gateways over `store` count for each of the meters of these names, of which the last one is
/// pushed.
pub(crate) fn are_counted_and_taken_once(store: &str, names: [&str; 3]) {
    let app = App::start();
    let taker = App::answering(|_| response("204 No Content", "", b""));
    let config = names.map(meter).concat() + &pushed(names[2], &taker);
    let gateways = pair(store, app.address(), &config);
    for name in names {
        view(&gateways, name, 1..11);
        wait_until("all views", || results(&gateways, name) == [10.0, 30.0]);
    }
    let item = |name: &str, count| counts(&[(format!("/{name}/1"), count)]);
    for name in &names[..2] {
        let batches = export_of(&gateways[0], name);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].counts, item(name, 10));
        assert_eq!(export_of(&gateways[1], name), batches, "the same for everybody");
        acknowledge_of(&gateways[1], name, &batches[0].name);
        assert_eq!(export_of(&gateways[0], name), []);
    }
    let said = String::from_utf8(meters(&gateways[0], &[]).stdout).expect("text");
    for name in names {
        assert!(said.contains(&format!("meter     {name}\n")), "{said}");
    }
    // It comes in several batches if it was seen in several seconds, and each batch once.
    let mut batches = BTreeMap::new();
    wait_until("the push", || {
        for seen in taker.seen() {
            assert_eq!(seen.target, format!("/{}", names[2]));
            let text = std::str::from_utf8(&seen.body).expect("text");
            let batch = Batch::read_of(names[2], text);
            batches.insert(batch.name, batch.counts.values().sum::<u64>());
        }
        batches.values().sum::<u64>() == 10
    });
    let pending = || {
        let each = gateways.iter();
        each.map(|one| one.metric("sluicegate_meter_pending_batches", &[names[2]])).sum::<f64>()
    };
    wait_until("its acknowledgement", || pending() == 0.0);
    assert_eq!(taker.seen().len(), batches.len(), "none came twice");
    assert!(gateways.iter().all(|gateway| instances(gateway) == 2.0));
}

/// A name for a meter on each master.
fn names(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|master| {
        let itself = cluster.itself(master);
        let mut names = (0..).map(|number| format!("meter-{number}"));
        let here = |name: &String| itself.owns(slot_of(&format!("meter:{name}")));
        names.find(here).expect("one of so many")
    })
}

#[test]
fn views_are_counted_on_every_master_and_taken_once() {
    let cluster = Cluster::start(3, 0);
    let names = names(&cluster);
    are_counted_and_taken_once(&cluster.store(STORE), names.each_ref().map(String::as_str));
    for (master, name) in names.iter().enumerate() {
        let keys: Vec<String> = cluster.server(master).command(&["KEYS", "*{meter:*"]);
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|key| key.contains(&format!("{{meter:{name}}}"))), "{keys:?}");
    }
}

#[test]
fn views_wait_for_a_dead_master_and_the_others_are_counted() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let names = names(&cluster);
    let config: String = names.iter().map(|name| meter(name)).collect();
    let gateways = pair(&cluster.store(STORE), app.address(), &config);
    cluster.kill(1);
    wait_for_stores(&gateways, "partly");
    for name in &names {
        view(&gateways, name, 1..4);
    }
    for name in [&names[0], &names[2]] {
        wait_until("the views", || results(&gateways, name) == [3.0, 9.0]);
        assert_eq!(export_of(&gateways[0], name)[0].counts.values().sum::<u64>(), 3);
    }
    assert_eq!(results(&gateways, &names[1])[0], 0.0, "nobody can tell");
    let output = meters(&gateways[0], &["export", &names[1]]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    let dead = cluster.nodes()[1].to_string();
    assert!(said.contains("Redis did not answer") && said.contains(&dead), "{said}");
    cluster.restart(1);
    wait_until("the views", || results(&gateways, &names[1]) == [3.0, 9.0]);
    assert_eq!(export_of(&gateways[0], &names[1])[0].counts.values().sum::<u64>(), 3);
}
