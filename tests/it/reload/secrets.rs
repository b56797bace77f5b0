//! Wherever a secret may stand, no page and no line of the log shows it.

use super::{post, put, shown, text};
use crate::support::gateway::Gateway;

/// What every secret begins with; behind it stands where it is.
const MARK: &str = "S3CRET";

/// Nothing of `page` is a secret. Which one it is, the message says.
fn hides(what: &str, page: &str) {
    let shown: Vec<&str> =
        page.match_indices(MARK).map(|(at, _)| &page[at..page.len().min(at + 40)]).collect();
    assert!(shown.is_empty(), "{what} shows {shown:#?}");
}

/// All that is said by the gateway: `/config`, a reload that is applied, and one that is not.
fn says_nothing(gateway: &Gateway, broken: &[(&str, &str)]) {
    let good = text(gateway);
    let (status, answer) = post(gateway);
    assert_eq!(status, 200, "{answer:#}");
    hides("/reload", &answer.to_string());
    for (from, to) in broken {
        assert!(good.contains(from), "`{from}` is not in the configuration");
        put(gateway, &good.replace(from, to));
        let (status, answer) = post(gateway);
        assert_eq!(status, 422, "{to} is no mistake");
        hides("the refusal of /reload", &answer.to_string());
        hides("/config", &shown(gateway).to_string());
    }
    hides("the log", &gateway.log());
}

const EVERYWHERE: &str = r#"
[server]
listen = ["${LISTEN}"]
[admin]
listen = "${ADMIN}"
[client]
trusted_proxies = ["10.0.0.0/8"]
[identity]
user_header = "x-${PLAIN}"
[identity.jwt]
algorithms = ["HS256"]
key = "S3CRET-jwt-key-0123456789-0123456789"
issuer = "${ISSUER}"
[identity.session]
cookie = "sid"
key = "session:{id}"
value = "json"
user = "user.id"
[identity.header]
user = "x-user"
[store]
url = "redis://user:S3CRET-store-password@127.0.0.1:1"
[upstreams.app]
servers = ["127.0.0.1:1"]
[[routes]]
path = "/**"
upstream = "app"
[policies.p]
quota = 5
window = "1h"
partition = ["header:x-key"]
[[policies.p.overrides]]
key = { "header:x-key" = "S3CRET-key-of-a-partner" }
quota = 9
[policies.q]
quota = 5
window = "1h"
message = "${MESSAGE}"
[[rules]]
path = "/**"
policies = ["p", "q"]
headers = { x-partner = "S3CRET-header" }
query = { signature = "S3CRET-query" }
[meters.views]
paths = ["/**"]
unique_by = "none"
export = "push"
[meters.views.push]
upstream = "app"
path = "/take?signature=S3CRET-path"
headers = { authorization = "Bearer S3CRET-push", x-token = "S3CRET ${TOKEN}", x-other = "${TOKEN}" }
"#;

#[test]
fn no_secret_is_shown_wherever_it_stands() {
    let variables = [
        ("PLAIN", "S3CRET-plain"),
        ("ISSUER", "S3CRET-issuer"),
        ("MESSAGE", "S3CRET-message"),
        ("TOKEN", "S3CRET-token"),
    ];
    let gateway = Gateway::start_whole(EVERYWHERE, &variables);
    let page = shown(&gateway);
    hides("/config", &page.to_string());
    let config = &page["config"];
    // What is hidden is there, and what is no secret is shown.
    assert_eq!(config["store"]["url"], "redis://user:***@127.0.0.1:1");
    assert_eq!(config["identity"]["jwt"]["key"], "***");
    assert_eq!(config["identity"]["jwt"]["issuer"], "${ISSUER}");
    assert_eq!(config["identity"]["user_header"], "x-${PLAIN}");
    let headers = &config["meters"]["views"]["push"]["headers"];
    assert_eq!([&headers["x-token"], &headers["x-other"]], ["***", "${TOKEN}"]);
    assert_eq!(config["server"]["listen"][0], "${LISTEN}");
    assert_eq!(config["policies"]["p"]["partition"][0], "header:x-key");
    says_nothing(
        &gateway,
        &[
            ("key = \"S3CRET", "kye = \"S3CRET"),
            ("[store]\n", "[store]\npasword = \"S3CRET-mistyped\"\n"),
            ("url = \"redis://", "url = \"redsi://"),
            ("@127.0.0.1:1\"", "@127.0.0.1:1"),
            ("authorization = \"Bearer", "authorization = [\"S3CRET-type\"], x = \"Bearer"),
            ("key = \"S3CRET", "key = \"${MISSING:-S3CRET-default}${MISSING}"),
            ("algorithms = [\"HS256\"]", "algorithms = [\"HS256\"]\nS3CRET-alone"),
        ],
    );
    // A password that needs a restart is not told either, before or after.
    put(&gateway, &EVERYWHERE.replace("S3CRET-store-password", "S3CRET-other-password"));
    let (status, answer) = post(&gateway);
    assert_eq!((status, &answer["needs_restart"][0]["key"]), (200, &"store.url".into()));
    hides("/reload", &answer.to_string());
    hides("/config", &shown(&gateway).to_string());
    hides("the log", &gateway.log());
}

#[test]
fn nor_one_of_the_sentinels() {
    let (before, rest) = EVERYWHERE.split_once("[store]\n").unwrap();
    let (_, after) = rest.split_once("[upstreams.app]").unwrap();
    let store = "[store]\nurl = \"redis://:S3CRET-of-the-master@mymaster\"\n\
                 topology = \"sentinel\"\n[store.sentinel]\nservers = [\"127.0.0.1:1\"]\n\
                 username = \"gate\"\npassword = \"S3CRET-of-the-sentinels\"\n";
    let text = format!("{before}{store}[upstreams.app]{after}");
    let variables = ["PLAIN", "ISSUER", "MESSAGE", "TOKEN"].map(|name| (name, "S3CRET-variable"));
    let gateway = Gateway::start_whole(&text, &variables);
    let page = shown(&gateway);
    hides("/config", &page.to_string());
    let sentinel = &page["config"]["store"]["sentinel"];
    assert_eq!([&sentinel["username"], &sentinel["password"]], ["gate", "***"]);
    says_nothing(&gateway, &[("password = \"S3CRET", "pasword = \"S3CRET")]);
    put(&gateway, &text.replace("S3CRET-of-the-sentinels", "S3CRET-of-others"));
    let (_, answer) = post(&gateway);
    assert_eq!(answer["needs_restart"][0]["key"], "store.sentinel.password", "{answer:#}");
    hides("/reload", &answer.to_string());
}
