//! The rights that the documentation tells the operator to give behind Sentinel, and what the log
//! says where something is missing.

use crate::cluster::scene::{STORE, ask, by_ip, decided, rule};
use crate::connections::acl::{PASSWORD, documented};
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::wait_until;
use crate::support::sentinels::Sentinels;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// The documented line of the Sentinels' own configuration, as words behind ACL SETUSER.
fn documented_at_sentinels() -> Vec<String> {
    let mut lines = DOCUMENT.lines().filter_map(|line| line.strip_prefix("user "));
    let line = lines.next().expect("docs/configuration.md shows a line");
    line.replace(">password", &format!(">{PASSWORD}")).split(' ').map(str::to_owned).collect()
}

/// Gives every server and every Sentinel its documented user, with `more` at the Sentinels.
fn with_users(more: &[&str]) -> Sentinels {
    let all = Sentinels::start();
    let (words, at_sentinels) = (documented(), documented_at_sentinels());
    let set = |words: &[String], more: &[&str]| {
        let own = ["ACL", "SETUSER"].into_iter().chain(words.iter().map(String::as_str));
        own.chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let (server, sentinel) = (set(&words, &[]), set(&at_sentinels, more));
    for number in 0..3 {
        let words: Vec<&str> = server.iter().map(String::as_str).collect();
        all.server(number).command::<()>(&words);
        let words: Vec<&str> = sentinel.iter().map(String::as_str).collect();
        all.sentinel(number).command::<()>(&words);
    }
    all
}

fn gateway(all: &Sentinels, app: &App, change: impl FnOnce(String) -> String) -> Gateway {
    let (user, at_sentinels) = (documented().remove(0), documented_at_sentinels().remove(0));
    let store = all.store(STORE).replace("redis://", &format!("redis://{user}:{PASSWORD}@"));
    let login = format!("username = \"{at_sentinels}\"\npassword = \"{PASSWORD}\"\n");
    let limits = by_ip(5, "") + &rule("/**", &["by-ip"]);
    let store = change(store + &login);
    Gateway::start(&format!("{store}{}{limits}", app_at(app.address())))
}

/// The Sentinels say what they have denied since.
fn denials(all: &Sentinels) -> usize {
    let log = |number| all.sentinel(number).command::<Vec<redis::Value>>(&["ACL", "LOG"]).len();
    (0..3).map(log).sum()
}

#[test]
fn the_documented_rights_are_enough_behind_sentinel() {
    let (all, app) = (with_users(&[]), App::start());
    let gateway = gateway(&all, &app, |store| store);
    gateway.wait_for_store("up");
    assert_eq!(ask(&gateway, "192.0.2.1", "/").status(), 200);
    let new = all.address(all.planned_failover()).to_string();
    wait_until("it to follow", || {
        let store = gateway.readiness()["store"].to_string();
        store.contains(&new) && store.contains("\"up\"")
    });
    let before = decided(&gateway, "redis");
    assert_eq!(ask(&gateway, "192.0.2.1", "/").status(), 200);
    assert_eq!(decided(&gateway, "redis"), before + 1.0);
    for server in 0..3 {
        let mut fresh = all.server(server).connect();
        let denied: Vec<redis::Value> =
            redis::cmd("ACL").arg("LOG").query(&mut fresh).expect("it answers");
        assert_eq!(denied, [], "nothing was even tried in vain");
    }
    assert_eq!(denials(&all), 0);
}

#[test]
fn what_is_missing_behind_sentinel_is_told() {
    let (all, app) = (with_users(&["-sentinel|get-master-addr-by-name"]), App::start());
    let says = |change: &dyn Fn(String) -> String, words: &[&str]| {
        let gateway = gateway(&all, &app, change);
        let line = || {
            let log = gateway.log();
            log.lines().find(|line| line.contains("redis is away")).map(str::to_owned)
        };
        wait_until("the log to say so", || line().is_some());
        let line = line().expect("it is there");
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
        assert!(!gateway.log().contains(PASSWORD), "{}", gateway.log());
        assert_eq!(ask(&gateway, "192.0.2.1", "/").status(), 200, "it limits all the same");
    };
    says(&|store| store, &["no permissions", "sentinel|get-master-addr-by-name"]);
    let anonymous = |store: String| {
        store.replace(&format!("username = \"gate\"\npassword = \"{PASSWORD}\"\n"), "")
    };
    let other = |store: String| anonymous(store).replace("mymaster", "another");
    says(&other, &["no master is called so", "`store.url`"]);
    let wrong = |store: String| {
        store.replace(&format!("password = \"{PASSWORD}\""), "password = \"wrong\"")
    };
    says(&wrong, &["username-password"]);
}
