//! Costs that are known in the end only, of policies whose keys are on different masters.

use super::scene::{STORE, by_ip, client, everyone, gateway, left, other_than, rule};
use crate::support::app::{App, Seen, response};
use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

const QUOTA: u64 = 1_000;

/// Answers with the cost that it is asked for, and with 401 where that is 7.
fn reporting(seen: &Seen) -> Vec<u8> {
    let cost = seen.header("x-say").unwrap_or("1");
    let status = if cost == "7" { "401 Unauthorized" } else { "200 OK" };
    response(status, &format!("x-cost: {cost}\r\n"), b"done")
}

pub(crate) fn reporter() -> App {
    App::answering(reporting)
}

pub(crate) fn limits() -> String {
    let failures = "[policies.failures]\nquota = 5\nwindow = \"1h\"\npartition = [\"ip\"]\n\
                    count = \"failures\"\nfailure_status = [401]\n";
    let costs = rule("/costs", &["by-ip", "all"]) + "cost = 10\nsettle_from = \"header:x-cost\"\n";
    let login = rule("/login", &["failures", "all"]);
    by_ip(QUOTA, "") + &everyone(QUOTA, "") + failures + &costs + &login
}

/// What is left to this client and to everyone once a request has been decided.
fn left_by(gateway: &Gateway, client: &str, say: u64) -> [u64; 2] {
    let request = gateway.client().get(gateway.url("/costs")).header("x-forwarded-for", client);
    let answer = request.header("x-say", say.to_string()).send().expect("an answer");
    assert_eq!(answer.status(), if say == 7 { 401 } else { 200 });
    ["by-ip", "all"].map(|policy| left(&answer, policy))
}

fn settled(gateway: &Gateway, by: &str) -> f64 {
    gateway.metric("sluicegate_settlements_total", &[&format!("by=\"{by}\"")])
}

/// Requests of `client` that cost more and less than was taken for them, and failures.
pub(crate) fn are_settled(gateway: &Gateway, client: &str) {
    // What is taken is ten, as long as nobody knows better; here, as the application says 50, 3
    // and 10. An answer that reports its cost speaks of what is left then.
    let mut spent = 0;
    let mut settlements = settled(gateway, "redis");
    for (say, settles) in [(50, 2.0), (3, 2.0), (10, 0.0), (0, 2.0)] {
        spent += say;
        assert_eq!(left_by(gateway, client, say), [QUOTA - spent; 2], "{say}");
        settlements += settles;
        wait_until("it to be settled", || settled(gateway, "redis") == settlements);
    }
    assert_eq!(left_by(gateway, client, 10), [QUOTA - spent - 10; 2]);
    let login = |say: u64| {
        let request = gateway.client().get(gateway.url("/login")).header("x-forwarded-for", client);
        let answer = request.header("x-say", say.to_string()).send().expect("an answer");
        answer.status().as_u16()
    };
    for _ in 0..10 {
        assert_eq!(login(1), 200, "a success is not counted");
        settlements += 1.0;
        wait_until("it to be settled", || settled(gateway, "redis") == settlements);
    }
    let failures = [(); 7].map(|()| login(7));
    assert_eq!(failures, [401, 401, 401, 401, 401, 429, 429]);
    assert_eq!([settled(gateway, "local"), settled(gateway, "lost")], [0.0; 2]);
}

#[test]
fn costs_are_settled_where_they_were_taken() {
    let (mut cluster, app) = (Cluster::start(3, 0), reporter());
    let gateway = gateway(&cluster.store(STORE), app.address(), &limits());
    let ann = client(&cluster, other_than(&cluster, "everyone"));
    are_settled(&gateway, &ann);
    // Without the master of one, that is charged here and the other one there.
    let before = settled(&gateway, "redis");
    let [_, all] = left_by(&gateway, &ann, 10);
    cluster.kill(cluster.master_of(slot_of(&ann)));
    gateway.wait_for_store("partly");
    assert_eq!(left_by(&gateway, &ann, 30)[1], all - 30);
    wait_until("it to be settled", || {
        [settled(&gateway, "redis") - before, settled(&gateway, "local")] == [1.0, 1.0]
    });
    assert_eq!(left_by(&gateway, &ann, 10)[1], all - 40);
    assert_eq!(settled(&gateway, "lost"), 0.0);
}
