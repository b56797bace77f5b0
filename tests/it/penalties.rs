//! Bans for those who go on being denied: what a client meets, over one gateway and several.

mod flood;
mod outage;
mod said;
mod scripts;

use reqwest::blocking::Response;
use serde_json::Value;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

const BANNED: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
/// A generous timeout: a slow answer of Redis would be a local decision.
const PATIENT: &str = "timeout = \"1s\"";

/// One request an hour by `x-key`, and this penalty; `more` are further keys of the policy.
fn config(app: &App, penalty: &str, more: &str) -> String {
    format!(
        "{}[policies.p]\nquota = 1\nwindow = \"1h\"\npartition = [\"header:x-key\"]\n{more}\n\
         [policies.p.penalty]\n{penalty}\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n",
        app_at(app.address())
    )
}

/// Ten denials within a minute are a ban of an hour.
const HOUR: &str = "denials = 10\nwithin = \"1m\"\nban = \"1h\"";

fn ask(gateway: &Gateway, key: &str, path: &str) -> Response {
    let request = gateway.client().get(gateway.url(path)).header("x-key", key);
    request.send().expect("the gateway answers")
}

/// The type of the problem that `key` gets to read; nothing if it passes.
fn problem(gateway: &Gateway, key: &str) -> Option<String> {
    let response = ask(gateway, key, "/");
    if response.status() == 200 {
        return None;
    }
    let body: Value = serde_json::from_str(&response.text().expect("a body")).expect("JSON");
    Some(body["type"].as_str().expect("a type").to_owned())
}

fn is_banned(gateway: &Gateway, key: &str) -> bool {
    problem(gateway, key).is_some_and(|kind| kind == BANNED)
}

fn hammer(gateway: &Gateway, key: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(ask(gateway, key, "/").status(), 429);
    }
}

fn bans(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_bans_total", &["policy=\"p\""])
}

/// What is stored under the only key that ends so, if there is one.
fn stored(redis: &RedisServer, ending: &str) -> Option<Vec<u8>> {
    let keys: Vec<String> = redis.command(&["KEYS", &format!("*:{ending}")]);
    assert!(keys.len() < 2, "{keys:?}");
    redis.command(&["GET", keys.first()?])
}

/// The end of the only ban in Redis, in microseconds, and its level.
fn sentence(redis: &RedisServer) -> Option<(u64, u32)> {
    let text = String::from_utf8(stored(redis, "p:b")?).expect("text");
    let (until, level) = text.split_once(':').expect("two numbers");
    Some((until.parse().expect("a number"), level.parse().expect("a number")))
}

fn clock(redis: &RedisServer) -> u64 {
    let (seconds, micros): (u64, u64) = redis.command(&["TIME"]);
    seconds * 1_000_000 + micros
}

#[test]
fn denials_over_all_gateways_bring_a_ban_that_holds_on_all() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, HOUR, "");
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, PATIENT, &config));
    assert_eq!(problem(&gateways[0], "a"), None);
    // Nine are none too many, whoever denies, and are known to both.
    hammer(&gateways[0], "a", 5);
    wait_until("the first to be told", || stored(&redis, "p:d").is_some());
    let first = stored(&redis, "p:d");
    hammer(&gateways[1], "a", 4);
    wait_until("the others to be told", || stored(&redis, "p:d") != first);
    assert_eq!(sentence(&redis), None);
    hammer(&gateways[1], "a", 1);
    wait_until("the ban", || sentence(&redis).is_some());
    for gateway in &gateways {
        wait_until("it to hold here", || is_banned(gateway, "a"));
        assert!(!is_banned(gateway, "b"), "another key is not concerned");
    }
    let (until, level) = sentence(&redis).expect("it lasts");
    let left = until - clock(&redis);
    assert!(level == 1 && left <= 3_600_000_000 && left > 3_500_000_000, "{level}, {left} us");
    wait_until("it to be counted", || gateways.iter().map(bans).sum::<f64>() == 1.0);
    let log = gateways.iter().map(Gateway::log).collect::<String>();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" banned ")).collect();
    let told = ["policy=\"p\"", "level=1", "seconds=3600", "held_back=0", ":p:b"];
    assert!(lines.len() == 1 && told.iter().all(|word| lines[0].contains(word)), "{lines:?}");
}

#[test]
fn bans_double_end_by_themselves_and_are_forgotten() {
    let (redis, app) = (RedisServer::start(), App::start());
    let penalty = "denials = 3\nwithin = \"10s\"\nban = \"1s\"\nban_max = \"2s\"";
    let config = config(&app, penalty, "").replace("window = \"1h\"", "window = \"1s\"");
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    let (mut ends, mut passed) = (Vec::new(), 0);
    wait_until("four bans", || {
        passed += usize::from(problem(&gateway, "a").is_none());
        if let Some((until, level)) = sentence(&redis).filter(|found| ends.last() != Some(found)) {
            ends.push((until, level));
        }
        ends.len() == 4
    });
    let levels: Vec<u32> = ends.iter().map(|(_, level)| *level).collect();
    assert_eq!(levels, [1, 2, 3, 4]);
    assert!(passed > 1, "it is let in between the bans");
    // None began before the end of the one before, so the ends are as far apart at least.
    let apart: Vec<u64> = ends.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(apart.iter().all(|apart| *apart >= 2_000_000), "{apart:?}");
    let left = ends[3].0.saturating_sub(clock(&redis));
    assert!(left <= 2_000_000, "no ban is longer than the longest: {left} us");
    wait_until("the last ban to end", || problem(&gateway, "a").is_none());
    assert!(clock(&redis) >= ends[3].0);
    wait_until("it to be forgotten", || sentence(&redis).is_none());
    assert!(clock(&redis) >= ends[3].0 + 2_000_000);
}

#[test]
fn a_banned_request_takes_nothing_from_other_policies_and_writes_nothing() {
    let (redis, app) = (RedisServer::start(), App::start());
    // Without the deny cache every denial is Redis' own.
    let store = format!("{PATIENT}\ndeny_cache = \"0s\"");
    let other = "[policies.q]\nquota = 100\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\n\
                 policies = [\"q\"]\n";
    let config = config(&app, HOUR, "").replace("window = \"1h\"", "window = \"1s\"");
    let gateway = Gateway::with_redis(&redis, &store, &format!("{config}{other}"));
    wait_until("the ban", || is_banned(&gateway, "a"));
    let seen = app.seen().len();
    // The policy itself has room again: what refuses is the ban alone.
    wait_until("the window to end", || stored(&redis, "p:s").is_none());
    assert!(field(&ask(&gateway, "a", "/"), "ratelimit").starts_with("\"p\";r=1, "));
    let states = || ["p:s", "p:b", "q:s"].map(|ending| stored(&redis, ending));
    let before = states();
    for _ in 0..20 {
        assert!(is_banned(&gateway, "a"));
    }
    assert_eq!(states(), before);
    assert_eq!(app.seen().len(), seen);
    assert!(gateway.metric("sluicegate_ban_refusals_total", &["policy=\"p\""]) >= 20.0);
    // Its decisions are the policy's own.
    let decided = |decision: &str| {
        let decision = format!("decision=\"{decision}\"");
        gateway.metric("sluicegate_decisions_total", &["policy=\"p\"", &decision])
    };
    assert!(decided("allow") >= 20.0 && decided("deny") >= 10.0);
}

#[test]
fn nobody_is_banned_in_shadow_mode() {
    let (redis, app) = (RedisServer::start(), App::start());
    let quick = "denials = 1\nwithin = \"1m\"\nban = \"1h\"";
    let other = "[policies.q]\nquota = 1\nwindow = \"1h\"\npartition = [\"header:x-key\"]\n\
                 [policies.q.penalty]\ndenials = 1\nwithin = \"1m\"\nban = \"1h\"\n\
                 [[rules]]\npath = \"/q\"\npolicies = [\"q\"]\n";
    let config = format!("{}{other}", config(&app, quick, "mode = \"shadow\""));
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    for _ in 0..50 {
        assert_eq!(ask(&gateway, "a", "/").status(), 200);
    }
    // The same of a policy that is enforced takes a second: then all that there was has been told.
    wait_until("another ban", || {
        ask(&gateway, "b", "/q");
        gateway.metric("sluicegate_bans_total", &["policy=\"q\""]) == 1.0
    });
    assert_eq!(bans(&gateway), 0.0);
    assert_eq!((stored(&redis, "p:b"), stored(&redis, "p:d")), (None, None));
    assert_eq!(ask(&gateway, "a", "/").status(), 200);
}

#[test]
fn of_several_keys_of_a_policy_the_denied_one_is_banned() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}[policies.p]\nquota = 5\nwindow = \"1h\"\npartition = [\"rule\"]\n\
         [policies.p.penalty]\ndenials = 3\nwithin = \"1m\"\nban = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n\
         [[rules]]\npath = \"/a\"\npolicies = [\"p\"]\ncost = 5\n",
        app_at(app.address())
    );
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    let get = |path: &str| ask(&gateway, "", path).status().as_u16();
    // The rule of the path is used up by the first, that of all paths is not.
    assert_eq!([get("/a"), get("/a"), get("/a"), get("/a")], [200, 429, 429, 429]);
    wait_until("the ban", || bans(&gateway) == 1.0);
    assert!(stored(&redis, "p:b").is_some(), "one alone");
    assert_eq!(get("/"), 200);
}

#[test]
fn a_reload_acts_on_the_bans_that_are_there() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, HOUR, "").replace("window = \"1h\"", "window = \"1s\"");
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    let reload = |from: &str, to: &str| {
        let applied = || gateway.metric("sluicegate_config_reloads_total", &["applied"]);
        let before = applied();
        gateway.edit(from, to);
        gateway.signal("HUP");
        wait_until("the reload", || applied() > before);
    };
    wait_until("the ban", || is_banned(&gateway, "a"));
    let (until, _) = sentence(&redis).expect("it lasts");
    assert!(until > clock(&redis) + 3_000_000_000);
    let shorter = "denials = 10\nwithin = \"1m\"\nban = \"1m\"\nban_max = \"10m\"";
    reload(HOUR, shorter);
    wait_until("the ban to be cut", || {
        ask(&gateway, "a", "/");
        sentence(&redis).is_some_and(|(until, _)| until <= clock(&redis) + 600_000_000)
    });
    assert!(is_banned(&gateway, "a"));
    reload(&format!("[policies.p.penalty]\n{shorter}"), "");
    wait_until("it to be free", || problem(&gateway, "a").is_none());
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().expect("text")
}

/// The gateway that makes a ban meets it at once, however long it remembers the policy's denial.
#[test]
fn a_remembered_denial_does_not_hide_a_ban() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, "denials = 3\nwithin = \"1m\"\nban = \"10h\"\nban_max = \"10h\"", "");
    let store = format!("{PATIENT}\ndeny_cache = \"60s\"");
    let gateway = Gateway::with_redis(&redis, &store, &config);
    assert_eq!(ask(&gateway, "a", "/").status(), 200);
    hammer(&gateway, "a", 3);
    wait_until("the ban", || bans(&gateway) == 1.0);
    assert!(is_banned(&gateway, "a"));
}

#[test]
fn who_could_have_others_banned_is_warned_of() {
    use sluicegate::config::Config;

    let warnings = |partition: &str| {
        let text = format!(
            "[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\npath = \"/**\"\n\
             upstream = \"app\"\n[policies.p]\nquota = 1\nwindow = \"1h\"\n\
             partition = {partition}\n[policies.p.penalty]\n{HOUR}\n\
             [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n"
        );
        let (_, warnings) = Config::parse(&text, "test", &|_| None, 0).expect("it is valid");
        warnings.iter().filter(|one| one.to_string().contains("others banned")).count()
    };
    assert_eq!([warnings("[]"), warnings("[\"route\"]"), warnings("[\"query:user\"]")], [1, 1, 1]);
    assert_eq!([warnings("[\"ip\"]"), warnings("[\"ip\", \"route\"]")], [0, 0]);
}
