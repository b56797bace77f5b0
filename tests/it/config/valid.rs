//! What a valid file means.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluicegate::body::{Choice, Media};
use sluicegate::config::{
    Config, Cors, Format, Level, Log, PolicyAnswer, Protocol, Response, ServerAddress,
    ServerBounds, StoreKind, Tls, Upstream,
};
use sluicegate::identity::Source;
use sluicegate::identity::credential::Place;
use sluicegate::limit::{Concurrency, Limit, Micros, Mode, OnStoreError, Timestamp};
use sluicegate::request::Spelling;
use sluicegate::request::origin::Origins;
use sluicegate::request::reading::{Reading, Underscores};
use sluicegate::rules::cost::Pricing;
use sluicegate::rules::partition::Word;
use sluicegate::rules::paths::PathSet;
use sluicegate::rules::{Enforcement, PartitionedPolicy};

use super::{FULL, parse};

/// The least that a file must say.
const MINIMAL: &str = r#"
[upstreams.app]
servers = ["127.0.0.1:3000"]

[[routes]]
path = "/**"
upstream = "app"
"#;

fn read(text: &str) -> Config {
    let (config, warnings) = parse(text, &[("PASSWORD", "hunter2")]).expect("a valid file");
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = parse(text, &[]).expect("a valid file");
    warnings.iter().map(|warning| warning.message().to_owned()).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn what_a_minimal_file_leaves_out_has_its_default() {
    let config = read(MINIMAL);
    let minute = Duration::from_secs(60);
    assert_eq!(config.server.listen, [address("127.0.0.1:8080")]);
    assert_eq!((config.server.threads, config.server.h2c), (0, false));
    assert_eq!(config.server.keepalive_timeout, minute);
    let half = minute / 2;
    assert_eq!((config.server.read_timeout, config.server.write_timeout), (half, half));
    assert_eq!(config.server.drain_timeout, half);
    assert_eq!(config.server.lame_duck, Duration::from_millis(500));
    assert_eq!(config.server.upgrade_socket, None);
    assert_eq!(config.server.handover_timeout, Duration::from_secs(600));
    let bounds = ServerBounds {
        max_connections: 8192,
        max_connections_per_address: 1024,
        proxy_protocol: false,
        header_timeout: Duration::from_secs(10),
        max_header_size: 32 << 10,
        max_headers: 100,
        max_target_size: 8 << 10,
        max_body: 64 << 20,
        min_body_rate: 240,
        half_close_timeout: Duration::from_secs(5),
    };
    assert_eq!(config.server.bounds, bounds);
    assert_eq!(config.admin, address("127.0.0.1:9090"));
    assert_eq!(config.log, Log { level: Level::Info, format: Format::Text, access: false });
    assert!(config.client.trusted_proxies.is_empty());
    assert_eq!(config.client.forwarded_header, "x-forwarded-for");
    assert_eq!((config.client.ipv4_prefix, config.client.ipv6_prefix), (32, 64));
    assert_eq!(config.request, Reading::default());
    assert!(!config.identity.has_user && config.identity.identity.sources.is_empty());
    assert_eq!(config.identity.cache, Duration::from_secs(1));
    assert_eq!(config.store.kind, StoreKind::Redis);
    assert_eq!(config.store.url.expose(), "redis://127.0.0.1:6379");
    assert_eq!(config.store.tls, Tls::default());
    assert_eq!(config.store.timeout, Duration::from_millis(20));
    assert_eq!(config.store.deny_cache, Duration::from_secs(1));
    assert_eq!(config.store.expected_instances, None);
    assert_eq!((config.store.key_prefix.as_str(), config.store.local_memory), ("sg", 64 << 20));
    assert!(config.policies.is_empty() && config.rules.is_empty());
    assert!(!config.exempt_preflight);
    assert_eq!(config.cors, Cors { origins: Origins::Listed(Vec::new()), credentials: false });
    let response = &config.response;
    assert!(response.ratelimit && response.x_ratelimit && response.retry_after);
    assert_eq!(response.body, Choice::Fixed(Media::Problem));
    assert!(response.files.get(Media::Html).is_none());
}

/// What `Forwarded` is called in the file does not depend on its case.
#[test]
fn clients_may_be_named_in_forwarded() {
    let config = read(&format!("{MINIMAL}[client]\nforwarded_header = \"Forwarded\"\n"));
    assert_eq!(config.client.forwarded_header, "forwarded");
}

/// Patterns and the keys of overrides are spelled as paths are.
#[test]
fn patterns_are_folded_like_paths() {
    let rest = "[request]\nignore_case = true\npath_params = \"keep\"\nencoded_slashes = \"keep\"\n\
                [[rules]]\npath = \"/A;b/%2F/**\"\npolicies = [\"p\"]\n\
                [policies.p]\nquota = 5\nwindow = \"1m\"\npartition = [\"path\"]\n\
                [[policies.p.overrides]]\nkey = { path = \"/%41//b\" }\nquota = 7\n";
    let (config, _) = parse(&format!("{MINIMAL}{rest}"), &[]).expect("a valid file");
    let paths = PathSet::new(config.rules.iter().map(|rule| &rule.path)).expect("they fit");
    let spelled = |path| config.request.spelling.normalise(path).expect("a path").into_owned();
    assert!(paths.matches(&spelled("/a;B/%2f/x")) && paths.matches(&spelled("/%41;b//%2F")));
    let subject = config.policies[0].partition.subject_of(|_| "/a/b".to_owned());
    let found: Vec<&String> = config.policies[0].overrides.keys().collect();
    assert_eq!(found, [&subject]);
}

fn addresses(upstream: &Upstream) -> Vec<ServerAddress> {
    upstream.servers.iter().map(|server| server.address.clone()).collect()
}

#[test]
fn an_upstream_and_a_route_have_defaults() {
    let config = read(MINIMAL);
    let [upstream] = config.upstreams.as_slice() else { panic!("one upstream") };
    let server = ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: 3000 };
    assert_eq!((upstream.name.as_str(), upstream.protocol), ("app", Protocol::H1));
    assert_eq!(addresses(upstream), [server]);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(1));
    assert_eq!(upstream.read_timeout, Duration::from_secs(60));
    assert_eq!(upstream.write_timeout, Duration::from_secs(60));
    assert_eq!(upstream.idle_timeout, Duration::from_secs(4));
    let [route] = config.routes.as_slice() else { panic!("one route") };
    assert_eq!((route.path.as_str(), route.upstream, route.preserve_host), ("/**", 0, true));
    assert_eq!(route.host, None);
}

#[test]
fn a_policy_and_a_rule_have_defaults() {
    let rest =
        "[policies.p]\nquota = 5\nwindow = \"1m\"\n[[rules]]\npath = \"/\"\npolicies = [\"p\"]";
    let config = read(&format!("{MINIMAL}{rest}"));
    let [limited] = config.policies.as_slice() else { panic!("one policy") };
    let policy = limited.own.policy();
    assert_eq!((policy.id, policy.generation, policy.name.as_str()), (0, 7, "p"));
    assert!(matches!(policy.limit, Limit::SlidingWindow(_)));
    assert_eq!(policy.limit.parameters(), [5, 60_000_000, 60_000_000 / 64]);
    assert_eq!((policy.mode, policy.on_store_error), (Mode::Enforce, OnStoreError::Local));
    let message = "Too many requests; try again later.".to_owned();
    let answer = PolicyAnswer { status: 429, message, response: config.response.clone() };
    assert_eq!(config.answers, [answer]);
    assert_eq!(limited.partition.words(), [Word::Ip]);
    let [rule] = config.rules.as_slice() else { panic!("one rule") };
    assert_eq!((rule.methods.as_ref(), &rule.cost), (None, &Pricing::fixed(1)));
    assert_eq!(rule.policies, [0]);
}

fn identity_is_read(config: &Config) {
    let identity = &config.identity.identity;
    let names: Vec<&str> = identity.sources.iter().map(|source| source.name().word()).collect();
    assert_eq!(names, ["header", "jwt"], "in the order of `sources`");
    assert_eq!((config.identity.cache, config.identity.has_user), (Duration::ZERO, true));
    assert!(identity.rejects_invalid && identity.confirmation.is_none());
    assert_eq!(identity.user_header.as_deref(), Some("x-verified-user"));
    assert_eq!(identity.tier_header.as_deref(), Some("x-verified-tier"));
    let [Source::Header(header), Source::Jwt(tokens)] = identity.sources.as_slice() else {
        panic!("two sources")
    };
    assert_eq!((header.user.as_str(), header.tier.as_deref()), ("x-user-id", Some("x-plan")));
    let places = [Place::Header("x-token".to_owned()), Place::Cookie("token".to_owned())];
    assert_eq!(tokens.places, places);
    let shown = format!("{:?}", tokens.verifier);
    let claims = "issuer: Some(\"https://id.example.org\"), audience: Some(\"api\"), \
                  user: ClaimPath([\"realm\", \"user\", \"id\"]), tier: Some(ClaimPath([\"plan\"])), \
                  leeway: Micros(300000000), require_exp: false";
    assert!(shown.contains(claims), "{shown}");
    assert!(!format!("{config:?}").contains("0123456789abcdef"), "no secret is shown");
}

#[test]
fn every_key_is_read() {
    let config = read(FULL);
    assert_eq!(config.server.listen, [address("0.0.0.0:80"), address("[::]:80")]);
    assert_eq!((config.server.threads, config.server.h2c), (4, true));
    assert_eq!(config.server.keepalive_timeout, Duration::from_secs(75));
    assert_eq!(config.server.drain_timeout, Duration::ZERO);
    assert_eq!(config.server.lame_duck, Duration::from_secs(20));
    let socket = Path::new("/run/sluicegate/upgrade.sock");
    assert_eq!(config.server.upgrade_socket.as_deref(), Some(socket));
    assert_eq!(config.server.handover_timeout, Duration::from_secs(86_400));
    let bounds = ServerBounds {
        max_connections: 20_000,
        max_connections_per_address: 0,
        proxy_protocol: true,
        header_timeout: Duration::from_secs(5),
        max_header_size: 64 << 10,
        max_headers: 200,
        max_target_size: 16 << 10,
        max_body: 1 << 30,
        min_body_rate: 0,
        half_close_timeout: Duration::ZERO,
    };
    assert_eq!(config.server.bounds, bounds);
    assert_eq!(config.routes[0].max_body, Some(0));
    assert_eq!(config.admin, address("[::1]:9091"));
    assert_eq!(config.log, Log { level: Level::Debug, format: Format::Json, access: true });
    let proxies: Vec<_> = config.client.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(config.client.forwarded_header, "x-real-ip");
    assert_eq!((config.client.ipv4_prefix, config.client.ipv6_prefix), (24, 48));
    let request = &config.request;
    assert_eq!(request.underscores, Underscores::Reject);
    assert!(request.keeps_method_override && request.forwards_spelling);
    let all = Spelling {
        keeps_slashes: true,
        keeps_params: true,
        ignores_case: true,
        ignores_trailing_slash: true,
    };
    assert_eq!(request.spelling, all);
    identity_is_read(&config);
    assert_eq!(config.store.kind, StoreKind::Local);
    assert_eq!(config.store.timeout, Duration::from_millis(250));
    assert_eq!(config.store.deny_cache, Duration::ZERO);
    assert_eq!(config.store.expected_instances, Some(3));
    assert_eq!(
        (config.store.key_prefix.as_str(), config.store.local_memory),
        ("gate.1", 2_048 << 10)
    );
    assert!(config.exempt_preflight);
    let origins = ["https://app.example.org", "http://localhost:3000", "null"];
    let origins = Origins::Listed(origins.map(str::to_owned).to_vec());
    assert_eq!(config.cors, Cors { origins, credentials: true });
    let none = Response {
        ratelimit: false,
        x_ratelimit: false,
        retry_after: false,
        body: Choice::Fixed(Media::Text),
        ..Response::default()
    };
    assert_eq!(config.response, none);
    let own = Response {
        ratelimit: true,
        x_ratelimit: true,
        retry_after: true,
        body: Choice::Auto,
        ..Response::default()
    };
    let responses: Vec<_> = config.answers.iter().map(|answer| &answer.response).collect();
    assert_eq!(responses, [&none, &own, &none, &none], "what a policy leaves out is as for all");
}

#[test]
fn every_key_of_an_upstream_is_read() {
    let config = read(FULL);
    let [app, web] = config.upstreams.as_slice() else { panic!("two upstreams") };
    assert_eq!((app.name.as_str(), web.name.as_str()), ("app", "web"));
    let tcp = |host: &str, port| ServerAddress::Tcp { host: host.to_owned(), port };
    let unix = ServerAddress::Unix(PathBuf::from("/run/app.sock"));
    assert_eq!(addresses(app), [tcp("app.internal", 3000), tcp("::1", 3000), unix]);
    let spelled: Vec<_> = addresses(app).iter().map(ToString::to_string).collect();
    assert_eq!(spelled, ["app.internal:3000", "[::1]:3000", "unix:/run/app.sock"]);
    assert_eq!((app.protocol, &app.tls), (Protocol::H2, &None));
    assert_eq!(app.connect_timeout, Duration::from_micros(1_500));
    assert_eq!(app.read_timeout, Duration::from_secs(3_600));
    assert_eq!(app.idle_timeout, Duration::from_millis(100));
    assert_eq!(addresses(web), [tcp("127.0.0.1", 3001)]);
}

#[test]
fn every_key_of_a_policy_and_a_rule_is_read() {
    let config = read(FULL);
    let [per_ip, per_user, plan, slots] = config.policies.as_slice() else {
        panic!("four policies")
    };
    assert_eq!((per_ip.own.policy().id, per_user.own.policy().id), (0, 1));
    assert_eq!(per_ip.own.policy().limit.parameters(), [100, 60_000_000, 60_000_000 / 32]);
    assert_eq!(per_ip.own.policy().mode, Mode::Shadow);
    assert_eq!(per_ip.own.policy().on_store_error, OnStoreError::Deny);
    let answers: Vec<_> = config.answers.iter().map(|a| (a.status, a.message.as_str())).collect();
    let usual = (429, "Too many requests; try again later.");
    assert_eq!(answers, [(503, "Größe: später wieder"), usual, usual, usual]);
    let most = slots.variants().map(|variant| variant.policy().limit);
    let expected = [4, 100_000].map(|most| Concurrency::new(most).expect("within bounds"));
    assert!(most.eq(expected.map(Limit::Concurrency)));
    assert_eq!(per_user.own.policy().limit.cost_max(), 20);
    let quota = per_user.own.policy().limit.quota().expect("it has a window");
    assert_eq!(quota.window(), Micros::new(86_400_000_000));
    assert_eq!(per_user.own.policy().on_store_error, OnStoreError::Allow);
    assert_eq!(per_user.partition.words(), [Word::User, Word::Route]);
    assert_eq!(window_of(plan, None, "2025-10-31T23:30:00+01:00"), (1_000_000, 745));
    let [api, all] = config.rules.as_slice() else { panic!("two rules") };
    let methods = vec!["GET".to_owned(), "POST".to_owned()];
    assert_eq!(api.methods.as_ref(), Some(&methods));
    assert_eq!((api.policies.as_slice(), &api.cost), ([0, 1].as_slice(), &Pricing::fixed(20)));
    assert_eq!(api.host.as_ref().map(ToString::to_string).as_deref(), Some("api.example.org"));
    assert_eq!((all.path.as_str(), all.policies.as_slice()), ("/**", [0, 2, 3].as_slice()));
}

/// The quota of a calendar for a tier, and the hours of the period around a moment.
fn window_of(policy: &PartitionedPolicy, tier: Option<&str>, moment: &str) -> (u64, u64) {
    let at: jiff::Timestamp = moment.parse().expect("a moment");
    let at = Timestamp::from_micros(u64::try_from(at.as_microsecond()).expect("after 1970"));
    let [limit, again] = [(); 2].map(|()| policy.applied("s", tier, Enforcement::Full, at));
    assert!(Arc::ptr_eq(&limit, &again), "made once a period");
    let limit = limit.limit;
    let Limit::Calendar(calendar) = limit else { panic!("a calendar: {limit:?}") };
    assert!(calendar.period().contains(at));
    let window = limit.quota().expect("it has a window").window();
    (limit.units(), window.as_secs_ceil() / 3_600)
}

#[test]
fn a_calendar_follows_its_zone_and_a_tier_may_have_its_own() {
    let rest = "[client]\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
                [identity.header]\nuser = \"x-user\"\ntier = \"x-plan\"\n\
                [policies.p]\nquota = 5\nwindow = \"day\"\nalgorithm = \"calendar\"\n\
                partition = [\"user\"]\n\
                [policies.p.tiers.gold]\nquota = 7\nwindow = \"month\"\n\
                [policies.p.tiers.berlin]\ntime_zone = \"europe/berlin\"\n\
                [[rules]]\npath = \"/\"\npolicies = [\"p\"]";
    let config = read(&format!("{MINIMAL}{rest}"));
    let [policy] = config.policies.as_slice() else { panic!("one policy") };
    // A day of 23 hours in Berlin.
    let moment = "2025-03-30T12:00:00Z";
    assert_eq!(window_of(policy, None, moment), (5, 24), "UTC");
    assert_eq!(window_of(policy, Some("gold"), moment), (7, 744));
    assert_eq!(window_of(policy, Some("berlin"), moment), (5, 23));
    // The period follows the time, also back.
    for moment in ["2025-03-31T12:00:00Z", "2025-03-29T12:00:00Z", "2025-03-29T12:00:00Z"] {
        assert_eq!(window_of(policy, Some("berlin"), moment), (5, 24), "{moment}");
    }
}

#[test]
fn a_penalty_is_that_of_all_limits_of_its_policy() {
    let config = read(&FULL.replace("\nban_max = \"2h\"", ""));
    let ban = |config: &Config| match config.policies[0].ban.as_ref().map(|ban| ban.limit) {
        Some(Limit::Ban(ban)) => (ban.watch().parameters(), ban.first(), ban.longest()),
        other => panic!("no ban: {other:?}"),
    };
    let (minute, hour) = (Micros::new(60_000_000), Micros::new(3_600_000_000));
    let counted = [20, 30_000_000, 30_000_000 / 64];
    assert_eq!(ban(&config), (counted, minute, hour), "an hour at most");
    let config = read(FULL);
    assert_eq!(ban(&config), (counted, minute, Micros::new(7_200_000_000)));
    let (own, ban) = (config.policies[0].own.policy(), config.policies[0].ban.as_ref().unwrap());
    assert_eq!((ban.id, &ban.name, ban.mode), (own.id, &own.name, own.mode));
    assert_eq!(ban.on_store_error, own.on_store_error);
    assert!(config.policies[1].ban.is_none(), "off unless it is there");
}

#[test]
fn without_a_burst_a_token_bucket_holds_its_quota() {
    let rest = "[policies.p]\nquota = 5\nwindow = \"1m\"\nalgorithm = \"token-bucket\"\n\
                [[rules]]\npath = \"/\"\npolicies = [\"p\"]\ncost = 5";
    let config = read(&format!("{MINIMAL}{rest}"));
    let costs: Vec<_> =
        config.policies.iter().map(|limited| limited.own.policy().limit.cost_max()).collect();
    assert_eq!(costs, [5]);
}

#[test]
fn a_variable_may_stand_anywhere_in_a_string() {
    let text = MINIMAL.replace("127.0.0.1:3000", "${HOST}.internal:${PORT:-3000}");
    let rest = "[store]\nkey_prefix = \"${EMPTY:-a}${EMPTY}${SET:-b}\"";
    let variables = [("HOST", "app"), ("EMPTY", ""), ("SET", "c")];
    let (config, _) = parse(&format!("{text}{rest}"), &variables).expect("a valid file");
    let servers = config.upstreams.iter().flat_map(addresses);
    assert_eq!(servers.map(|server| server.to_string()).collect::<Vec<_>>(), ["app.internal:3000"]);
    assert_eq!(config.store.key_prefix, "ac");
}

#[test]
fn two_dollars_give_a_plain_one_and_values_are_not_expanded_again() {
    let rest = "[policies.p]\nquota = 5\nwindow = \"1m\"\nmessage = \"$${A} costs $5 ${A}\"\n\
                [[rules]]\npath = \"/\"\npolicies = [\"p\"]";
    let (config, _) = parse(&format!("{MINIMAL}{rest}"), &[("A", "${B}")]).expect("a valid file");
    let messages: Vec<_> = config.answers.iter().map(|answer| answer.message.as_str()).collect();
    assert_eq!(messages, ["${A} costs $5 ${B}"]);
}

#[test]
fn the_most_specific_route_comes_first() {
    let routes = [
        ("/**", None),
        ("/a", None),
        ("/*", Some("*.example.org")),
        ("/**", Some("example.org")),
        ("/*", Some("*.api.example.org")),
        ("/a/**", Some("api.example.org")),
        ("/a", Some("*.example.org")),
        ("/*", None),
    ];
    let spelled = routes.map(|(path, host)| {
        let host = host
            .map(|host| {
                format!(
                    "host = \"{host}\"
"
                )
            })
            .unwrap_or_default();
        format!(
            "[[routes]]
path = \"{path}\"
upstream = \"app\"
{host}"
        )
    });
    let upstream = "[upstreams.app]
servers = [\"127.0.0.1:3000\"]
";
    let config = read(&format!("{upstream}{}", spelled.concat()));
    let order: Vec<_> = config
        .routes
        .iter()
        .map(|route| match &route.host {
            Some(host) => format!("{host}{}", route.path.as_str()),
            None => route.path.as_str().to_owned(),
        })
        .collect();
    let expected = [
        "api.example.org/a/**",
        "example.org/**",
        "*.example.org/a",
        "*.api.example.org/*",
        "*.example.org/*",
        "/a",
        "/*",
        "/**",
    ];
    assert_eq!(order, expected);
}

#[test]
fn tables_may_be_written_inline() {
    let text = r#"
        routes = [{ path = "/**", upstream = "app" }]
        upstreams = { app = { servers = ["127.0.0.1:3000"] } }
        policies.p = { quota = 0x10, window = "1m" }
        rules = [{ path = "/", policies = ["p"] }]
    "#;
    let config = read(text);
    assert_eq!((config.routes.len(), config.upstreams.len(), config.rules.len()), (1, 1, 1));
    let costs: Vec<_> =
        config.policies.iter().map(|limited| limited.own.policy().limit.cost_max()).collect();
    assert_eq!(costs, [16]);
}

#[test]
fn a_place_in_the_configuration_is_that_of_the_name() {
    let text = r#"
        [upstreams.b]
        servers = ["b:1"]
        [upstreams.a]
        servers = ["a:1"]
        [[routes]]
        path = "/**"
        upstream = "b"
        [policies.z]
        quota = 1
        window = "1s"
        [policies.y]
        quota = 1
        window = "1s"
        [[rules]]
        path = "/**"
        policies = ["z"]
    "#;
    let (config, _) = parse(text, &[]).expect("a valid file");
    let upstream = config.routes.first().and_then(|route| config.upstreams.get(route.upstream));
    assert_eq!(upstream.map(|upstream| upstream.name.as_str()), Some("b"));
    let named: Vec<_> = config.rules.iter().flat_map(|rule| &rule.policies).copied().collect();
    assert_eq!(named, [1]);
    let spelled: Vec<_> =
        config.policies.iter().map(|limited| limited.own.policy().name.as_str()).collect();
    assert_eq!(spelled, ["y", "z"]);
}

#[test]
fn doubts_are_warnings() {
    let rest = "[admin]\nlisten = \"0.0.0.0:9090\"\n\
                [policies.p]\nquota = 1\nwindow = \"1s\"\npartition = [\"path\"]\n\
                [policies.q]\nquota = 1\nwindow = \"1s\"\npartition = [\"user\"]\n\
                [[rules]]\npath = \"/\"\npolicies = [\"p\"]";
    let expected = [
        "the admin listener has no password, and others can reach it",
        "a client can have as many quotas as it likes",
        "no rule names the policy `q`",
        "no request has a user: the address takes its place",
    ];
    assert_eq!(warnings(&format!("{MINIMAL}{rest}")), expected);
}

#[test]
fn a_policy_that_everyone_shares_is_no_doubt() {
    let rest = "[policies.p]\nquota = 1\nwindow = \"1s\"\npartition = []\n\
                [[rules]]\npath = \"/\"\npolicies = [\"p\"]";
    let config = read(&format!("{MINIMAL}{rest}"));
    assert!(config.policies.iter().all(|limited| limited.partition.words().is_empty()));
}

#[test]
fn no_password_is_shown() {
    let urls = [
        ("redis://user:hunter2@[::1]:6380/2", "redis://user:***@[::1]:6380/2"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("redis://hunter2@host", "redis://***@host"),
        ("rediss://u:hunter2%2F%3F%23:@hunter2@host:1/0", "rediss://u:***@host:1/0"),
        ("unix:///run/redis.sock?db=1&pass=hunter2", "unix:///run/redis.sock?db=1&pass=***"),
        ("redis+unix:///r.sock?pass=hunter2&user=u", "redis+unix:///r.sock?pass=***&user=u"),
        ("redis://:hunter2@host/0?url=x", "redis://:***@host/0?url=x"),
        ("redis://10.0.0.1:6379/0", "redis://10.0.0.1:6379/0"),
    ];
    for (url, shown) in urls {
        let (config, _) =
            parse(&format!("{MINIMAL}[store]\nurl = \"${{URL}}\""), &[("URL", url)]).expect(url);
        assert_eq!(config.store.url.expose(), url);
        assert_eq!(config.store.url.to_string(), shown);
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(format!("{config:?}").contains(shown));
    }
}
