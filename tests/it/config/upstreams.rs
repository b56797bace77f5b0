//! TLS to upstreams: what is read from the files that it names, and what is said of them.

use sluicegate::config::{Config, Pem, Protocol, UpstreamTls};

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
