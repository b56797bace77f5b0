//! TLS to Redis: who is believed, and what is told when nobody is.

use super::{decided, gateway, redis_decides};
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::redis::{RedisServer, free_port};

/// A Redis with TLS beside its plain port, and the authority that vouches for it.
struct Encrypted {
    authority: Authority,
    url: String,
    _redis: RedisServer,
}

impl Encrypted {
    /// Its certificate is for `host`; `clients` is whether it asks them for one: `yes` or `no`.
    fn start(host: &str, clients: &str) -> Self {
        let authority = Authority::new();
        authority.sign("redis", &[host]);
        let port = free_port().to_string();
        let [ca, certificate, key] =
            ["ca.pem", "redis.pem", "redis.key"].map(|file| authority.path(file));
        let files = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate];
        let others = ["--tls-key-file", &key, "--tls-port", &port, "--tls-auth-clients", clients];
        let redis = RedisServer::start_with(&[files.as_slice(), &others].concat());
        Self { authority, url: format!("rediss://127.0.0.1:{port}"), _redis: redis }
    }

    /// `[store.tls]` with this authority, and further keys.
    fn tls(&self, more: &str) -> String {
        format!("[store.tls]\nca = \"{}\"\n{more}", self.authority.path("ca.pem"))
    }
}

/// The gateway limits by itself, and its log says all of `told`.
fn refused(url: &str, store: &str, told: &[&str]) {
    let app = App::start();
    let gateway = gateway(&app, url, store);
    gateway.wait_for_store("away");
    assert_eq!(decided(&gateway, "local"), 3.0);
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("redis is away")).expect("one line");
    for words in told {
        assert!(line.contains(words), "`{words}` is missing: {line}");
    }
    assert!(!log.contains("hunter2") && !log.contains("PRIVATE KEY"), "{log}");
}

#[test]
fn an_authority_of_ones_own_is_believed() {
    let redis = Encrypted::start("127.0.0.1", "no");
    redis_decides(&format!("{}/1", redis.url), &redis.tls(""));
}

#[test]
fn no_other_authority_is_believed() {
    let redis = Encrypted::start("127.0.0.1", "no");
    let url = redis.url.replace("rediss://", "rediss://user:hunter2@");
    let told = ["not from an authority that is trusted", "`ca` in `[store.tls]`"];
    // Those of the system do not know it either.
    refused(&url, "", &told);
    let other = Authority::new();
    refused(&url, &format!("[store.tls]\nca = \"{}\"\n", other.path("ca.pem")), &told);
}

#[test]
fn a_certificate_for_another_host_is_not_believed() {
    let redis = Encrypted::start("redis.example.org", "no");
    refused(&redis.url, &redis.tls(""), &["for another host than that in `store.url`"]);
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let redis = Encrypted::start("127.0.0.1", "yes");
    redis.authority.sign("gateway", &[]);
    let [certificate, key] = ["gateway.pem", "gateway.key"].map(|file| redis.authority.path(file));
    let own = format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n");
    redis_decides(&redis.url, &redis.tls(&own));
    refused(&redis.url, &redis.tls(""), &["wants a client certificate", "`[store.tls]`"]);
}

#[test]
fn a_client_certificate_of_another_authority_is_refused() {
    let redis = Encrypted::start("127.0.0.1", "yes");
    let other = Authority::new();
    other.sign("gateway", &[]);
    let [certificate, key] = ["gateway.pem", "gateway.key"].map(|file| other.path(file));
    let own = format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n");
    refused(&redis.url, &redis.tls(&own), &["refuses TLS with this gateway", "`certificate`"]);
}

/// What it says depends on the handshake's random bytes: with a line feed among them Redis answers
/// as to a command, else it waits for one.
#[test]
fn a_port_without_tls_leaves_the_gateway_limiting() {
    let redis = RedisServer::start();
    let url = redis.url().replace("redis://", "rediss://");
    refused(&url, "", &[]);
}
