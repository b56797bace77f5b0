//! `sluicegate explain --store` where keys are on different masters.

use std::process::{Command, Output};

use super::scene::{STORE, ask, by_ip, client, everyone, gateway, other_than, rule};
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::{BINARY, Gateway};

/// What it says of a request by this client, with the configuration of `gateway`.
pub(crate) fn explained(gateway: &Gateway, client: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["explain", "--config"]).arg(gateway.config()).args(["--path", "/", "--ip"]);
    command.arg(client).arg("--store").output().expect("it runs")
}

pub(crate) fn limits() -> String {
    let slots = "[policies.slots]\nalgorithm = \"concurrency\"\nquota = 5\npartition = [\"ip\"]\n";
    by_ip(10, "") + &everyone(20, "") + slots + &rule("/**", &["by-ip", "all", "slots"])
}

/// What stands behind `now` of each policy, in the order of their names.
pub(crate) fn now(output: &Output) -> Vec<String> {
    let text = std::str::from_utf8(&output.stdout).expect("text");
    let part = |policy: &str| {
        let of = text.split(&format!("policy    {policy}\n")).nth(1).expect("the policy");
        let line = of.lines().find_map(|line| line.strip_prefix("now       "));
        line.expect("how it stands").to_owned()
    };
    ["all", "by-ip", "slots"].map(part).to_vec()
}

#[test]
fn each_key_is_explained_and_which_one_cannot_be() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits());
    let ann = client(&cluster, other_than(&cluster, "everyone"));
    for _ in 0..2 {
        assert_eq!(ask(&gateway, &ann, "/").status(), 200);
    }
    let (slot, own) = (slot_of("everyone"), cluster.master_of(slot_of(&ann)));
    let stands = |when: &str| {
        let output = explained(&gateway, &ann);
        assert!(output.status.success(), "{when}: {output:?}");
        let now = now(&output);
        assert!(now[0].starts_with("18 of 20 left"), "{when}: {now:?}");
        assert!(now[1].starts_with("8 of 10 left"), "{when}: {now:?}");
        assert!(now[2].starts_with("5 of 5 left"), "{when}: {now:?}");
    };
    stands("at rest");
    cluster.open_slot(slot, own);
    cluster.move_keys(slot, own);
    stands("while a slot moves");
    cluster.close_slot(slot, own);
    stands("when it has");
    let other = other_than(&cluster, &ann);
    cluster.migrate_slot(slot, other);
    stands("and when it has moved on");
    let dead = cluster.nodes()[own].to_string();
    cluster.kill(own);
    let output = explained(&gateway, &ann);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let now = now(&output);
    assert!(now[0].starts_with("18 of 20 left"), "{now:?}");
    for unknown in &now[1..] {
        assert!(unknown.starts_with("not known: ") && unknown.contains(&dead), "{now:?}");
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains(&dead), "{complaint}");
}
