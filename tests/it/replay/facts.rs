//! What a replay takes from a log and what it cannot know.

use serde_json::{Value, json};

use super::{REST, Scene, policy};

/// A line of JSON with these facts besides client and time.
fn line(more: &Value) -> String {
    let mut line =
        json!({"remote_addr": "192.0.2.1", "ts": 1_763_078_400, "method": "GET", "path": "/"});
    let fields = line.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    format!("{line}\n")
}

fn lines(more: &[Value]) -> String {
    more.iter().map(line).collect()
}

/// The most denied clients of a policy.
fn most_denied(report: &Value, name: &str) -> Vec<String> {
    let top = policy(report, name)["most_denied"].as_array().expect("a list");
    top.iter()
        .map(|top| format!("{} {} {}", top["denied"], top["checked"], top["client"]))
        .collect()
}

const PER_USER: &str = "
[policies.p]
quota = 1
window = \"1m\"
partition = [\"user\"]
[[rules]]
path = \"/**\"
policies = [\"p\"]
";

#[test]
fn users_count_where_the_gateway_would_know_any() {
    let user = |name: &str| json!({ "user": name });
    let log = lines(&[user("ann"), user("bob"), user("ann"), user("-"), user("-"), user("")]);
    let scene = Scene::new(&format!(
        "[client]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[identity.header]\nuser = \"x-user\"\n{PER_USER}"
    ));
    scene.write("log", &log);
    let report = scene.report(&["log"]);
    assert_eq!(
        most_denied(&report, "p"),
        ["2 3 \"user: none, from 192.0.2.1\"", "1 2 \"user=ann\""]
    );
    // Without a source of users the gateway knows none, whatever a log says.
    let rest = "[policies.q]\nquota = 9\nwindow = \"1m\"\n[[rules]]\npath = \"/**\"\npolicies = [\"q\"]\n[exempt]\npaths = [\"/x\"]\n";
    let scene = Scene::new(rest);
    scene.write("log", &log);
    assert_eq!(policy(&scene.report(&["log"]), "q")["clients"], 1);
}

#[test]
fn a_trusted_proxy_is_believed_if_the_log_has_its_header() {
    let scene = Scene::new(
        "[client]\ntrusted_proxies = [\"192.0.2.0/24\"]\n[policies.p]\nquota = 1\nwindow = \"1m\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n",
    );
    let from = |address: &str| json!({ "http_x_forwarded_for": address });
    scene.write(
        "log",
        lines(&[from("203.0.113.1, 192.0.2.9"), from("203.0.113.2"), from("203.0.113.1")]),
    );
    let report = scene.report(&["log"]);
    assert_eq!(most_denied(&report, "p"), ["1 2 \"203.0.113.1\""]);
    assert!(!report["notes"].to_string().contains("x-forwarded-for"));
    scene.write("log", lines(&[json!({}), json!({})]));
    let report = scene.report(&["log"]);
    assert_eq!(most_denied(&report, "p"), ["1 2 \"192.0.2.1\""]);
    let note = "no line has the header `x-forwarded-for`, asked for by `client.trusted_proxies`";
    assert!(report["notes"].to_string().contains(note), "{}", report["notes"]);
}

#[test]
fn who_stands_outside_of_the_rules_is_counted_so() {
    let config = format!(
        "[policies.p]\nquota = 1\nwindow = \"1m\"\n[[rules]]\npath = \"/api/**\"\npolicies = [\"p\"]\n\
         [exempt]\npaths = [\"/api/health\"]\nclients = [\"198.51.100.0/24\"]\n\
         [deny]\nclients = [\"203.0.113.0/24\"]\n[rollout]\nmode = \"off\"\n{}",
        REST.replace("path = \"/**\"\nupstream", "path = \"/api/**\"\nupstream")
    );
    let scene = Scene::whole(&config);
    let at = |path: &str, from: &str| json!({"path": path, "remote_addr": from});
    scene.write(
        "log",
        lines(&[
            at("/api/1", "192.0.2.1"),
            at("/api/2", "192.0.2.1"),
            at("/api/health", "192.0.2.1"),
            at("/api/1", "198.51.100.1"),
            at("/api/1", "203.0.113.1"),
            at("/other", "192.0.2.1"),
            at("foo:bar", "192.0.2.1"),
            json!({"path": "/api/1", "host": "a b"}),
        ]),
    );
    let report = scene.report(&["log", "--verdicts", "verdicts"]);
    let reasons: Vec<String> = scene
        .read("verdicts")
        .lines()
        .map(|line| {
            let verdict: Value = serde_json::from_str(line).expect("JSON");
            format!("{} {}", verdict["allowed"], verdict["reason"])
        })
        .collect();
    assert_eq!(
        reasons,
        [
            "true null",
            "false \"limit\"",
            "true \"exempt\"",
            "true \"exempt\"",
            "false \"deny-list\"",
            "true null",
            "false \"malformed\"",
            "false \"malformed\"",
        ]
    );
    assert_eq!(report["denied"], 1, "limits count although `[rollout]` has them off");
    assert_eq!(report["exempt"], json!({"client": 1, "user": 0, "path": 1}));
    assert_eq!((&report["malformed"], &report["turned_away"]), (&json!(2), &json!(1)));
    assert_eq!((&report["unlimited"], &report["no_route"]), (&json!(1), &json!(1)));
}

#[test]
fn the_report_names_clients_and_what_they_used() {
    let scene = Scene::new(
        "[policies.p]\nquota = 4\nwindow = \"1m\"\npartition = [\"ip\", \"rule\", \"query:q\"]\n\
         [[rules]]\npath = \"/a/**\"\npolicies = [\"p\"]\n\
         [[rules]]\npath = \"/a/b\"\npolicies = [\"p\"]\n",
    );
    let from = |path: &str, number: usize| vec![json!({ "path": path }); number];
    let log =
        [from("/a/b?q=1", 6), from("/a/c?q=2", 1), from("/a/d?q=3", 2), from("/a/e", 5)].concat();
    scene.write("log", lines(&log));
    let report = scene.report(&["log"]);
    assert_eq!(
        most_denied(&report, "p"),
        [
            "2 6 \"ip=192.0.2.1 rule=/a/** query:q=1\"",
            "2 6 \"ip=192.0.2.1 rule=/a/b query:q=1\"",
            "1 5 \"ip=192.0.2.1 rule=/a/** query:q: none, from 192.0.2.1\"",
        ]
    );
    let found = policy(&report, "p");
    assert_eq!((&found["clients"], &found["clients_denied"]), (&json!(5), &json!(3)));
    // 4, 4, 4, 1 and 2 of 4: the median is the third of five in order.
    assert_eq!(found["used_share"], json!({"median": 1.0, "p99": 1.0, "max": 1.0}));
    assert_eq!(
        scene.report(&["log", "--top", "1"])["policies"][0]["most_denied"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn what_a_request_cost_in_the_end_is_settled_by_its_line() {
    let scene = Scene::new(
        "[policies.failures]\nquota = 2\nwindow = \"1h\"\ncount = \"failures\"\n\
         failure_status = [401, \"5xx\"]\n[policies.units]\nquota = 20\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/login\"\npolicies = [\"failures\"]\n\
         [[rules]]\npath = \"/work\"\npolicies = [\"units\"]\nsettle_from = \"header:x-cost\"\n\
         [[rules]]\npath = \"/upload\"\npolicies = [\"units\"]\ncost_from = \"body:100B\"\n",
    );
    let login = |status: u16| json!({"path": "/login", "status": status});
    let statuses = [200, 401, 200, 503, 200, 302, 401];
    scene.write("log", lines(&statuses.map(login)));
    let report = scene.report(&["log", "--verdicts", "verdicts"]);
    // Two failures fill it: from then on nobody gets so far as to sign in rightly.
    assert_eq!(allowed(&scene), [true, true, true, true, false, false, false]);
    let found = policy(&report, "failures");
    assert_eq!((&found["denied"], &found["tried"]["checks"]), (&json!(3), &json!(7)));
    assert_eq!(found["enough"]["quota"], 3, "there are three failures");
    let work = |cost: &str| json!({"path": "/work", "upstream_http_x_cost": cost});
    let caddy = json!({"path": "/work", "resp_headers": {"X-Cost": ["9"]}});
    let upload = json!({"path": "/upload", "bytes_in": 450});
    scene.write("log", lines(&[work("5"), caddy, upload, work("0"), work("3"), work("1")]));
    let report = scene.report(&["log", "--verdicts", "verdicts"]);
    // 5, 9, 5, 0 and 1 of the 3 for which there is room: the last finds nothing left.
    assert_eq!(allowed(&scene), [true, true, true, true, true, false]);
    assert!(!report["notes"].to_string().contains("x-cost"), "{}", report["notes"]);
    scene.write("log", lines(&[json!({"path": "/login"}), json!({"path": "/work"})]));
    let notes = scene.report(&["log"])["notes"].to_string();
    assert!(notes.contains("no line has a status, so all are failures to policy `failures`"));
    assert!(notes.contains("no line has the header `x-cost` of the answer"), "{notes}");
}

fn allowed(scene: &Scene) -> Vec<bool> {
    scene.read("verdicts").lines().map(|line| line.contains("\"allowed\":true")).collect()
}

#[test]
fn who_goes_on_being_denied_is_banned() {
    let scene = Scene::new(
        "[policies.p]\nquota = 1\nwindow = \"10s\"\n[policies.p.penalty]\ndenials = 3\n\
         within = \"1m\"\nban = \"5m\"\nban_max = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n",
    );
    let at = |second: u64| json!({ "ts": 1_763_078_400 + second });
    // One passes, three are denied; at 20s there is room again, but not for the banned.
    let seconds = [0, 1, 2, 3, 20, 302, 304, 305];
    scene.write("log", lines(&seconds.map(at)));
    let report = scene.report(&["log", "--verdicts", "verdicts"]);
    assert_eq!(allowed(&scene), [true, false, false, false, false, false, true, false]);
    let found = policy(&report, "p");
    assert_eq!((&found["bans"], &found["banned"]), (&json!(1), &json!(2)));
    assert_eq!((&found["checked"], &found["denied"]), (&json!(8), &json!(4)));
    assert!(!scene.read("verdicts").contains("[\"p\",\"p\"]"), "its name is there once");
}
