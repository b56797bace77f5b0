//! Limits that differ for different people: conditions, tiers, overrides, exemptions, the deny
//! list, and rolling out.

use std::fs;
use std::process::Command;

use reqwest::blocking::{RequestBuilder, Response};

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// The gateway's only peer is a trusted proxy, which names client, user and tier.
const BEHIND_PROXY: &str = "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [identity.header]\nuser = \"x-user\"\ntier = \"x-tier\"\n";
/// Header lines of a request.
type Lines<'a> = [(&'a str, &'a str)];

fn gateway(app: &App, config: &str) -> Gateway {
    let app = app_at(app.address());
    Gateway::start(&format!("[store]\nkind = \"local\"\n{BEHIND_PROXY}{app}{config}"))
}

fn policy(name: &str, quota: u32, more: &str) -> String {
    format!("[policies.{name}]\nquota = {quota}\nwindow = \"1h\"\n{more}\n")
}

fn rule(policies: &str, more: &str) -> String {
    format!("[[rules]]\npath = \"/**\"\npolicies = [{policies}]\n{more}\n")
}

fn ask(gateway: &Gateway, path: &str, lines: &Lines<'_>) -> Response {
    let request = gateway.client().get(gateway.url(path));
    let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    lines.iter().fold(request, add).send().expect("the gateway answers")
}

/// How many of so many equal requests pass.
fn passing(gateway: &Gateway, path: &str, lines: &Lines<'_>, of: usize) -> usize {
    (0..of).filter(|_| ask(gateway, path, lines).status() == 200).count()
}

fn from(address: &str) -> (&str, &str) {
    ("x-forwarded-for", address)
}

#[test]
fn rules_are_for_those_who_signed_in_or_did_not() {
    let app = App::start();
    let config = [
        policy("visitors", 2, ""),
        policy("members", 4, "partition = [\"user\"]"),
        rule("\"visitors\"", "when = \"anonymous\""),
        rule("\"members\"", "when = \"authenticated\""),
    ];
    let gateway = gateway(&app, &config.concat());
    let here = from("192.0.2.1");
    assert_eq!(passing(&gateway, "/", &[here], 6), 2);
    assert_eq!(passing(&gateway, "/", &[here, ("x-user", "ann")], 6), 4);
    assert_eq!(passing(&gateway, "/", &[here, ("x-user", "ben")], 6), 4);
    assert_eq!(passing(&gateway, "/", &[from("192.0.2.2")], 6), 2);
}

#[test]
fn rules_ask_for_headers_parameters_and_networks() {
    let app = App::start();
    let config = [
        policy("exports", 1, "partition = [\"ip\"]"),
        policy("robots", 2, "partition = [\"ip\"]"),
        policy("office", 3, "partition = [\"ip\"]"),
        rule("\"exports\"", "query = { format = \"csv*\" }"),
        rule("\"robots\"", "headers = { User-Agent = \"*bot*\", accept = \"*\" }"),
        rule("\"office\"", "clients = [\"198.51.100.0/24\"]"),
    ];
    let gateway = gateway(&app, &config.concat());
    let here = from("192.0.2.1");
    assert_eq!(passing(&gateway, "/?format=json", &[here], 5), 5, "no rule matches");
    assert_eq!(passing(&gateway, "/?format=csv-1", &[here], 5), 1);
    assert_eq!(
        passing(&gateway, "/?format=json&format=%63sv", &[here], 5),
        0,
        "nor by saying more"
    );
    let bot = ("user-agent", "a bot!");
    assert_eq!(passing(&gateway, "/", &[here, bot], 5), 2);
    let two = [here, ("user-agent", "x"), bot];
    assert_eq!(passing(&gateway, "/", &two, 5), 0, "nor by a second line");
    assert_eq!(passing(&gateway, "/", &[from("198.51.100.7")], 5), 3);
    assert_eq!(passing(&gateway, "/", &[from("::ffff:198.51.100.8")], 5), 3);
    assert_eq!(passing(&gateway, "/", &[from("198.51.101.7")], 5), 5);
}

#[test]
fn a_tier_has_its_own_quota_on_the_same_key() {
    let app = App::start();
    let config = [
        policy("api", 2, "partition = [\"user\"]\ntiers.gold.quota = 5\ntiers.silver.quota = 3"),
        rule("\"api\"", ""),
    ];
    let gateway = gateway(&app, &config.concat());
    let ann = ("x-user", "ann");
    let gold = ("x-tier", "gold");
    assert_eq!(passing(&gateway, "/", &[ann], 4), 2);
    let upgraded = ask(&gateway, "/", &[ann, gold]);
    assert_eq!(upgraded.headers()["ratelimit-policy"], "\"api\";q=5;w=3600");
    assert_eq!(upgraded.headers()["x-ratelimit-remaining"], "2", "what was used stays used");
    assert_eq!(passing(&gateway, "/", &[ann, gold], 4), 2);
    assert_eq!(passing(&gateway, "/", &[("x-user", "ben"), ("x-tier", "silver")], 6), 3);
    assert_eq!(passing(&gateway, "/", &[("x-user", "eve"), ("x-tier", "platinum")], 6), 2);
    let twice = ask(&gateway, "/", &[("x-user", "joe"), gold, gold]);
    assert_eq!(twice.status(), 400, "said twice");
}

/// Two tiers behind one address: the denial of one is not the other's.
#[test]
fn a_remembered_denial_of_one_tier_says_nothing_about_another() {
    let (app, redis) = (App::start(), RedisServer::start());
    let config = [
        BEHIND_PROXY.to_owned(),
        app_at(app.address()),
        policy("address", 2, "partition = [\"ip\"]\ntiers.gold.quota = 9"),
        rule("\"address\"", ""),
    ];
    let gateway = Gateway::with_redis(&redis, "deny_cache = \"60s\"", &config.concat());
    assert_eq!(passing(&gateway, "/", &[], 4), 2);
    assert!(gateway.metric("sluicegate_decisions_total", &["deny-cache"]) > 0.0);
    assert_eq!(passing(&gateway, "/", &[("x-tier", "gold")], 1), 0, "nobody has no tier");
    assert_eq!(passing(&gateway, "/", &[("x-user", "ann"), ("x-tier", "gold")], 9), 7);
    assert_eq!(passing(&gateway, "/", &[], 1), 0);
}

#[test]
fn an_override_beats_a_tier_beats_the_policy() {
    let app = App::start();
    let config = [
        policy("users", 2, "partition = [\"user\"]\ntiers.gold.quota = 4"),
        "[[policies.users.overrides]]\nkey = { user = \"ann\" }\nquota = 1\n".to_owned(),
        policy("places", 3, "partition = [\"ip\", \"path\"]"),
        "[[policies.places.overrides]]\nkey = { ip = \"2001:db8::1\", path = \"/a//%62\" }\n\
         quota = 1\n"
            .to_owned(),
        rule("\"users\"", "when = \"authenticated\""),
        rule("\"places\"", "when = \"anonymous\""),
    ];
    let gateway = gateway(&app, &config.concat());
    let gold = ("x-tier", "gold");
    assert_eq!(passing(&gateway, "/", &[("x-user", "ann"), gold], 6), 1);
    assert_eq!(passing(&gateway, "/", &[("x-user", "ben"), gold], 6), 4);
    assert_eq!(passing(&gateway, "/a/b", &[from("2001:db8::2:2")], 6), 1, "its network, its path");
    assert_eq!(passing(&gateway, "/a/c", &[from("2001:db8::2:2")], 6), 3);
    assert_eq!(passing(&gateway, "/a/b", &[from("2001:db8:1::1")], 6), 3);
}

#[test]
fn the_exempt_are_not_limited_and_are_counted() {
    let app = App::start();
    let config = [
        policy("all", 1, "partition = []"),
        rule("\"all\"", ""),
        "[exempt]\nclients = [\"198.51.100.0/24\"]\nusers = [\"monitor\"]\npaths = [\"/health/**\"]\n"
            .to_owned(),
    ];
    let gateway = gateway(&app, &config.concat());
    let here = from("192.0.2.1");
    assert_eq!(passing(&gateway, "/", &[here], 3), 1);
    assert_eq!(passing(&gateway, "/", &[from("198.51.100.9")], 3), 3);
    assert_eq!(passing(&gateway, "/", &[here, ("x-user", "monitor")], 4), 4);
    assert_eq!(passing(&gateway, "/health", &[here], 5), 5);
    assert_eq!(passing(&gateway, "/healthy", &[here], 1), 0);
    assert!(ask(&gateway, "/health", &[here]).headers().get("ratelimit").is_none());
    for (by, count) in [("client", 3.0), ("user", 4.0), ("path", 6.0)] {
        let label = format!("by=\"{by}\"");
        assert_eq!(gateway.metric("sluicegate_exemptions_total", &[&label]), count, "{by}");
    }
}

#[test]
fn the_denied_are_not_let_in_and_are_counted() {
    let app = App::start();
    let config = [
        "[deny]\nclients = [\"203.0.113.0/24\", \"2001:db8:bad::/48\"]\n[exempt]\npaths = [\"/**\"]\n"
            .to_owned(),
    ];
    let gateway = gateway(&app, &config.concat());
    for address in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8:bad:1::1"] {
        let refused = ask(&gateway, "/", &[from(address)]);
        assert_eq!(refused.status(), 403, "{address}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(passing(&gateway, "/", &[from("203.0.114.9")], 2), 2);
    assert_eq!(app.seen().len(), 2, "the application saw only those");
    assert_eq!(gateway.metric("sluicegate_deny_list_refusals_total", &[]), 3.0);
}

#[test]
fn a_policy_is_enforced_for_a_share_of_its_keys() {
    let app = App::start();
    let config = [policy("trial", 1, "enforce_percent = 50"), rule("\"trial\"", "")];
    let gateway = gateway(&app, &config.concat());
    let mut refused = Vec::new();
    for number in 0..100 {
        let address = format!("192.0.2.{number}");
        let first = ask(&gateway, "/", &[from(&address)]);
        let second = ask(&gateway, "/", &[from(&address)]).status() == 429;
        let listed = first.headers().contains_key("ratelimit");
        assert_eq!((first.status().as_u16(), listed), (200, second), "{address}");
        refused.push(second);
    }
    let share = refused.iter().filter(|refused| **refused).count();
    assert!((25..=75).contains(&share), "{share} of 100");
    let denials = gateway.metric("sluicegate_decisions_total", &["decision=\"deny\""]);
    assert_eq!(denials, 100.0, "the others are counted");
}

#[test]
fn shadow_mode_for_everything_counts_and_refuses_nothing() {
    let app = App::start();
    let rollout = "[rollout]\nmode = \"${MODE:-shadow}\"\n".to_owned();
    let gateway = gateway(&app, &[policy("all", 1, ""), rule("\"all\"", ""), rollout].concat());
    assert_eq!(passing(&gateway, "/", &[], 3), 3);
    assert!(ask(&gateway, "/", &[]).headers().get("ratelimit").is_none());
    assert_eq!(gateway.metric("sluicegate_decisions_total", &["decision=\"deny\""]), 3.0);
    assert_eq!(gateway.readiness()["limits"], "shadow");
    assert_eq!(gateway.metric("sluicegate_enforcement", &[]), 1.0);
    gateway.edit("${MODE:-shadow}", "enforce");
    gateway.signal("HUP");
    wait_until("limits to be enforced", || gateway.readiness()["limits"] == "enforce");
    assert_eq!(passing(&gateway, "/", &[], 3), 0, "what was counted counts");
}

#[test]
fn the_switch_acts_without_a_reload() {
    let app = App::start();
    let folder = std::env::temp_dir().join(format!("sluicegate-switch-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("switch");
    let rollout = format!("[rollout]\nswitch_file = \"{}\"\n", file.display());
    let gateway = gateway(&app, &[policy("all", 1, ""), rule("\"all\"", ""), rollout].concat());
    assert_eq!(passing(&gateway, "/", &[], 3), 1);
    let decided = || gateway.metric("sluicegate_decisions_total", &[]);
    for (said, shown, passing_of_2, decisions) in
        [("off\n", "off", 2, 0.0), ("shadow", "shadow", 2, 2.0), ("", "off", 2, 0.0)]
    {
        fs::write(&file, said).expect("the switch");
        wait_until(&format!("limits to be {shown}"), || gateway.readiness()["limits"] == shown);
        let before = decided();
        assert_eq!(passing(&gateway, "/", &[], 2), passing_of_2, "{said}");
        assert_eq!(decided() - before, decisions, "{said}");
    }
    fs::remove_file(&file).expect("the switch");
    wait_until("limits to be enforced", || gateway.readiness()["limits"] == "enforce");
    assert_eq!(passing(&gateway, "/", &[], 2), 0, "what was used stays used");
    // A pipe that nobody writes to: reading it would never end.
    let made = Command::new("mkfifo").arg(&file).status().expect("mkfifo runs");
    assert!(made.success());
    wait_until("the log to say so", || gateway.log().contains("cannot be read"));
    assert_eq!(gateway.readiness()["limits"], "enforce", "what it said stays");
    fs::remove_file(&file).expect("the pipe");
    fs::write(&file, "shadow").expect("the switch");
    wait_until("limits to be in shadow mode", || gateway.readiness()["limits"] == "shadow");
    fs::remove_dir_all(&folder).expect("the folder");
}
