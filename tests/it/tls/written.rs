//! What `check` says of `[tls]`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use rcgen::date_time_ymd;
use sluicegate::config::{Config, Problem, Problems};
use sluicegate::identity::Source;
use sluicegate::identity::certificate::{ByCertificate, Name};

use super::scene::certificate;
use crate::support::certificates::Authority;
use crate::support::gateway::BINARY;

const REST: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
    [[routes]]\npath = \"/**\"\nupstream = \"app\"\n";

fn parse(text: &str) -> Result<(Config, Vec<Problem>), Problems> {
    Config::parse(&format!("{text}{REST}"), "gateway.toml", &|_| None, 0)
}

fn authority() -> Authority {
    let authority = Authority::new();
    authority.sign("one", &["one.example", "*.one.example"]);
    authority
}

fn with(keys: &str, shown: &str) -> String {
    format!("[tls]\nlisten = [\"127.0.0.1:8443\"]\n{keys}\n{shown}")
}

/// The only warning of this file: its message.
fn warning(text: &str) -> String {
    let (_, warnings) = parse(text).expect("a valid file");
    let messages: Vec<_> = warnings.iter().map(|warning| warning.message().to_owned()).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.concat()
}

/// The only mistake of this file: its message.
fn mistake(text: &str) -> String {
    let problems = parse(text).expect_err("an invalid file");
    let printed = problems.to_string();
    assert!(!printed.contains("MIG"), "{printed}");
    let messages: Vec<_> = problems.iter().map(|problem| problem.message().to_owned()).collect();
    assert_eq!(messages.len(), 1, "{printed}");
    messages.concat()
}

#[test]
fn without_the_section_nobody_speaks_tls() {
    let (config, _) = parse("").expect("a valid file");
    assert!(config.https.listen.is_empty() && config.https.pairs.is_empty());
    assert_eq!(config.https.redirected_to(), None);
}

#[test]
fn every_key_is_read_and_nothing_is_shown() {
    let authority = authority();
    let ca = authority.path("ca.pem");
    let keys = format!(
        "client_ca = \"{ca}\"\nclient_certificate = \"optional\"\nhsts = \"1d\"\nredirect = true\n"
    );
    let identity = "[identity.client_certificate]\nuser = \"san_uri\"\n";
    let text = with(&keys, &certificate(&authority, "one")) + identity;
    let (config, warnings) = parse(&text).expect("a valid file");
    assert!(warnings.is_empty(), "{warnings:?}");
    let https = &config.https;
    assert_eq!(https.listen, ["127.0.0.1:8443".parse().expect("an address")]);
    assert_eq!(https.pairs[0].names(), ["one.example", "*.one.example"]);
    assert!(https.clients.is_some() && !https.clients_required);
    assert_eq!(https.hsts, Some(Duration::from_secs(86_400)));
    assert_eq!(https.redirected_to(), Some(8443));
    let [Source::ClientCertificate(source)] = config.identity.identity.sources.as_slice() else {
        panic!("{:?}", config.identity)
    };
    assert_eq!(*source, ByCertificate { user: Name::SanUri });
    let shown = format!("{config:?}");
    assert!(!shown.contains("PRIVATE") && shown.contains("one.key"), "{shown}");
    let inline = certificate(&authority, "one").replace("[[tls.certificates]]\n", "");
    let inline = format!("certificates = [{{ {} }}]\n", inline.trim_end().replace('\n', ", "));
    let (config, _) = parse(&with(&inline, "[server]\nlisten = []\n")).expect("a valid file");
    assert!(config.server.listen.is_empty() && config.https.pairs.len() == 1);
    let required = format!("client_ca = \"{ca}\"\nredirect = true\nredirect_port = 443\n");
    let (config, _) =
        parse(&with(&required, &certificate(&authority, "one"))).expect("a valid file");
    assert!(config.https.clients_required);
    assert_eq!(config.https.redirected_to(), Some(443));
}

#[test]
fn what_clients_will_not_like_is_doubted() {
    let authority = authority();
    authority.sign_with("old", &["one"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    authority.sign_with("early", &["one"], |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
        params.not_after = date_time_ymd(3002, 1, 1);
    });
    authority.sign("nobody", &[]);
    for (name, said) in [
        ("old", "this certificate has expired"),
        ("early", "this certificate is not valid yet"),
        ("nobody", "this certificate names no host"),
    ] {
        let file = authority.path(&format!("{name}.pem"));
        let text = with("", &certificate(&authority, name));
        assert_eq!(warning(&text), format!("{said}: `{file}`"));
    }
    let key = authority.path("one.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("its own file");
    let text = with("", &certificate(&authority, "one"));
    assert_eq!(warning(&text), format!("everybody on this machine can read the key: `{key}`"));
    fs::set_permissions(&key, Permissions::from_mode(0o640)).expect("its own file");
    assert!(parse(&text).expect("a valid file").1.is_empty());
}

#[test]
fn check_prints_the_doubts_and_is_content() {
    let authority = authority();
    authority.sign_with("old", &["one"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    authority.write("gateway.toml", &(with("", &certificate(&authority, "old")) + REST));
    let mut check = Command::new(BINARY);
    let done = check.args(["check", "--config", &authority.path("gateway.toml")]).output();
    let done = done.expect("the binary runs");
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("warning: this certificate has expired: `"), "{said}");
    assert!(said.contains("help: clients refuse it: renew it"), "{said}");
}

#[test]
fn files_that_hold_something_else_are_mistakes() {
    let authority = authority();
    authority.sign("other", &["other"]);
    let own = Permissions::from_mode(0o600);
    fs::set_permissions(authority.path("one.pem"), own).expect("its own file");
    let [pem, key, other] = ["one.pem", "one.key", "other.key"].map(|file| authority.path(file));
    let pair = |certificate: &str, key: &str| {
        let pair =
            format!("[[tls.certificates]]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        mistake(&with("", &pair))
    };
    assert_eq!(pair(&key, &key), format!("no certificate in the file: `{key}`"));
    assert_eq!(pair(&pem, &pem), format!("no private key in the file: `{pem}`"));
    assert_eq!(pair(&pem, &other), format!("the key is not that of the certificate: `{other}`"));
    let damaged = authority.path("damaged.pem");
    authority
        .write("damaged.pem", "-----BEGIN CERTIFICATE-----\nMIGx\n-----END CERTIFICATE-----\n");
    let unusable = format!("the certificate and its key cannot be used: `{damaged}`");
    assert_eq!(pair(&damaged, &key), unusable);
    authority.write("damaged.pem", "-----BEGIN CERTIFICATE-----\nMIGx\n");
    let said = format!("a damaged certificate in the file: `{damaged}`");
    assert_eq!(pair(&damaged, &key), said);
    let ca = |file: &str| {
        mistake(&with(&format!("client_ca = \"{file}\""), &certificate(&authority, "one")))
    };
    assert_eq!(ca(&damaged), said);
    assert_eq!(ca(&key), format!("no certificate in the file: `{key}`"));
}
