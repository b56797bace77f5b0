//! `sluicegate explain`: what it says is what then happens, and it charges nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use insta::assert_snapshot;

use crate::calendar;
use crate::support::app::App;
use crate::support::gateway::{BINARY, Gateway, app_at};
use crate::support::redis::{RedisServer, free_port};

const CONFIG: &str = r#"
[client]
trusted_proxies = ["127.0.0.1"]
[identity.header]
user = "x-user"
tier = "x-tier"
[policies.per-ip]
quota = 3
window = "1h"
[policies.posts]
quota = 5
window = "1m"
algorithm = "token-bucket"
partition = ["user", "path"]
tiers.gold.quota = 50
mode = "shadow"
[[policies.posts.overrides]]
key = { user = "ann", path = "/posts/1" }
quota = 7
[[rules]]
path = "/**"
policies = ["per-ip"]
[[rules]]
path = "/posts/**"
host = "*.example.org"
methods = ["POST", "PUT"]
when = "authenticated"
clients = ["192.0.2.0/24"]
headers = { x-app = "web*" }
query = { draft = "*" }
policies = ["posts", "per-ip"]
cost = 2
[exempt]
paths = ["/health"]
[deny]
clients = ["203.0.113.0/24"]
"#;

/// A configuration file of its own, and what it says of requests.
struct Explainer {
    file: PathBuf,
}

impl Explainer {
    fn new(name: &str, config: &str) -> Self {
        let file = format!("sluicegate-explain-{}-{name}.toml", std::process::id());
        let file = std::env::temp_dir().join(file);
        fs::write(&file, config).expect("the configuration is written");
        Self { file }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.arg("explain").arg("--config").arg(&self.file).args(arguments);
        command.output().expect("it runs")
    }

    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Explainer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn anywhere(store: &str) -> String {
    format!("[store]\n{store}\n{}{CONFIG}", app_at(([127, 0, 0, 1], 3000).into()))
}

/// The key of a policy, as the explanation names it.
fn key_of<'a>(text: &'a str, policy: &str) -> &'a str {
    let from = text.split(&format!("policy    {policy}")).nth(1).expect("the policy");
    let line = from.lines().find_map(|line| line.strip_prefix("key       "));
    line.expect("its key")
}

#[test]
fn a_request_is_explained_from_its_client_to_its_keys() {
    let explainer = Explainer::new("all", &anywhere("kind = \"local\""));
    let headers = [
        "X-Forwarded-For: 192.0.2.9",
        "X-User: ann",
        "X-Tier: gold",
        "Host: WWW.Example.org:80",
        "X-App: web-1",
    ];
    let mut arguments =
        vec!["--method", "POST", "--path", "/posts//2?draft=1", "--ip", "127.0.0.1", "--store"];
    arguments.extend(headers.iter().flat_map(|header| ["--header", *header]));
    assert_snapshot!(explainer.says(&arguments), @r"
    POST /posts//2?draft=1 from 127.0.0.1

    path      /posts/2
    host      www.example.org
    client    192.0.2.9, counted as 192.0.2.9, named by a trusted proxy
    identity  header: valid
    user      ann, tier gold
    route     /** to upstream app
    rules     /**: per-ip
              /posts/** on *.example.org POST|PUT authenticated from its networks x-app: web* ?draft=*: per-ip, posts

    policy    per-ip
    limit     3 in any 1h (sliding-window), by ip
              enforced; this request costs 2
    key       sg:{192.0.2.9}:per-ip:s

    policy    posts (tier gold)
    limit     50 in 1m, 50 at once (token-bucket), by user, path
              in shadow mode; this request costs 2
    key       sg:{qHvDiLk1XDz74PxfkrhJYw}:posts:t

    now       not known: the counts are in the memory of each gateway
    ");
    arguments[3] = "/posts/%31?draft=1";
    let overridden = explainer.says(&arguments);
    assert!(
        overridden.contains("posts (override for this key)\nlimit     7 in 1m"),
        "{overridden}"
    );
}

#[test]
fn what_ends_a_request_early_ends_the_explanation() {
    let explainer = Explainer::new("early", &anywhere("kind = \"local\""));
    let says = |path, ip| explainer.says(&["--path", path, "--ip", ip]);
    assert!(says("/health", "192.0.2.1").contains("exempt    `[exempt]` names the path"));
    assert!(says("/", "203.0.113.1").contains("refused   with 403"));
    assert!(says("x:y", "192.0.2.1").contains("refused   with 400"));
    assert!(says("/a", "2001:db8::1").contains("client    2001:db8::1, counted as 2001:db8::"));
    assert!(says("/a", "192.0.2.1").contains("user      none: anonymous"));
    let odd = explainer.says(&["--path", "/", "--ip", "192.0.2.9", "--header", "Host: a b"]);
    assert!(odd.contains("400") && odd.contains("names no host"), "{odd}");
}

#[test]
fn the_keys_are_those_that_the_gateway_uses_and_stand_as_it_left_them() {
    let (app, redis) = (App::start(), RedisServer::start());
    let store = format!("url = \"{}\"", redis.url());
    let explainer = Explainer::new("store", &anywhere(&store));
    let gateway = Gateway::with_redis(&redis, "", &format!("{}{CONFIG}", app_at(app.address())));
    let asked = ["--path", "/a", "--ip", "127.0.0.1", "--store"];
    let fresh = explainer.says(&asked);
    assert!(fresh.contains("now       3 of 3 left: it would pass"), "{fresh}");
    let key = key_of(&fresh, "per-ip").to_owned();
    assert!(!redis.command::<bool>(&["EXISTS", &key]), "it charges nothing");
    assert_eq!(gateway.get("/a").status(), 200);
    assert!(redis.command::<bool>(&["EXISTS", &key]), "{key}");
    let used = explainer.says(&asked);
    assert!(used.contains("now       2 of 3 left, more in "), "{used}");
    assert_eq!([gateway.get("/a").status(), gateway.get("/a").status()], [200, 200]);
    let full = explainer.says(&asked);
    assert!(full.contains("now       0 of 3 left: it would be denied for "), "{full}");
}

#[test]
fn a_calendar_is_explained_by_its_present_period() {
    let (app, redis) = (App::start(), RedisServer::start());
    let daily = |text: &str| {
        let day = format!("algorithm = \"calendar\"\n{}", calendar::window());
        text.replace("window = \"1h\"", &day)
    };
    let explainer = Explainer::new("day", &daily(&anywhere(&format!("url = \"{}\"", redis.url()))));
    let config = daily(&format!("{}{CONFIG}", app_at(app.address())));
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"", &config);
    assert_eq!(gateway.get("/a").status(), 200);
    let used = explainer.says(&["--path", "/a", "--ip", "127.0.0.1", "--store"]);
    assert!(used.contains("limit     3 in a ") && used.contains(" (calendar), by ip"), "{used}");
    assert!(used.contains("now       2 of 3 left, more in "), "{used}");
}

/// Its values are no patterns, and what requests can have is taken.
#[test]
fn an_override_is_met_by_the_values_that_it_names() {
    let policy = "[policies.odd]\nquota = 9\nwindow = \"1h\"\n\
                  partition = [\"path\", \"host\", \"method\", \"route\", \"ip\"]\n\
                  [[policies.odd.overrides]]\nquota = 7\n\
                  key = { path = \"/a/%2a\", host = \"[::1]\", method = \"HEAD\", route = \"/**\", ip = \"::1\" }\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"odd\"]\n";
    let config = format!("{}{policy}", anywhere("kind = \"local\""));
    let explainer = Explainer::new("override", &config);
    let says = |path, host| {
        explainer.says(&["--path", path, "--ip", "::1", "--header", host, "--method", "HEAD"])
    };
    let overridden = |text: &str| text.contains("odd (override for this key)");
    let met = says("/a/*", "Host: [::1]:8080");
    assert!(overridden(&met), "{met}");
    for (path, host) in [("/a/b", "Host: [::1]"), ("/a/*", "Host: a")] {
        let other = says(path, host);
        assert!(other.contains("policy    odd\n") && !overridden(&other), "{other}");
    }
}

#[test]
fn explain_says_which_calendar_a_policy_goes_by() {
    let monthly = "window = \"month\"\nalgorithm = \"calendar\"\n\
                   time_zone = \"america/new_york\"\ntiers.gold.window = \"day\"\n\
                   tiers.gold.time_zone = \"UTC\"\npartition = [\"user\"]\n";
    let config = anywhere("kind = \"local\"").replace("window = \"1h\"", monthly);
    let explainer = Explainer::new("month", &config);
    let mut asked = vec!["--path", "/a", "--ip", "127.0.0.1", "--header", "x-user: ann"];
    let own = explainer.says(&asked);
    let month = "limit     3 in a month, by the midnights of America/New_York (calendar), by user";
    assert!(own.contains(month), "{own}");
    asked.extend(["--header", "x-tier: gold"]);
    let tier = explainer.says(&asked);
    assert!(tier.contains("limit     3 in a day, by the midnights of UTC (calendar)"), "{tier}");
}

#[test]
fn what_settles_a_cost_is_told() {
    let config = "[policies.points]\nquota = 100\nwindow = \"1h\"\n\
         [policies.login]\nquota = 5\nwindow = \"1m\"\ncount = \"failures\"\n\
         failure_status = [401, \"5xx\"]\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"points\", \"login\"]\ncost = 3\n\
         cost_from = \"body:1KiB\"\nsettle_from = \"header:X-Cost\"\n";
    let app = app_at(([127, 0, 0, 1], 3000).into());
    let explainer = Explainer::new("terms", &format!("[store]\nkind = \"local\"\n{app}{config}"));
    let said = explainer.says(&["--path", "/", "--ip", "192.0.2.1"]);
    let [login, points] = ["login", "points"].map(|policy| {
        let from = said.split(&format!("policy    {policy}")).nth(1).expect("the policy");
        from.split("key  ").next().expect("its terms").to_owned()
    });
    let term = "in the end what `x-cost` of the answer says";
    assert!(login.contains(term) && points.contains(term), "{said}");
    assert!(login.contains("nothing unless the answer is 401, 5xx"), "{said}");
    assert!(!points.contains("unless"), "{said}");
}

#[test]
fn a_store_that_does_not_answer_is_a_failure_and_the_rest_is_said() {
    let store = format!("url = \"redis://127.0.0.1:{}\"", free_port());
    let explainer = Explainer::new("away", &anywhere(&store));
    let output = explainer.run(&["--path", "/a", "--ip", "192.0.2.1", "--store"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("policy    per-ip"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("error: how the keys stand is not known"), "{complaint}");
}

#[test]
fn a_wrong_description_is_wrong_usage() {
    let explainer = Explainer::new("usage", &anywhere("kind = \"local\""));
    for wrong in [
        vec!["--path", "/a"],
        vec!["--ip", "192.0.2.1"],
        vec!["--path", "/a", "--ip", "192.0.2"],
        vec!["--path", "/a", "--ip", "192.0.2.1", "--header", "no colon"],
        vec!["--path", "/a", "--ip", "192.0.2.1", "--method", "A B"],
    ] {
        assert_eq!(explainer.run(&wrong).status.code(), Some(2), "{wrong:?}");
    }
}
