//! Sessions, revocations, costs and permits behind Sentinel, before and after another server has
//! become the master; and meters.

use redis::FromRedisValue;

use crate::cluster::costs;
use crate::cluster::explained;
use crate::cluster::people;
use crate::cluster::scene::{self, STORE, ask, instances, left, pair};
use crate::cluster::views;
use crate::concurrency::holding::HoldingApp;
use crate::support::app::App;
use crate::support::redis::wait_until;
use crate::support::sentinels::Sentinels;

/// `[store]` with these keys besides.
fn store(all: &Sentinels, prefix: &str) -> String {
    all.store(&format!("{STORE}key_prefix = \"{prefix}\"\n"))
}

/// Asks the master, on a fresh connection: one that gets another role closes those there are.
fn at_master<T: FromRedisValue>(all: &Sentinels, words: &[&str]) -> T {
    let master = all.master().expect("a master");
    let mut connection = all.server(master).connect();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).expect("it answers")
}

fn set(all: &Sentinels, key: &str) {
    at_master::<()>(all, &["SET", key, "{\"id\":\"ann\"}"]);
}

#[test]
fn what_uses_redis_goes_on_with_the_next_master() {
    let (mut all, app, costly) = (Sentinels::start(), App::start(), costs::reporter());
    let known = "plain-0123456789-1";
    let limits = explained::limits();
    let people = people::gateway(&store(&all, "people"), &app);
    let settling = scene::gateway(&store(&all, "costs"), costly.address(), &costs::limits());
    let counting = pair(&store(&all, "counts"), app.address(), &limits);
    let holding_app = HoldingApp::start();
    let slots = "[policies.slots]\nalgorithm = \"concurrency\"\nquota = 4\npartition = []\n\
                 [[rules]]\npath = \"/**\"\npolicies = [\"slots\"]\n";
    let holding = pair(&store(&all, "slots"), holding_app.address(), slots);
    for round in 0..3_u64 {
        let client = format!("192.0.2.{}", round + 1);
        // Sessions and revocations.
        set(&all, &format!("session:{known}-{round}"));
        assert!(people::is_user(&people, &people::session(&format!("{known}-{round}"))));
        assert!(!people::is_user(&people, &people::session(&format!("{known}-none"))));
        set(&all, &format!("revoked:id-of-ann-{round}"));
        assert!(!people::is_user(&people, &people::token(&format!("ann-{round}"))));
        assert!(people::is_user(&people, &people::token("ben")));
        // Counts, and what is said of them.
        assert_eq!(left(&ask(&counting[0], &client, "/"), "by-ip"), 9);
        assert_eq!(left(&ask(&counting[1], &client, "/"), "by-ip"), 8);
        let output = explained::explained(&counting[0], &client);
        assert!(output.status.success(), "{output:?}");
        assert!(explained::now(&output)[1].starts_with("8 of 10 left"), "{output:?}");
        // Permits.
        let mut held = holding_app.fill(holding[0].public(), 3);
        held.extend(holding_app.fill(holding[1].public(), 3));
        assert_eq!(held.len(), 4);
        let in_redis = || at_master::<usize>(&all, &["ZCARD", "slots:{everyone}:slots:n"]);
        assert_eq!(in_redis(), 4);
        holding_app.release();
        drop(held);
        wait_until("nothing to be left", || in_redis() == 0);
        // Costs: everyone's are spent by one client alone.
        if round == 0 {
            costs::are_settled(&settling, &client);
        }
        assert!(counting.iter().all(|gateway| instances(gateway) == 2.0));
        match round {
            0 => drop(all.planned_failover()),
            1 => {
                let dead = all.kill_master();
                all.wait_for_other_master(dead);
            }
            _ => {}
        }
        let gateways = counting.iter().chain(&holding).chain([&people, &settling]);
        for gateway in gateways {
            gateway.wait_for_store("up");
        }
        let master = all.master().expect("a master");
        let at = format!("{}", all.address(master));
        let nodes = || counting[0].readiness()["store"].to_string();
        wait_until("it to be at the master", || nodes().contains(&at));
    }
}

#[test]
fn views_are_counted_and_taken_once() {
    let all = Sentinels::start();
    views::are_counted_and_taken_once(&all.store(STORE), ["views", "reads", "plays"]);
}
