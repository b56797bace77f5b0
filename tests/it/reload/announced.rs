//! Rule 9 on live keys, in Redis and in a gateway's own memory: what has been used stays used when
//! quota, window, burst or tier change; another algorithm starts anew, and the reload says so.

use serde_json::Value;

use super::change;
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::RedisServer;

const RULE: &str = "[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";

/// A gateway on each kind of store with this policy `p`, and what the test does with it.
fn on_each_store(policy: &str, test: impl Fn(&Gateway)) {
    let (redis, app) = (RedisServer::start(), App::start());
    // No user without a trusted proxy, which the tests are.
    let trusted = "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
                   [identity.header]\nuser = \"x-user\"\ntier = \"x-tier\"\n";
    let rest = format!("{trusted}{}[policies.p]\n{policy}{RULE}", app_at(app.address()));
    test(&Gateway::with_redis(&redis, "timeout = \"2s\"", &rest));
    test(&Gateway::start(&format!("[store]\nkind = \"local\"\n{rest}")));
}

/// How many of the next ten requests pass: all of those that pass come first.
fn pass(gateway: &Gateway) -> usize {
    pass_as(gateway, "nobody")
}

fn pass_as(gateway: &Gateway, tier: &str) -> usize {
    let ask = || {
        let request = gateway.client().get(gateway.url("/")).header("x-user", "ann");
        request.header("x-tier", tier).send().unwrap().status().as_u16()
    };
    let statuses: Vec<u16> = (0..10).map(|_| ask()).collect();
    let passed = statuses.iter().take_while(|status| **status == 200).count();
    assert!(statuses[passed..].iter().all(|status| *status == 429), "{statuses:?}");
    passed
}

/// The names of `list`, without why.
fn names<'a>(answer: &'a Value, list: &str) -> Vec<&'a str> {
    let list = answer[list].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    list.iter().filter_map(|told| told.as_str()?.split(':').next()).collect()
}

fn keeps_its_counts(answer: &Value) {
    assert_eq!(
        (names(answer, "counts_start_anew"), names(answer, "limits_changed")),
        (vec![], vec!["p"])
    );
}

#[test]
fn another_quota_stands_against_what_is_used() {
    on_each_store("quota = 3\nwindow = \"1h\"\n", |gateway| {
        assert_eq!(pass(gateway), 3);
        keeps_its_counts(&change(gateway, "quota = 3", "quota = 5"));
        assert_eq!(pass(gateway), 2, "two more units, and no fresh quota");
        keeps_its_counts(&change(gateway, "quota = 5", "quota = 4"));
        assert_eq!(pass(gateway), 0);
        keeps_its_counts(&change(gateway, "quota = 4", "quota = 6"));
        assert_eq!(pass(gateway), 1, "what was used is five, as before");
        assert!(gateway.log().contains("limits have changed"), "{}", gateway.log());
    });
}

#[test]
fn another_window_stands_against_what_is_used() {
    on_each_store("quota = 3\nwindow = \"1h\"\n", |gateway| {
        assert_eq!(pass(gateway), 3);
        keeps_its_counts(&change(gateway, "window = \"1h\"", "window = \"2h\""));
        assert_eq!(pass(gateway), 0);
        keeps_its_counts(&change(gateway, "window = \"2h\"", "window = \"30m\""));
        assert_eq!(pass(gateway), 0, "all of it was used within that");
    });
}

#[test]
fn another_burst_stands_against_what_is_used() {
    let bucket = "quota = 2\nwindow = \"1h\"\nalgorithm = \"token-bucket\"\nburst = 2\n";
    on_each_store(bucket, |gateway| {
        assert_eq!(pass(gateway), 2);
        keeps_its_counts(&change(gateway, "burst = 2", "burst = 5"));
        assert_eq!(pass(gateway), 3, "three more, and no full bucket");
        keeps_its_counts(&change(gateway, "burst = 5", "burst = 1"));
        assert_eq!(pass(gateway), 0);
    });
}

#[test]
fn another_tier_goes_on_with_what_is_used() {
    let tiers = "quota = 2\nwindow = \"1h\"\npartition = [\"user\"]\n\
                 [policies.p.tiers.gold]\nquota = 4\n";
    on_each_store(tiers, |gateway| {
        assert_eq!(pass_as(gateway, "silver"), 2, "a tier that nobody has written");
        assert_eq!(pass_as(gateway, "gold"), 2, "the same user in a larger tier");
        keeps_its_counts(&change(gateway, "quota = 4", "quota = 7"));
        assert_eq!([pass_as(gateway, "silver"), pass_as(gateway, "gold")], [0, 3]);
        let gone = change(gateway, "[policies.p.tiers.gold]\nquota = 7\n", "");
        keeps_its_counts(&gone);
        assert_eq!(pass_as(gateway, "gold"), 0);
    });
}

#[test]
fn another_algorithm_starts_anew_and_is_told() {
    on_each_store("quota = 3\nwindow = \"1h\"\n", |gateway| {
        assert_eq!(pass(gateway), 3);
        let quota = "quota = 3\n";
        let answer = change(gateway, quota, &format!("{quota}algorithm = \"token-bucket\"\n"));
        assert_eq!(names(&answer, "counts_start_anew"), ["p"]);
        let log = gateway.log();
        assert!(log.contains("the counts of policies start anew"), "{log}");
        assert!(log.contains("its algorithm was sliding-window and is token-bucket"), "{log}");
        assert_eq!(pass(gateway), 3, "a fresh quota");
        let answer = change(gateway, "algorithm = \"token-bucket\"\n", "");
        assert_eq!(names(&answer, "counts_start_anew"), ["p"]);
        assert_eq!(pass(gateway), 0, "what it was before is still there");
    });
}
