//! The rules of a decision, each as its own promise, seen from outside.

use reqwest::blocking::{RequestBuilder, Response};

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

fn local(app: &App, config: &str) -> Gateway {
    Gateway::start(&format!("[store]\nkind = \"local\"\n{}{config}", app_at(app.address())))
}

fn policy(name: &str, quota: u32, more: &str) -> String {
    format!("[policies.{name}]\nquota = {quota}\nwindow = \"1h\"\n{more}\n")
}

fn rule(path: &str, policies: &str, more: &str) -> String {
    format!("[[rules]]\npath = \"{path}\"\npolicies = [{policies}]\n{more}\n")
}

fn statuses(gateway: &Gateway, paths: &[&str]) -> Vec<u16> {
    paths.iter().map(|path| gateway.get(path).status().as_u16()).collect()
}

fn status(request: RequestBuilder) -> u16 {
    request.send().expect("the gateway answers").status().as_u16()
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().expect("text")
}

#[test]
fn r1_order_never_matters_and_rules_add_up() {
    let app = App::start();
    let parts = [
        policy("wide", 3, ""),
        policy("tight", 2, ""),
        rule("/**", "\"wide\"", ""),
        rule("/api/**", "\"tight\", \"wide\"", "cost = 2"),
        rule("/api/*", "\"tight\"", ""),
    ];
    let forth = parts.concat();
    let back: String = parts.iter().rev().map(String::as_str).collect();
    for config in [forth, back] {
        let gateway = local(&app, &config);
        // `tight` is named twice: checked once, at the largest cost. So is `wide`.
        let first = gateway.get("/api/x");
        assert_eq!(first.status(), 200);
        let mut left: Vec<&str> = field(&first, "ratelimit")
            .split(", ")
            .map(|item| item.split(";t=").next().unwrap())
            .collect();
        left.sort_unstable();
        assert_eq!(left, ["\"tight\";r=0", "\"wide\";r=1"]);
        assert_eq!(statuses(&gateway, &["/api/x", "/other", "/other"]), [429, 200, 429]);
    }
}

#[test]
fn r1_a_request_that_no_rule_matches_passes_without_fields() {
    let app = App::start();
    let gateway = local(&app, &format!("{}{}", policy("p", 1, ""), rule("/limited", "\"p\"", "")));
    let answer = gateway.get("/free");
    assert_eq!(answer.status(), 200);
    let limited = |name: &&str| name.contains("ratelimit");
    assert_eq!(answer.headers().keys().map(http::HeaderName::as_str).find(limited), None);
}

#[test]
fn r2_the_most_specific_route_wins() {
    let apps = ["any", "star", "literal", "deep", "host", "wild"].map(|name| {
        (
            name,
            App::answering(move |_| crate::support::app::response("200 OK", "", name.as_bytes())),
        )
    });
    let mut config = "[store]\nkind = \"local\"\n".to_owned();
    for (name, app) in &apps {
        config += &format!("[upstreams.{name}]\nservers = [\"{}\"]\n", app.address());
    }
    for (path, host, upstream) in [
        ("/**", "", "any"),
        ("/a/*", "", "star"),
        ("/a/b", "", "literal"),
        ("/a/**/z", "", "deep"),
        ("/**", "api.example.org", "host"),
        ("/**", "*.example.org", "wild"),
    ] {
        let host = if host.is_empty() { String::new() } else { format!("host = \"{host}\"\n") };
        config += &format!("[[routes]]\npath = \"{path}\"\n{host}upstream = \"{upstream}\"\n");
    }
    let gateway = Gateway::start(&config);
    for (path, host, expected) in [
        ("/", "x", "any"),
        ("/a/b", "x", "literal"),
        ("/a/c", "x", "star"),
        ("/a/c/z", "x", "deep"),
        ("/a/z", "x", "star"),
        ("/a/b", "api.example.org", "host"),
        ("/a/b", "API.Example.ORG:80", "host"),
        ("/a/b", "www.example.org", "wild"),
        ("/a/b", "example.org", "literal"),
        ("/%61/./b", "x", "literal"),
    ] {
        let answer = gateway.client().get(gateway.url(path)).header("host", host).send().unwrap();
        assert_eq!(answer.text().unwrap(), expected, "{path} at {host}");
    }
}

#[test]
fn r3_a_path_counts_without_its_query_and_in_one_spelling() {
    let app = App::start();
    let config = format!(
        "{}{}{}{}",
        policy("paths", 2, "partition = [\"ip\", \"path\"]"),
        policy("rules", 3, "partition = [\"ip\", \"rule\"]"),
        rule("/p/**", "\"paths\"", ""),
        rule("/r/*", "\"rules\"", "")
    );
    let gateway = local(&app, &config);
    assert_eq!(
        statuses(&gateway, &["/p/a?x=1", "/p//%61?y=2", "/p/a", "/p/b"]),
        [200, 200, 429, 200]
    );
    assert_eq!(statuses(&gateway, &["/r/1", "/r/2", "/r/3", "/r/4"]), [200, 200, 200, 429]);
}

#[test]
fn r4_an_absent_value_falls_back_to_the_address_and_equals_no_value() {
    let app = App::start();
    let config = format!(
        "{}{}",
        policy("keys", 1, "partition = [\"header:x-key\"]"),
        rule("/**", "\"keys\"", "")
    );
    let gateway = local(&app, &config);
    let with = |key: &str| status(gateway.client().get(gateway.url("/")).header("x-key", key));
    assert_eq!(statuses(&gateway, &["/", "/"]), [200, 429], "by address");
    assert_eq!([with("127.0.0.1"), with("127.0.0.1"), with("b")], [200, 429, 200]);
}

#[test]
fn r4_every_word_divides() {
    let app = App::start();
    let words = [
        "ip",
        "user",
        "path",
        "route",
        "rule",
        "method",
        "host",
        "header:x-a",
        "cookie:c",
        "query:q",
    ];
    let mut config =
        "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[identity.header]\nuser = \"x-user\"\n"
            .to_owned();
    for (number, word) in words.iter().enumerate() {
        config += &policy(&format!("p{number}"), 1, &format!("partition = [\"{word}\"]"));
        config += &rule(&format!("/{number}/**"), &format!("\"p{number}\""), "");
    }
    let gateway = local(&app, &config);
    for (number, word) in words.into_iter().enumerate() {
        let ask = |method: &str, path: &str, fields: &[(&str, &str)]| {
            let method = method.parse::<reqwest::Method>().unwrap();
            let mut request =
                gateway.client().request(method, gateway.url(&format!("/{number}{path}")));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            status(request)
        };
        assert_eq!(ask("GET", "/x", &[]), 200, "{word}");
        assert_eq!(ask("GET", "/x", &[]), 429, "{word}");
        let other = match word {
            "ip" => ask("GET", "/x", &[("x-forwarded-for", "203.0.113.1")]),
            "user" => ask("GET", "/x", &[("x-user", "ada")]),
            "path" => ask("GET", "/y", &[]),
            "method" => ask("POST", "/x", &[]),
            "host" => ask("GET", "/x", &[("host", "example.org")]),
            "header:x-a" => ask("GET", "/x", &[("x-a", "1")]),
            "cookie:c" => ask("GET", "/x", &[("cookie", "a=1; c=2")]),
            "query:q" => ask("GET", "/x?a=1&q=2", &[]),
            // One route and one rule here: there is no other value.
            _ => 200,
        };
        assert_eq!(other, 200, "{word}");
    }
}

#[test]
fn r5_get_includes_head_and_a_preflight_counts_unless_exempt() {
    let app = App::start();
    let config = |cors: &str| {
        format!(
            "{}{}{}{}{cors}",
            policy("reads", 2, "partition = [\"ip\", \"method\"]"),
            policy("address", 3, ""),
            rule("/reads", "\"reads\"", "methods = [\"GET\"]"),
            rule("/cors", "\"reads\", \"address\"", "")
        )
    };
    let gateway = local(&app, &config(""));
    let head = || status(gateway.client().head(gateway.url("/reads")));
    let get = || gateway.get("/reads").status().as_u16();
    assert_eq!([head(), get(), head(), get()], [200, 200, 429, 429]);
    assert_eq!(status(gateway.client().post(gateway.url("/reads"))), 200, "no rule for POST");
    let preflights = |gateway: &Gateway| {
        [(); 4].map(|()| {
            let options = gateway.client().request(reqwest::Method::OPTIONS, gateway.url("/cors"));
            status(
                options
                    .header("origin", "https://a")
                    .header("access-control-request-method", "PUT"),
            )
        })
    };
    assert_eq!(preflights(&gateway), [200, 200, 429, 429]);
    let exempt = local(&app, &config("[cors]\npreflight = \"exempt\"\n"));
    assert_eq!(
        preflights(&exempt),
        [200, 200, 200, 429],
        "only the policy by address alone counts"
    );
}

#[test]
fn r6_fields_speak_of_every_enforced_policy_and_the_longest_wait_refuses() {
    let app = App::start();
    let config = format!(
        "[policies.slow]\nquota = 1\nwindow = \"1h\"\nstatus = 403\nmessage = \"Once an hour.\"\n\
         [policies.quick]\nquota = 1\nwindow = \"1m\"\n\
         [policies.large]\nquota = 100\nwindow = \"1m\"\nalgorithm = \"token-bucket\"\nburst = 20\n{}",
        rule("/**", "\"slow\", \"quick\", \"large\"", "")
    );
    let gateway = local(&app, &config);
    let passed = gateway.get("/");
    let mut policies: Vec<&str> = field(&passed, "ratelimit-policy").split(", ").collect();
    policies.sort_unstable();
    let large = "\"large\";q=100;w=60;sluicegate-burst=20";
    assert_eq!(policies, [large, "\"quick\";q=1;w=60", "\"slow\";q=1;w=3600"]);
    assert_eq!(field(&passed, "x-ratelimit-remaining"), "0", "of the policy with the least left");
    let refused = gateway.get("/");
    assert_eq!(refused.status(), 403);
    let wait: u64 = field(&refused, "retry-after").parse().unwrap();
    assert!((3_500..=3_657).contains(&wait), "{wait}: an hour and at most one tick");
    assert_eq!(field(&refused, "ratelimit").split(", ").count(), 3);
    assert!(field(&refused, "ratelimit").contains(&format!("\"slow\";r=0;t={wait}")));
    assert!(
        field(&refused, "ratelimit").contains("\"large\";r=19"),
        "a refused request takes nothing"
    );
    let problem: serde_json::Value = serde_json::from_str(&refused.text().unwrap()).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!((&problem["status"], &problem["detail"]), (&403.into(), &"Once an hour.".into()));
    let mut violated: Vec<&str> = problem["violated-policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    violated.sort_unstable();
    assert_eq!(violated, ["quick", "slow"]);
}

#[test]
fn r7_a_shadow_policy_is_counted_and_changes_nothing() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}{}{}{}",
        app_at(app.address()),
        policy("real", 4, ""),
        policy("trial", 2, "mode = \"shadow\"\non_store_error = \"deny\""),
        rule("/**", "\"real\", \"trial\"", "")
    );
    let mut gateways = vec![local(&app, &config.replace(&app_at(app.address()), ""))];
    gateways.push(Gateway::with_redis(&redis, "timeout = \"1s\"", &config));
    for gateway in &gateways {
        let answers: Vec<Response> = (0..6).map(|_| gateway.get("/")).collect();
        let codes: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
        assert_eq!(codes, [200, 200, 200, 200, 429, 429]);
        assert!(answers.iter().all(|answer| !field(answer, "ratelimit-policy").contains("trial")));
        let count = |decision: &str| {
            let decision = format!("decision=\"{decision}\"");
            gateway.metric("sluicegate_decisions_total", &["policy=\"trial\"", &decision])
        };
        assert_eq!(count("allow"), 2.0);
        assert!(count("deny") >= 2.0);
    }
    drop(redis);
    gateways[1].wait_for_store("away");
    let locally = || gateways[1].metric("sluicegate_decisions_total", &["provenance=\"local\""]);
    // Denials that Redis gave are remembered for a moment longer.
    wait_until("a local decision", || {
        assert_eq!(gateways[1].get("/").status(), 429, "a shadow policy's `deny` does not act");
        locally() > 0.0
    });
}

#[test]
fn r10_a_hammering_client_is_refused_from_memory_with_the_true_wait() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config =
        format!("{}{}{}", app_at(app.address()), policy("p", 2, ""), rule("/**", "\"p\"", ""));
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"\ndeny_cache = \"60s\"", &config);
    assert_eq!(statuses(&gateway, &["/", "/", "/"]), [200, 200, 429]);
    let before = redis.script_calls();
    for _ in 0..500 {
        let refused = gateway.get("/");
        assert_eq!(refused.status(), 429);
        assert!(
            field(&refused, "retry-after").parse::<u64>().unwrap() > 3_500,
            "not the cache's cap"
        );
    }
    let asked = redis.script_calls() - before;
    assert!(asked < 100, "{asked} script calls; only the probes of the supervisor are due");
    assert_eq!(gateway.metric("sluicegate_decisions_total", &["provenance=\"deny-cache\""]), 500.0);
}

#[test]
fn r10_after_the_wait_the_next_request_passes() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}[policies.p]\nquota = 1\nwindow = \"1s\"\n{}",
        app_at(app.address()),
        rule("/**", "\"p\"", "")
    );
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"", &config);
    assert_eq!(gateway.get("/").status(), 200);
    wait_until("the window to pass", || gateway.get("/").status() == 200);
    assert_eq!(app.seen().len(), 2);
}

#[test]
fn ipv6_clients_count_by_prefix_and_mapped_ones_as_ipv4() {
    let app = App::start();
    let config = format!(
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n{}{}",
        policy("p", 1, ""),
        rule("/**", "\"p\"", "")
    );
    let gateway = local(&app, &config);
    let from = |address: &str| {
        status(gateway.client().get(gateway.url("/")).header("x-forwarded-for", address))
    };
    assert_eq!(
        [from("2001:db8::1"), from("2001:db8::2"), from("2001:db8:0:1::1")],
        [200, 429, 200]
    );
    assert_eq!(
        [from("203.0.113.1"), from("::ffff:203.0.113.1"), from("203.0.113.2")],
        [200, 429, 200]
    );
}
