//! Every verdict of a replay is the one that rules and core give, asked directly.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sluicegate::client::{Client, Clients};
use sluicegate::config::Config;
use sluicegate::identity::Identity;
use sluicegate::identity::credential::Person;
use sluicegate::limit::{Check, Key, State, Timestamp, decision};
use sluicegate::request::{RequestView, Spelling};
use sluicegate::rules::access::Exemptions;
use sluicegate::rules::{Asked, Enforcement, RuleSet};

use super::requests::{Request, START_S, log, requests};
use super::{Scene, policy};
use crate::support::policies::{Plan, sliding_window, token_bucket};

/// Policies of all algorithms; what they are in numbers stands in [`plans`] a second time.
const LIMITS: &str = r#"
[request]
encoded_slashes = "keep"
[client]
trusted_proxies = ["10.0.0.0/8"]
[identity.header]
user = "x-user"
[policies.per-ip]
quota = 8
window = "10s"
[policies.coarse]
quota = 4
window = "30s"
resolution = 5
partition = ["ip", "method"]
[policies.bucket]
quota = 4
window = "1h"
burst = 3
algorithm = "token-bucket"
partition = ["user", "host"]
[policies.day]
quota = 300
window = "day"
algorithm = "calendar"
partition = ["user"]
[policies.shadow]
quota = 2
window = "1m"
mode = "shadow"
partition = ["ip", "path", "header:user-agent"]
[policies.rules]
quota = 25
window = "1m"
partition = ["ip", "rule"]
[policies.queries]
quota = 1
window = "1m"
partition = ["ip", "query:q"]
[[rules]]
path = "/**"
policies = ["per-ip", "day", "rules"]
[[rules]]
path = "/api/**"
methods = ["GET"]
policies = ["coarse", "rules", "shadow"]
cost = 2
[[rules]]
path = "/search"
when = "anonymous"
policies = ["queries", "coarse"]
[[rules]]
path = "/pages/*"
host = "*.example.org"
policies = ["bucket", "shadow"]
[exempt]
paths = ["/health"]
users = ["user-7"]
"#;

fn plans() -> HashMap<&'static str, Plan> {
    const MINUTE: u64 = 60_000_000;
    HashMap::from([
        ("per-ip", sliding_window(8, MINUTE / 6, 64).into()),
        ("coarse", sliding_window(4, MINUTE / 2, 5).into()),
        ("bucket", token_bucket(4, 60 * MINUTE, 3).into()),
        ("day", Plan::Periods { quota: 300, length_s: 86_400, from_s: 0 }),
        ("shadow", sliding_window(2, MINUTE, 64).into()),
        ("rules", sliding_window(25, MINUTE, 64).into()),
        ("queries", sliding_window(1, MINUTE, 64).into()),
    ])
}

/// Rules and core, asked directly.
struct Direct {
    rules: RuleSet,
    exemptions: Exemptions,
    clients: Clients,
    plans: HashMap<&'static str, Plan>,
    states: HashMap<Key, State>,
    now: Timestamp,
    spelling: Spelling,
}

/// Whether a request passes, which policies deny it, and which others would.
type Verdict = (bool, Vec<String>, Vec<String>);

impl Direct {
    fn new(config: Config) -> Self {
        let client = config.client;
        let prefix = config.store.key_prefix;
        let rules = RuleSet::new(config.rules, config.policies, prefix, config.exempt_preflight);
        Self {
            rules: rules.expect("they fit"),
            exemptions: Exemptions::new(config.exempt).expect("they fit"),
            clients: Clients {
                trusted_proxies: client.trusted_proxies,
                forwarded_header: client.forwarded_header,
                ipv4_prefix: client.ipv4_prefix,
                ipv6_prefix: client.ipv6_prefix,
                identity: Identity::default(),
            },
            plans: plans(),
            states: HashMap::new(),
            now: Timestamp::EPOCH,
            spelling: config.request.spelling,
        }
    }

    /// The checks of a request, and its verdict.
    fn decide(&mut self, request: &Request) -> (Vec<Check>, Verdict) {
        self.now = self.now.max(Timestamp::from_micros(request.at_ms * 1_000));
        let now = self.now;
        let head = http::Request::builder()
            .method(request.method)
            .uri(&request.target)
            .header("host", request.host)
            .header("user-agent", &request.agent);
        let head = head.body(()).expect("a request").into_parts().0;
        let view = RequestView::spelled(&head, self.spelling);
        let client = self.client(request, &view);
        if self.exemptions.of(&view, &client).is_some() {
            return (Vec::new(), (true, Vec::new(), Vec::new()));
        }
        let asked = Asked {
            view: &view,
            client: &client,
            route: "/**",
            enforcement: Enforcement::Full,
            now,
        };
        let checks = self.rules.evaluate(&asked).checks;
        let mut standings: Vec<_> = checks
            .iter()
            .map(|check| {
                self.plans[&*check.policy.name].at(now).read(self.states.get(&check.key), now)
            })
            .collect();
        let rooms = decision::rooms(&checks, &standings);
        decision::decide(&checks, &mut standings, &rooms);
        for (check, standing) in checks.iter().zip(&standings) {
            if standing.must_be_stored() {
                self.states.insert(check.key.clone(), standing.state());
            }
        }
        let denied = |enforced: bool| -> Vec<String> {
            let of =
                |(check, room): &(&Check, &bool)| !**room && check.policy.enforced() == enforced;
            let denied = checks.iter().zip(&rooms).filter(of);
            denied.map(|(check, _)| check.policy.name.clone()).collect()
        };
        let (by, shadow) = (denied(true), denied(false));
        (checks, (by.is_empty(), by, shadow))
    }

    fn client(&self, request: &Request, view: &RequestView<'_>) -> Client {
        let person = request.user.clone().map(|user| Person { user, tier: None });
        self.clients.locate(request.client, view.headers()).with(person)
    }
}

fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_verdict_is_that_of_rules_and_core() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let requests = requests(if soak { 1_000_000 } else { 50_000 });
    let scene = Scene::new(LIMITS);
    scene.write("access.json", log(&requests, Request::json));
    let report = scene.report(&["access.json", "--verdicts", "verdicts"]);
    let config = Config::load(&scene.path("gateway.toml"), 0).expect("a valid file").0;
    let mut direct = Direct::new(config);
    let mut sums: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let verdicts = scene.read("verdicts");
    let mut denied = 0;
    assert_eq!(verdicts.lines().count(), requests.len());
    for (number, (line, request)) in verdicts.lines().zip(&requests).enumerate() {
        let said: Value = serde_json::from_str(line).expect("JSON");
        let (checks, expected) = direct.decide(request);
        let verdict = (
            said["allowed"].as_bool().expect("a truth"),
            names(&said["denied_by"]),
            names(&said["shadow_denied_by"]),
        );
        assert_eq!(verdict, expected, "{request:?}: {line}");
        assert_eq!(said["line"], number + 1);
        let at: jiff::Timestamp = said["time"].as_str().expect("a time").parse().expect("a time");
        assert_eq!(at.as_microsecond(), direct.now.as_micros().cast_signed());
        denied += u64::from(!expected.0);
        for check in checks {
            sums.entry(check.policy.name.clone()).or_default()[0] += 1;
        }
        for name in expected.1.into_iter().chain(expected.2) {
            sums.entry(name).or_default()[1] += 1;
        }
    }
    assert_eq!((&report["denied"], &report["requests"]), (&denied.into(), &requests.len().into()));
    assert_eq!(sums.len(), plans().len(), "each policy was asked: {sums:?}");
    for (name, [checked, denied]) in sums {
        let policy = policy(&report, &name);
        assert_eq!(
            (&policy["checked"], &policy["denied"]),
            (&checked.into(), &denied.into()),
            "{name}"
        );
        assert!(denied > 0 && denied < checked, "{name}: it tells nothing");
        assert_eq!(sum_over_time(policy), [checked - denied, denied], "{name}");
    }
    assert!(report["late"]["requests"].as_u64() > Some(100), "{}", report["late"]);
    assert!(report["span"]["to"].as_str() > Some("2025-11-14T00:00:00Z"), "over a midnight");
}

/// All that was allowed and denied in all spans of time.
fn sum_over_time(policy: &Value) -> [u64; 2] {
    ["allowed", "denied"].map(|what| {
        let spans = policy["over_time"][what].as_array().expect("a list");
        spans.iter().map(|number| number.as_u64().expect("a count")).sum()
    })
}

#[test]
fn time_does_not_go_back() {
    let scene = Scene::new(
        "[policies.p]\nquota = 1\nwindow = \"10s\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n",
    );
    let mut all = requests(1);
    for offset in [20_000_u64, 9_000, 29_000, 40_000] {
        let request = Request { at_ms: START_S * 1_000 + offset, ..all[0].clone() };
        all.push(request);
    }
    all.remove(0);
    scene.write("log", log(&all, Request::json));
    let report = scene.report(&["log", "--verdicts", "verdicts"]);
    let allowed: Vec<bool> =
        scene.read("verdicts").lines().map(|line| line.contains("\"allowed\":true")).collect();
    // The second is eleven seconds before the first and counts as if it came with it; by its own
    // time it would have left room for the third.
    assert_eq!(allowed, [true, false, false, true]);
    assert_eq!(report["late"]["requests"], 1);
    assert_eq!(report["late"]["seconds_at_most"], 11.0);
    assert_eq!(report["span"]["seconds"], 20.0);
}
