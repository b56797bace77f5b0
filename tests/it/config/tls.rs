//! `[store.tls]`: what is read from the files that it names, and what is said of them.

use std::fs;

use sluicegate::config::{Config, Pem};

use super::parse;
use crate::support::certificates::Authority;

/// The least that a file must say, and `tls` in its `[store.tls]`.
fn with(tls: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n\
         [store]\nurl = \"rediss://10.0.0.1\"\n[store.tls]\n{tls}"
    )
}

fn read(tls: &str) -> Config {
    let (config, warnings) = parse(&with(tls), &[]).expect("a valid file");
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

/// The only problem with `tls`: its message.
fn mistake(tls: &str) -> String {
    let problems = parse(&with(tls), &[]).expect_err("an invalid file");
    let printed = problems.to_string();
    assert!(!printed.contains("BEGIN EC") && !printed.contains("MIG"), "{printed}");
    let messages: Vec<_> = problems.iter().map(|problem| problem.message().to_owned()).collect();
    assert_eq!(messages.len(), 1, "{printed}");
    messages.concat()
}

/// An authority that has signed `one` and `other`.
fn authority() -> Authority {
    let authority = Authority::new();
    authority.sign("one", &["one"]);
    authority.sign("other", &["other"]);
    authority
}

#[test]
fn without_the_section_the_system_is_believed() {
    let config = read("");
    assert_eq!((config.store.tls.ca, config.store.tls.client), (None, None));
}

#[test]
fn every_key_is_read_and_nothing_is_shown() {
    let authority = authority();
    let contents = |file: &str| fs::read(authority.path(file)).expect("it is there");
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|file| authority.path(file));
    let config =
        read(&format!("ca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"));
    let tls = &config.store.tls;
    assert_eq!(tls.ca.as_ref().map(Pem::expose), Some(contents("ca.pem").as_slice()));
    let client = tls.client.as_ref().expect("a client certificate");
    assert_eq!(client.certificate.expose(), contents("one.pem"));
    assert_eq!(client.key.expose(), contents("one.key"));
    let shown = format!("{config:?}");
    assert!(shown.contains("key: Pem(***)") && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn an_authority_may_be_a_bundle() {
    let (one, other) = (Authority::new(), Authority::new());
    let both = [&one, &other]
        .map(|authority| fs::read_to_string(authority.path("ca.pem")).expect("it is there"));
    one.write("bundle.pem", &both.concat());
    let config = read(&format!("ca = \"{}\"", one.path("bundle.pem")));
    assert!(config.store.tls.ca.is_some());
}

#[test]
fn files_that_hold_something_else_are_mistakes() {
    let authority = authority();
    let [certificate, key, other_key] =
        ["one.pem", "one.key", "other.key"].map(|file| authority.path(file));
    let pair = |certificate: &str, key: &str| {
        mistake(&format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n"))
    };
    assert_eq!(mistake(&format!("ca = \"{key}\"")), format!("no certificate in `{key}`"));
    assert_eq!(pair(&certificate, &certificate), format!("no private key in `{certificate}`"));
    assert_eq!(pair(&certificate, &other_key), "the key is not that of `certificate`");
    let damaged = authority.path("damaged.pem");
    authority.write("damaged.pem", "-----BEGIN CERTIFICATE-----\nMIGx\n");
    assert_eq!(
        mistake(&format!("ca = \"{damaged}\"")),
        format!("a damaged certificate in `{damaged}`")
    );
    let text = "-----BEGIN CERTIFICATE-----\nMIGx\n-----END CERTIFICATE-----\n";
    authority.write("damaged.pem", text);
    let wrong = format!("an unusable certificate in `{damaged}`");
    assert_eq!(mistake(&format!("ca = \"{damaged}\"")), wrong);
    assert_eq!(pair(&damaged, &key), "`certificate` and its key cannot be used");
}

#[test]
fn an_empty_file_and_a_large_one_are_mistakes() {
    let authority = Authority::new();
    let file = authority.path("file.pem");
    authority.write("file.pem", "");
    assert_eq!(mistake(&format!("ca = \"{file}\"")), format!("no certificate in `{file}`"));
    authority.write("file.pem", &"\n".repeat((1 << 20) + 1));
    assert_eq!(mistake(&format!("ca = \"{file}\"")), format!("not a PEM file: `{file}`"));
    // Opened, it would never end.
    assert_eq!(mistake("ca = \"/dev/zero\""), "not a PEM file: `/dev/zero`");
}
