//! Bans of clients who are counted by different masters.

use super::scene::{STORE, ask, by_ip, client, pair, rule, wait_for_stores};
use crate::support::app::App;
use crate::support::cluster::Cluster;
use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

const BANNED: &str = "abnormal-usage-detected";

fn is_banned(gateway: &Gateway, client: &str) -> bool {
    let answer = ask(gateway, client, "/");
    answer.status() != 200 && answer.text().expect("a body").contains(BANNED)
}

fn bans(gateways: &[Gateway]) -> f64 {
    gateways.iter().map(|gateway| gateway.metric("sluicegate_bans_total", &[])).sum()
}

#[test]
fn each_master_bans_its_own_and_without_one_each_gateway_does() {
    let (mut cluster, app) = (Cluster::start(3, 0), App::start());
    let penalty = "[policies.by-ip.penalty]\ndenials = 10\nwithin = \"1m\"\nban = \"1h\"\n";
    let limits = by_ip(1, "") + penalty + &rule("/**", &["by-ip"]);
    let gateways = pair(&cluster.store(STORE), app.address(), &limits);
    let known = [0, 1, 2].map(|master| client(&cluster, master));
    let later = [0, 1, 2]
        .map(|master| super::scene::clients(&cluster, master).nth(1).expect("one of so many"));
    // Five denials by each gateway: no one alone has seen ten.
    for client in &known {
        assert_eq!(ask(&gateways[0], client, "/").status(), 200);
        for turn in 0..10 {
            assert_eq!(ask(&gateways[turn % 2], client, "/").status(), 429);
        }
    }
    for (master, client) in known.iter().enumerate() {
        wait_until("the ban", || gateways.iter().all(|gateway| is_banned(gateway, client)));
        let key = format!("sg:{{{client}}}:by-ip:b");
        assert_eq!(cluster.server(master).command::<u64>(&["EXISTS", &key]), 1, "{key}");
    }
    assert_eq!(bans(&gateways), 3.0);
    cluster.kill(1);
    wait_for_stores(&gateways, "partly");
    for client in &known {
        assert!(gateways.iter().all(|gateway| is_banned(gateway, client)), "{client}");
    }
    for client in &later {
        wait_until("the ban", || is_banned(&gateways[0], client));
    }
    assert_eq!(bans(&gateways[..1]) + bans(&gateways[1..]), 6.0);
    let other = later.each_ref().map(|client| is_banned(&gateways[1], client));
    assert_eq!(other, [true, false, true], "nobody can tell the other one");
    cluster.restart(1);
    wait_for_stores(&gateways, "up");
    for client in known.iter().chain(&later) {
        assert!(gateways.iter().all(|gateway| is_banned(gateway, client)), "{client}");
    }
    assert_eq!(bans(&gateways), 6.0, "they are the same bans");
}
