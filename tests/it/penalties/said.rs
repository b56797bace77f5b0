//! What is said of a ban: to the client, in bodies of one's own, and by `explain`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{BANNED, HOUR, PATIENT, ask, config, field, hammer, is_banned, sentence};
use crate::support::app::App;
use crate::support::gateway::{BINARY, Gateway};
use crate::support::redis::{RedisServer, wait_until};

/// Waits for the ban of `key`, and that the policy itself has room again: from then on the ban alone
/// refuses.
fn ban(gateway: &Gateway, redis: &RedisServer, key: &str) {
    wait_until("the ban", || is_banned(gateway, key));
    let states = || redis.command::<Vec<String>>(&["KEYS", "*:p:s"]);
    wait_until("the window to end", || states().is_empty());
}

#[test]
fn a_refusal_by_a_ban_says_so() {
    let (redis, app) = (RedisServer::start(), App::start());
    let answer = "status = 403\nmessage = \"Go away.\"";
    let config = config(&app, HOUR, answer).replace("window = \"1h\"", "window = \"1s\"");
    let store = format!("{PATIENT}\ndeny_cache = \"0s\"");
    let gateway = Gateway::with_redis(&redis, &store, &config);
    ban(&gateway, &redis, "a");
    let refused = ask(&gateway, "a", "/");
    assert_eq!(refused.status(), 403);
    // Policy and ban are one to the client; the quota itself is whole.
    assert_eq!(field(&refused, "ratelimit-policy"), "\"p\";q=1;w=1");
    assert_eq!(field(&refused, "ratelimit"), "\"p\";r=1");
    let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    assert_eq!(told.map(|name| field(&refused, name)), ["1", "1", "0"]);
    let wait: u64 = field(&refused, "retry-after").parse().expect("seconds");
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    let body: Value = serde_json::from_str(&refused.text().expect("a body")).expect("JSON");
    assert_eq!(body["type"], BANNED);
    assert_eq!(body["title"], "Abnormal usage detected");
    assert_eq!((&body["status"], &body["detail"]), (&403.into(), &"Go away.".into()));
    assert_eq!(body["violated-policies"], serde_json::json!(["p"]));
    assert!(body["retry-after"].as_u64().is_some_and(|told| told <= wait && told + 60 > wait));
    // To gRPC it is an exhausted resource, like any denial.
    let call = gateway.client().post(gateway.url("/")).header("x-key", "a");
    let call = call.header("content-type", "application/grpc").send().expect("an answer");
    assert_eq!((call.status().as_u16(), field(&call, "grpc-status")), (200, "8"));
}

#[test]
fn a_denial_that_outlasts_the_ban_is_what_to_wait_for() {
    let (redis, app) = (RedisServer::start(), App::start());
    let short = "denials = 3\nwithin = \"1m\"\nban = \"10m\"";
    let gateway = Gateway::with_redis(&redis, PATIENT, &config(&app, short, ""));
    wait_until("the ban", || is_banned(&gateway, "a"));
    let wait: u64 = field(&ask(&gateway, "a", "/"), "retry-after").parse().expect("seconds");
    assert!(wait > 3_000, "the window is longer: {wait}");
}

#[test]
fn a_body_of_ones_own_can_tell_a_ban() {
    let (redis, app) = (RedisServer::start(), App::start());
    let path = std::env::temp_dir().join(format!("sluicegate-{}-banned.txt", std::process::id()));
    let body = "{% if banned %}banned{% else %}denied{% endif %} {{ limit }}";
    fs::write(&path, body).expect("it is written");
    let files = format!(
        "[policies.p.response]\nbody = \"text\"\nfiles.text = \"{}\"\n[store]\n",
        path.display()
    );
    let text = config(&app, HOUR, "").replace("window = \"1h\"", "window = \"2s\"");
    let files = files.trim_end_matches("[store]\n");
    let gateway = Gateway::with_redis(&redis, PATIENT, &format!("{text}{files}"));
    let said = || ask(&gateway, "a", "/").text().expect("a body");
    wait_until("a denial", || said() == "denied 1");
    wait_until("the ban", || said() == "banned ");
    fs::remove_file(&path).expect("it is there");
}

#[test]
fn the_access_log_names_a_policy_and_its_ban_once() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!("{}[log]\naccess = true\n", config(&app, HOUR, ""));
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    wait_until("the ban", || is_banned(&gateway, "a"));
    hammer(&gateway, "a", 1);
    wait_until("the line", || gateway.log().matches("denied_by=\"p\"").count() >= 12);
    assert!(!gateway.log().contains("p,p"));
}

#[test]
fn explain_shows_a_ban() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, HOUR, "").replace("header:x-key", "ip");
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    let file = std::env::temp_dir().join(format!("sluicegate-{}-ban.toml", std::process::id()));
    let store = format!("[store]\nurl = \"{}\"\n{config}", redis.url());
    fs::write(&file, store).expect("it is written");
    let explain = || {
        let mut command = Command::new(BINARY);
        command.args(["explain", "--path", "/", "--ip", "127.0.0.1", "--store", "--config"]);
        let output = command.arg(&file).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    };
    let before = explain();
    let penalty = "\npenalty   10 denials within 1m: banned for 1h\n          then for twice as long \
                   each time, up to 1h\nkey       sg:{127.0.0.1}:p:b\nnow       not banned";
    assert!(before.ends_with(penalty), "{before}");
    wait_until("the ban", || is_banned(&gateway, "a"));
    let after = explain();
    assert!(after.contains("\nnow       banned for 3") && after.ends_with("refused"), "{after}");
    // As it is when it is over.
    let (_, level) = sentence(&redis).expect("it lasts");
    let over = format!("1:{level}");
    redis.command::<()>(&["SET", "sg:{127.0.0.1}:p:b", &over]);
    assert!(explain().ends_with("\nnow       not banned"), "it is forgotten");
    fs::remove_file(&file).expect("it is there");
}
