//! What clients do to get around a limit without a credential of another, and what must not be in
//! the way of those who do nothing of the kind.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::RedisServer;

const TIMEOUT: &str = "timeout = \"2s\"";
const SESSION: &str = "0123456789abcdef-ben";
const SECRET: &str = "a-secret-of-the-tests-and-of-nobody-else";
/// Signed with another secret: a token that is not valid, as an expired one is not.
const BAD_TOKEN: &str = "authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiZW4ifQ.AAAA\r\n";
const TWO: &str = "[policies.two]\nquota = 2\nwindow = \"1h\"\n";

/// Sends `start` and these header lines as they are; the answer's head in lower case.
fn ask(gateway: &Gateway, start: &str, lines: &str) -> String {
    let request = format!("{start} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n");
    let answer = raw::exchange(gateway.public(), request.as_bytes());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).expect("a status").parse().expect("a number")
}

fn session() -> &'static str {
    "[identity.session]\ncookie = \"sid\"\nkey = \"session:{id}\"\nuser = \"id\"\n"
}

fn jwt() -> String {
    format!("[identity.jwt]\nalgorithms = [\"HS256\"]\nkey = \"{SECRET}\"\n")
}

fn rejecting(redis: &RedisServer, app: &App) -> Gateway {
    let config = format!(
        "[identity]\non_invalid = \"reject\"\ncache = \"0s\"\nuser_header = \"x-verified-user\"\n\
         {}{}{}[policies.all]\nquota = 1000\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n\
         [exempt]\npaths = [\"/health\"]\n[cors]\npreflight = \"exempt\"\n",
        jwt(),
        session(),
        app_at(app.address())
    );
    redis.command::<()>(&["SET", &format!("session:{SESSION}"), "{\"id\":\"ben\"}"]);
    Gateway::with_redis(redis, TIMEOUT, &config)
}

/// `docs/configuration.md`: "While Redis cannot be asked, nobody is a user for it and nobody is
/// refused for it: the request is anonymous."
#[test]
fn an_outage_refuses_nobody_whom_a_session_would_have_let_in() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateway = rejecting(&redis, &app);
    let lines = format!("host: a\r\n{BAD_TOKEN}cookie: sid={SESSION}\r\n");
    assert_eq!(status(&ask(&gateway, "GET /", &lines)), 200);
    assert_eq!(app.last().header("x-verified-user"), Some("ben"));
    redis.kill();
    let head = ask(&gateway, "GET /", &lines);
    assert_eq!(status(&head), 200, "refused for an outage alone: {head}");
}

/// The application takes `post` for POST where it is Django on ASGI, or Werkzeug.
#[test]
fn a_rule_for_a_method_holds_however_the_method_is_spelled() {
    let (redis, app) = (RedisServer::start(), App::start());
    let rule = "[[rules]]\npath = \"/login\"\nmethods = [\"POST\"]\npolicies = [\"two\"]\n";
    let gateway =
        Gateway::with_redis(&redis, TIMEOUT, &format!("{}{TWO}{rule}", app_at(app.address())));
    let lines = "host: a\r\ncontent-length: 0\r\n";
    for _ in 0..2 {
        assert_eq!(status(&ask(&gateway, "POST /login", lines)), 200);
    }
    assert_eq!(status(&ask(&gateway, "POST /login", lines)), 429);
    for method in ["post", "Post", "pOST"] {
        let head = ask(&gateway, &format!("{method} /login"), lines);
        assert!(status(&head) >= 400, "`{method}` passed the limit of POST");
    }
}

#[test]
fn a_rule_for_a_host_is_not_left_by_a_host_that_is_none() {
    let (redis, app) = (RedisServer::start(), App::start());
    let rule = "[[rules]]\npath = \"/**\"\nhost = \"api.example.org\"\npolicies = [\"two\"]\n";
    let gateway =
        Gateway::with_redis(&redis, TIMEOUT, &format!("{}{TWO}{rule}", app_at(app.address())));
    for _ in 0..2 {
        assert_eq!(status(&ask(&gateway, "GET /", "host: api.example.org\r\n")), 200);
    }
    assert_eq!(status(&ask(&gateway, "GET /", "host: api.example.org\r\n")), 429);
    let mut passed = Vec::new();
    for host in
        ["api.example.org:x", "api.example.org:80:80", "api.example.org/", "api.example.org, b"]
    {
        if status(&ask(&gateway, "GET /", &format!("host: {host}\r\n"))) < 400 {
            passed.push(host);
        }
    }
    assert!(passed.is_empty(), "passed on, without the rule of the host: {passed:?}");
}

/// Express, of which the example speaks, takes `/API/events` for `/api/events` by default.
#[test]
fn the_example_for_express_limits_what_express_takes_for_the_same_path() {
    let (redis, app) = (RedisServer::start(), App::start());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/events-backend/gateway.toml");
    let text = fs::read_to_string(file).expect("the example");
    let (address, url) = (app.address().to_string(), redis.url());
    let gateway = Gateway::start_whole(&text, &[("APP", &address), ("REDIS_URL", &url)]);
    gateway.wait_for_store("up");
    for _ in 0..100 {
        assert_eq!(status(&ask(&gateway, "GET /api/events", "host: a\r\n")), 200);
    }
    assert_eq!(status(&ask(&gateway, "GET /api/events", "host: a\r\n")), 429);
    assert_eq!(status(&ask(&gateway, "GET /API/events", "host: a\r\n")), 429, "/API/events");
}

/// The gateway decides about one path and the application gets another.
#[test]
fn an_exempt_path_is_none_that_begins_elsewhere() {
    let (redis, app) = (RedisServer::start(), App::start());
    let rule = "[[rules]]\npath = \"/**\"\npolicies = [\"two\"]\n[exempt]\npaths = [\"/health\"]\n";
    let gateway =
        Gateway::with_redis(&redis, TIMEOUT, &format!("{}{TWO}{rule}", app_at(app.address())));
    for target in ["/search/../health?q=1", "/search/%2e%2e/health?q=1", "/search//../health?q=1"] {
        let statuses: Vec<u16> = (0..3)
            .map(|_| status(&ask(&gateway, &format!("GET {target}"), "host: a\r\n")))
            .collect();
        let got = app.last().target;
        let fits = got.starts_with("/health") || statuses.iter().any(|status| *status >= 400);
        assert!(fits, "never limited, and the application got `{got}`");
    }
}

/// RFC 9113, 8.2.3: cookies in several fields MUST be one line before HTTP/1.1 sees them.
#[test]
fn cookies_that_http2_splits_are_one_line_to_the_application() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "h2c = true\n[store]\nurl = \"{}\"\n{TIMEOUT}\n{}{TWO}[[rules]]\npath = \"/x\"\n\
         policies = [\"two\"]\n",
        redis.url(),
        app_at(app.address())
    );
    let gateway = Gateway::start(&config);
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "a"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut stream = raw::connect(gateway.public());
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    sent.extend_from_slice(&[0, 0, u8::try_from(block.len()).expect("short"), 1, 5, 0, 0, 0, 1]);
    sent.extend_from_slice(&block);
    stream.write_all(&sent).expect("the gateway reads");
    let mut byte = [0];
    while app.seen().is_empty() {
        stream.read_exact(&mut byte).expect("the gateway answers");
    }
    let cookies: Vec<String> = app
        .last()
        .headers
        .into_iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(cookies, ["a=1; b=2"]);
}

/// Nobody asks who the user is: the path is exempt, and the application is told of no user.
#[test]
fn made_up_sessions_on_an_exempt_path_cost_redis_nothing() {
    let (redis, app) = (RedisServer::start(), App::start());
    let rule =
        "[[rules]]\npath = \"/api/**\"\npolicies = [\"two\"]\n[exempt]\npaths = [\"/health\"]\n";
    let config = format!("{}{}{TWO}{rule}", session(), app_at(app.address()));
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &config);
    for number in 0..100 {
        let lines = format!("host: a\r\ncookie: sid=0123456789abcdef-{number}\r\n");
        assert_eq!(status(&ask(&gateway, "GET /health", &lines)), 200);
    }
    let stats: String = redis.command(&["INFO", "commandstats"]);
    let asked = stats.lines().find(|line| line.starts_with("cmdstat_getrange:"));
    assert_eq!(asked, None, "look-ups for requests that no limit concerns");
}

/// `[exempt]` is for "paths such as health checks", and for the page where one signs in anew.
#[test]
fn what_is_exempt_is_not_refused_for_an_old_token() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = rejecting(&redis, &app);
    let lines = format!("host: a\r\n{BAD_TOKEN}");
    assert_eq!(status(&ask(&gateway, "GET /health", &lines)), 200);
}

/// gRPC maps 403 to "permission denied"; "resource exhausted" tells clients to try again.
#[test]
fn a_denied_address_is_told_so_in_grpc_too() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}{TWO}[[rules]]\npath = \"/x\"\npolicies = [\"two\"]\n[deny]\nclients = [\"127.0.0.0/8\"]\n",
        app_at(app.address())
    );
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &config);
    let lines = "host: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n";
    let head = ask(&gateway, "POST /a.B/C", lines);
    assert!(head.contains("grpc-status: 7"), "{head}");
}

/// `docs/configuration.md`: with `off` "nothing is counted or refused", with `shadow` "counted and
/// never refused".
#[test]
fn a_switch_that_is_off_refuses_nobody() {
    let (redis, app) = (RedisServer::start(), App::start());
    for mode in ["off", "shadow"] {
        let config = format!(
            "[identity]\non_invalid = \"reject\"\n{}{}{TWO}[[rules]]\npath = \"/**\"\n\
             policies = [\"two\"]\n[rollout]\nmode = \"{mode}\"\n",
            jwt(),
            app_at(app.address())
        );
        let gateway = Gateway::with_redis(&redis, TIMEOUT, &config);
        let head = ask(&gateway, "GET /", &format!("host: a\r\n{BAD_TOKEN}"));
        assert_eq!(status(&head), 200, "{mode}: {head}");
    }
}

/// With limits off nobody needs to know who the user is.
#[test]
fn a_switch_that_is_off_asks_redis_nothing() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}{}{TWO}[[rules]]\npath = \"/**\"\npolicies = [\"two\"]\n[rollout]\nmode = \"off\"\n",
        session(),
        app_at(app.address())
    );
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &config);
    for number in 0..20 {
        ask(&gateway, "GET /", &format!("host: a\r\ncookie: sid=0123456789abcdef-{number}\r\n"));
    }
    let stats: String = redis.command(&["INFO", "commandstats"]);
    assert_eq!(stats.lines().find(|line| line.starts_with("cmdstat_getrange:")), None);
}

/// Bytes beyond ASCII come escaped from browsers. Raw ones are no HTTP, and to some they are Latin-1.
#[test]
fn letters_beyond_ascii_are_one_path_however_they_are_sent() {
    let (redis, app) = (RedisServer::start(), App::start());
    let policy = "[policies.pages]\nquota = 1\nwindow = \"1h\"\npartition = [\"ip\", \"path\"]\n";
    let rule = "[[rules]]\npath = \"/\u{e9}t\u{e9}/**\"\npolicies = [\"pages\"]\n";
    let gateway =
        Gateway::with_redis(&redis, TIMEOUT, &format!("{}{policy}{rule}", app_at(app.address())));
    let spellings = ["%C3%A9t%C3%A9", "\u{e9}t\u{e9}", "%c3%a9t\u{e9}", "\u{e9}t%c3%A9"];
    let statuses =
        spellings.map(|name| status(&ask(&gateway, &format!("GET /{name}/1"), "host: a\r\n")));
    assert_eq!(statuses, [200, 400, 400, 400]);
    assert_eq!(status(&ask(&gateway, "GET /%c3%a9t%c3%A9/1", "host: a\r\n")), 429);
}
