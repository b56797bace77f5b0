//! A slot that stays half moved: what concerns it is decided without Redis as far as it must be, and
//! nothing else is.

use reqwest::blocking::Response;

use super::gateway;
use crate::support::app::App;
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

/// Two keys for each subject: a new one has nowhere to be while its slot is moving.
const RULES: &str = "[policies.hourly]\nquota = 10\nwindow = \"1h\"\npartition = [\"header:x-name\"]\n\
                     [policies.daily]\nquota = 20\nwindow = \"24h\"\npartition = [\"header:x-name\"]\n\
                     [[rules]]\npath = \"/**\"\npolicies = [\"hourly\", \"daily\"]\n";

fn ask(gateway: &Gateway, name: &str) -> Response {
    gateway.client().get(gateway.url("/")).header("x-name", name).send().expect("an answer")
}

/// What is left of the hourly quota, by the answer to another request.
fn left(response: &Response) -> String {
    let list = response.headers()["ratelimit"].to_str().expect("text").to_owned();
    let hourly =
        list.split(", ").find(|item| item.starts_with("\"hourly\"")).expect("it is listed");
    hourly.split(';').nth(1).expect("a number").to_owned()
}

fn local(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_decisions_total", &["provenance=\"local\""])
}

#[test]
fn a_slot_that_stays_half_moved_concerns_nobody_else() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let gateway = gateway(&cluster, &app, "expected_instances = 1\n", RULES);
    assert_eq!(left(&ask(&gateway, "one")), "r=9");
    let key = cluster.keys().into_iter().find(|key| key.contains("hourly")).expect("it is counted");
    let slot = slot_of(&key);
    let (from, to) = (cluster.master_of(slot), (cluster.master_of(slot) + 1) % 3);
    // So is the slot of the gateway's own keys on that server.
    let own: Vec<String> = cluster.server(from).command(&["KEYS", "sg:{gateway-*}:live"]);
    let own = slot_of(own.first().expect("it beats there"));
    cluster.server(from).command::<()>(&["DEL", &key]);
    cluster.server(from).command::<()>(&["DEL", &key.replace("hourly", "daily")]);
    for slot in [slot, own] {
        cluster.open_slot(slot, to);
    }
    let sent_on = || {
        let count = cluster.server(from).info("errorstats", "errorstat_ASK").unwrap_or_default();
        count.strip_prefix("count=").map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    for turn in 0..4 {
        assert_eq!(ask(&gateway, "one").status(), 200);
        assert_eq!(local(&gateway), f64::from(turn + 1) * 2.0, "two keys can be on no server");
    }
    // The server goes on being probed and told, in vain once a second.
    let before = sent_on();
    wait_until("the server to send several on", || {
        assert_eq!(gateway.readiness()["store"]["state"], "up");
        sent_on() >= before + 6
    });
    for number in 0..30 {
        assert_eq!(left(&ask(&gateway, &format!("other {number}"))), "r=9");
    }
    assert_eq!(local(&gateway), 8.0, "the others are decided by Redis");
    for slot in [slot, own] {
        cluster.move_keys(slot, to);
        cluster.close_slot(slot, to);
    }
    // The four of the meantime, told once, and this one: what Redis had before was deleted from it.
    let found = || cluster.server(to).command::<u64>(&["EXISTS", &key]) == 1;
    wait_until("the new server to be told", found);
    wait_until("the next one to be decided there", || {
        let before = local(&gateway);
        let seen = left(&ask(&gateway, "two"));
        seen.starts_with("r=") && local(&gateway) == before
    });
    assert_eq!(left(&ask(&gateway, "one")), "r=4", "one before, four meanwhile, and this one");
}
