//! TLS to upstreams: what is read from the files that it names, and what is said of them.

use std::time::Duration;

use sluicegate::config::{Balance, Config, Ejection, HealthCheck, Pem, Protocol, UpstreamTls};

use super::parse;
use crate::support::certificates::Authority;

fn with(keys: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n{keys}\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n"
    )
}

fn read(keys: &str) -> (Protocol, Option<UpstreamTls>) {
    let (config, warnings): (Config, _) = parse(&with(keys), &[]).expect("a valid file");
    assert!(warnings.is_empty(), "{warnings:?}");
    let upstream = config.upstreams.into_iter().next().expect("one upstream");
    (upstream.protocol, upstream.tls)
}

#[test]
fn protocols_and_tls_go_together() {
    let cases = [
        ("", Protocol::H1, false),
        ("tls = false", Protocol::H1, false),
        ("tls = true", Protocol::H1, true),
        ("protocol = \"h1\"\ntls = true", Protocol::H1, true),
        ("protocol = \"h2\"", Protocol::H2, true),
        ("protocol = \"h2\"\ntls = true", Protocol::H2, true),
        ("protocol = \"h2c\"", Protocol::H2, false),
        ("protocol = \"h2c\"\ntls = false", Protocol::H2, false),
    ];
    for (keys, protocol, over_tls) in cases {
        let (read, tls) = read(keys);
        assert_eq!((read, tls.is_some()), (protocol, over_tls), "{keys}");
    }
}

#[test]
fn every_key_is_read_and_nothing_is_shown() {
    let authority = Authority::new();
    authority.sign("one", &["one"]);
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|file| authority.path(file));
    let keys = format!(
        "tls = true\nserver_name = \"one\"\nca = \"{ca}\"\n\
         [upstreams.app.client_certificate]\ncertificate = \"{certificate}\"\nkey = \"{key}\""
    );
    let (_, tls) = read(&keys);
    let tls = tls.expect("TLS");
    assert_eq!(tls.server_name.as_deref(), Some("one"));
    let contents = |path: &str| std::fs::read(path).expect("it is there");
    assert_eq!(tls.trust.ca.as_ref().map(Pem::expose), Some(contents(&ca).as_slice()));
    let client = tls.trust.client.as_ref().expect("a client certificate");
    assert_eq!(client.certificate.expose(), contents(&certificate));
    assert_eq!(client.key.expose(), contents(&key));
    let shown = format!("{tls:?}");
    assert!(
        !shown.contains("BEGIN") && !shown.contains(&format!("{:?}", contents(&key))),
        "{shown}"
    );
}

#[test]
fn files_that_do_not_fit_are_mistakes() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("one", &["one"]);
    other.sign("one", &["one"]);
    authority.write("empty.pem", "");
    let path = |file: &str| authority.path(file);
    let own = |certificate: &str, key: &str| {
        format!("client_certificate = {{ certificate = \"{certificate}\", key = \"{key}\" }}")
    };
    let cases = [
        (format!("ca = \"{}\"", path("empty.pem")), "no certificate"),
        (format!("ca = \"{}\"", path("one.key")), "no certificate"),
        (format!("ca = \"{}\"", path("nothing.pem")), "cannot read"),
        (own(&path("one.pem"), &other.path("one.key")), "not that of `certificate`"),
        (own(&path("one.pem"), &path("ca.pem")), "no private key"),
        (own(&path("one.key"), &path("one.key")), "no certificate"),
    ];
    for (keys, message) in cases {
        let problems = parse(&with(&format!("tls = true\n{keys}")), &[]).expect_err("a mistake");
        let printed = problems.to_string();
        assert!(printed.contains(message) && !printed.contains("MIG"), "{keys}: {printed}");
    }
}

#[test]
fn servers_have_weights_and_an_upstream_has_defaults() {
    let text = with("").replace(
        "[\"127.0.0.1:3000\"]",
        "[\"127.0.0.1:3000\", { address = \"unix:/run/app.sock\", weight = 100 }, { address = \"b:1\" }]",
    );
    let (config, _) = parse(&text, &[]).expect("a valid file");
    let upstream = &config.upstreams[0];
    let servers: Vec<_> =
        upstream.servers.iter().map(|server| (server.address.to_string(), server.weight)).collect();
    let expected = [("127.0.0.1:3000", 1), ("unix:/run/app.sock", 100), ("b:1", 1)];
    assert_eq!(servers, expected.map(|(address, weight)| (address.to_owned(), weight)));
    assert_eq!(upstream.balance, Balance::RoundRobin);
    assert_eq!((upstream.max_connections, upstream.retries, &upstream.health), (0, 2, &None));
    assert_eq!(upstream.ejection, Ejection { failures: 5, span: Duration::from_secs(10) });
}

#[test]
fn what_keeps_servers_available_is_read() {
    let keys = "balance = \"least-connections\"\nmax_connections = 7\nretries = 5\n\
                [upstreams.app.ejection]\nfailures = 0\nfor = \"1s\"\n[upstreams.app.health]\n";
    let read = |health: &str| {
        let (config, _) = parse(&with(&format!("{keys}{health}")), &[]).expect("a valid file");
        config.upstreams.into_iter().next().expect("one upstream")
    };
    let upstream = read("");
    assert_eq!(upstream.balance, Balance::LeastConnections);
    assert_eq!((upstream.max_connections, upstream.retries), (7, 5));
    assert_eq!(upstream.ejection, Ejection { failures: 0, span: Duration::from_secs(1) });
    let default = HealthCheck {
        path: None,
        host: None,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        status: None,
        unhealthy_after: 2,
        healthy_after: 1,
    };
    assert_eq!(upstream.health.as_ref(), Some(&default));
    let health = read("interval = \"200ms\"").health.expect("checks");
    assert_eq!(health.timeout, Duration::from_millis(200), "never longer than the interval");
    let all = "path = \"/up?x=1\"\nhost = \"a:1\"\ninterval = \"1m\"\ntimeout = \"30s\"\n\
               status = [204, \"3xx\"]\nunhealthy_after = 100\nhealthy_after = 9";
    let health = read(all).health.expect("checks");
    assert_eq!((health.path.as_deref(), health.host.as_deref()), (Some("/up?x=1"), Some("a:1")));
    assert_eq!(
        (health.interval, health.timeout),
        (Duration::from_secs(60), Duration::from_secs(30))
    );
    assert_eq!((health.unhealthy_after, health.healthy_after), (100, 9));
    let status = health.status.expect("statuses");
    assert_eq!([200, 204, 301, 404].map(|code| status.contain(code)), [false, true, true, false]);
}
