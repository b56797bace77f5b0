//! The rights that docs/operating.md tells the operator to give, word by word.

use jsonwebtoken::Algorithm;

use super::{decided, gateway, redis_decides, set_user};
use crate::identity::scene::{ask, bearer, claims, head};
use crate::identity::token::Signer;
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

const DOCUMENT: &str = include_str!("../../../docs/operating.md");
pub(crate) const PASSWORD: &str = "hunter2";

/// The documented lines behind `ACL SETUSER`: what every gateway needs, what look-ups need, what
/// meters need, and what a cluster needs.
fn lines() -> [&'static str; 4] {
    let lines = DOCUMENT.lines().filter_map(|line| line.strip_prefix("ACL SETUSER "));
    let lines: Vec<&str> = lines.collect();
    lines.try_into().expect("docs/operating.md shows four lines")
}

/// The words of the first, with a password put in.
pub(crate) fn documented() -> Vec<String> {
    let [line, ..] = lines();
    assert!(line.contains(">PASSWORD"), "{line}");
    line.replace("PASSWORD", PASSWORD).split(' ').map(str::to_owned).collect()
}

/// The words of the second, without the name.
fn documented_for_look_ups() -> Vec<&'static str> {
    documented_besides(1)
}

/// The words of the third, without the name.
fn documented_for_meters() -> Vec<&'static str> {
    documented_besides(2)
}

/// The words of the fourth, without the name.
pub(crate) fn documented_for_clusters() -> Vec<&'static str> {
    documented_besides(3)
}

fn documented_besides(line: usize) -> Vec<&'static str> {
    let lines = lines().map(|line| line.split(' ').collect::<Vec<_>>());
    assert_eq!(lines[0][0], lines[line][0], "all are about one user");
    lines[line][1..].to_vec()
}

/// A Redis with the documented user and `more` of its rights, and the URL for that user.
fn redis_with_user(more: &[&str]) -> (RedisServer, String) {
    let redis = RedisServer::start();
    let words = documented();
    let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
    set_user(&redis, &words);
    let user = format!("redis://{}:{PASSWORD}@", words[0]);
    let url = redis.url().replace("redis://", &user);
    (redis, url)
}

/// What Redis has denied so far, and the errors it has answered with. That it does not know a
/// script yet is how it learns it.
fn refusals(redis: &RedisServer) -> String {
    let mut connection = redis.connect();
    let denied: Vec<redis::Value> =
        redis::cmd("ACL").arg("LOG").query(&mut connection).expect("it answers");
    assert_eq!(denied, []);
    let errors: String =
        redis::cmd("INFO").arg("errorstats").query(&mut connection).expect("it answers");
    let lines = errors.lines().filter(|line| line.starts_with("errorstat_"));
    lines.filter(|line| !line.starts_with("errorstat_NOSCRIPT")).collect()
}

#[test]
fn the_documented_rights_are_enough() {
    let (redis, url) = redis_with_user(&[]);
    redis_decides(&url, "");
    assert_eq!(refusals(&redis), "", "nothing was even tried in vain");
}

/// A success that was the only request leaves nothing behind.
#[test]
fn the_documented_rights_are_enough_to_settle() {
    let (redis, url) = redis_with_user(&[]);
    let app = App::start();
    let failures = "[policies.failures]\nquota = 5\nwindow = \"1m\"\ncount = \"failures\"\n\
         failure_status = [401]\n[[rules]]\npath = \"/**\"\npolicies = [\"failures\"]\n";
    let gateway = gateway(&app, &url, failures);
    gateway.wait_for_store("up");
    assert_eq!(gateway.get("/").status(), 200);
    wait_until("it to be settled", || gateway.metric("sluicegate_settlements_total", &[]) == 1.0);
    assert_eq!(gateway.metric("sluicegate_settlements_total", &["by=\"redis\""]), 1.0);
    assert_eq!(redis.command::<Vec<String>>(&["KEYS", "*:failures:s"]), [""; 0]);
    assert_eq!(refusals(&redis), "", "nothing was even tried in vain");
}

/// The rights that a decision needs: without any of them there is no limiting through Redis, and
/// the log names the one that is missing.
#[test]
fn a_missing_right_is_named() {
    for right in ["mget", "set", "time", "evalsha", "eval"] {
        let (_redis, url) = redis_with_user(&[&format!("-{right}")]);
        let app = App::start();
        let gateway = gateway(&app, &url, "");
        gateway.wait_for_store("away");
        assert_eq!(decided(&gateway, "local"), 3.0);
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("redis is away")).expect("one line");
        assert!(line.contains(&format!("'{right}'")), "{line}");
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

/// Without the rights around it a decision is still Redis', and one warning says what is lost.
#[test]
fn a_missing_right_that_no_decision_needs_is_one_warning() {
    let lost = [("zadd", "the gateways cannot be counted"), ("info", "cannot look at this Redis")];
    for (right, warning) in lost {
        let (_redis, url) = redis_with_user(&[&format!("-{right}")]);
        let app = App::start();
        let gateway = gateway(&app, &url, "");
        gateway.wait_for_store("up");
        let log = gateway.log();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(warning), "{log}");
        assert!(warnings[0].contains(right), "{log}");
    }
}

#[test]
fn another_prefix_takes_another_right() {
    let (_redis, url) = redis_with_user(&[]);
    let app = App::start();
    let gateway = gateway(&app, &url, "key_prefix = \"other\"\n");
    gateway.wait_for_store("away");
    // Redis says `one of the keys used as arguments`, Valkey `a key`.
    assert!(gateway.log().contains("permissions to access"), "{}", gateway.log());
}

#[test]
fn another_database_takes_one_more_right() {
    let (redis, url) = redis_with_user(&["+select"]);
    redis_decides(&format!("{url}/3"), "");
    assert_eq!(refusals(&redis), "");
    let (_redis, url) = redis_with_user(&[]);
    let app = App::start();
    let gateway = gateway(&app, &format!("{url}/3"), "");
    gateway.wait_for_store("away");
    assert!(gateway.log().contains("select"), "{}", gateway.log());
}

const SESSION: &str = "0123456789abcdef";

/// Asks Redis for a session in JSON, one in a hash, and a revocation; says who was a user.
fn users(more: &[&str]) -> ([bool; 3], String, String) {
    let (app, words) = (App::start(), documented_for_look_ups());
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    let (redis, url) = redis_with_user(&words);
    redis.command::<()>(&["SET", &format!("session:{SESSION}"), "{\"id\":\"ann\"}"]);
    redis.command::<()>(&["HSET", &format!("session:{SESSION}-hash"), "id", "ben"]);
    let session = "[identity.session]\ncookie = \"sid\"\nkey = \"session:{id}\"\nuser = \"id\"\n";
    let secret = "0123456789abcdef0123456789abcdef";
    let jwt = format!(
        "[identity.jwt]\nalgorithms = [\"HS256\"]\nkey = \"{secret}\"\n\
         revocation = \"auth:blacklist:{{jti}}\"\n"
    );
    let sections = [session.to_owned(), format!("{session}value = \"hash\"\n"), jwt];
    let signer = Signer::secret(Algorithm::HS256, secret.as_bytes());
    let credentials = [
        format!("cookie: sid={SESSION}\r\n"),
        format!("cookie: sid={SESSION}-hash\r\n"),
        bearer(&signer.token(&head(&signer, None), &claims("eve"))),
    ];
    let mut log = String::new();
    let mut was_user = |at: usize| {
        redis.command::<()>(&["DEL", "sg:{127.0.0.1}:two:s"]);
        let told = "[identity]\nuser_header = \"x-verified-user\"\n";
        let gateway = gateway(&app, &url, &format!("{told}{}", sections[at]));
        gateway.wait_for_store("up");
        assert_eq!(ask(&gateway, "/", &credentials[at]).status(), 200);
        log.push_str(&gateway.log());
        app.last().header("x-verified-user").is_some()
    };
    let were_users = [0, 1, 2].map(&mut was_user);
    let refused = if more.is_empty() { refusals(&redis) } else { String::new() };
    (were_users, log, refused)
}

#[test]
fn the_documented_rights_for_look_ups_are_enough_and_each_is_needed() {
    let (were_users, log, refused) = users(&[]);
    assert_eq!((were_users, refused.as_str()), ([true; 3], ""), "{log}");
    for (right, expected) in [
        ("getrange", [false, true, true]),
        ("hmget", [true, false, true]),
        ("exists", [true, true, false]),
        ("echo", [false; 3]),
    ] {
        let (were_users, log, _) = users(&[&format!("-{right}")]);
        assert_eq!(were_users, expected, "without {right}: {log}");
        let line = log.lines().find(|line| line.contains("cannot look up a session"));
        assert!(line.is_some_and(|line| line.contains(right)), "{log}");
    }
}

/// A gateway that counts and pushes, for the user with the rights of meters and `more`.
fn metered(more: &[&str]) -> (RedisServer, App, Gateway) {
    let words = documented_for_meters();
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    let ((redis, url), app) = (redis_with_user(&words), App::start());
    let meters = "[meters.views]\npaths = [\"/s/*\"]\nunique_by = \"ip\"\nunique_for = \"1s\"\n\
         export = \"push\"\n[meters.views.push]\nupstream = \"app\"\npath = \"/in\"\n\
         every = \"1s\"\n[meters.pulled]\npaths = [\"/s/*\"]\nunique_by = \"none\"\n";
    let gateway = gateway(&app, &url, meters);
    gateway.wait_for_store("up");
    (redis, app, gateway)
}

#[test]
fn the_documented_rights_for_meters_are_enough() {
    let (redis, app, gateway) = metered(&[]);
    // Also what is cleaned up: a mark that has run down.
    for story in ["/s/1", "/s/2"] {
        assert_eq!(gateway.get(story).status(), 200);
        let pushed = || app.seen().iter().filter(|seen| seen.target == "/in").count();
        let before = pushed();
        wait_until("a batch", || pushed() > before);
    }
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(crate::support::gateway::BINARY);
        command.args(["meters", "--config"]).arg(gateway.config()).args(words);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(run(&[]).contains("pulled"));
    let batch: serde_json::Value = serde_json::from_str(&run(&["export", "pulled"])).expect("JSON");
    run(&["ack", "pulled", batch["batch"].as_str().expect("a name")]);
    assert_eq!(run(&["export", "pulled"]), "");
    assert_eq!(refusals(&redis), "", "nothing was even tried in vain");
}

#[test]
fn a_missing_right_for_meters_is_named_and_limits_go_on() {
    let (_redis, _app, gateway) = metered(&["-hincrby"]);
    assert_eq!(gateway.get("/s/1").status(), 200);
    wait_until("the warning", || gateway.log().contains("count views"));
    assert!(gateway.log().contains("hincrby"), "{}", gateway.log());
    assert_eq!([gateway.get("/").status(), gateway.get("/").status()], [200, 429]);
    assert_eq!(gateway.metric("sluicegate_decisions_total", &["provenance=\"redis\""]), 3.0);
}

/// Without one of the rights of meters views wait; none is counted twice or lost when it is there.
#[test]
fn a_view_that_waits_for_a_right_counts_once() {
    for right in ["hincrby", "hsetnx", "hlen"] {
        for unique in ["ip", "none"] {
            let more = documented_for_meters();
            let (redis, url) = redis_with_user(&more);
            set_user(&redis, &["sluicegate", &format!("-{right}")]);
            let meter = format!(
                "[meters.views]\npaths = [\"/**\"]\nunique_by = \"{unique}\"\nexport = \"pull\"\n"
            );
            let gateway = gateway(&App::start(), &url, &meter);
            gateway.wait_for_store("up");
            assert_eq!(gateway.get("/story").status(), 200);
            let tried = || -> u64 {
                let stats: String = redis.command(&["INFO", "errorstats"]);
                let lines = stats.lines().filter(|line| line.starts_with("errorstat_"));
                let others = lines.filter(|line| !line.starts_with("errorstat_NOSCRIPT"));
                let counts = others.filter_map(|line| line.trim().rsplit('=').next());
                counts.map(|count| count.parse::<u64>().expect("a number")).sum()
            };
            wait_until("it to be tried in vain, twice", || tried() >= 2);
            set_user(&redis, &["sluicegate", &format!("+{right}")]);
            let count =
                || -> Option<u64> { redis.command(&["HGET", "sg:{meter:views}:open", "/story"]) };
            wait_until("the view to be counted", || count().is_some());
            let counted = || gateway.metric("sluicegate_meter_views_total", &[]);
            wait_until("it to be told of", || counted() == 1.0);
            assert_eq!(count(), Some(1), "without {right}, {unique}");
        }
    }
}
