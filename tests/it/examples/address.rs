//! Limits by address: the federated social server and the story site.

use reqwest::Method;

use super::tokens::{claims, signed};
use super::{ADDRESSES, Example, Person, SECRET};
use crate::support::certificates::Authority;
use crate::support::redis::{RedisServer, free_port, wait_until};

#[test]
fn a_federated_social_server() {
    let example = Example::start("federated-social-server", &[]);
    for address in ADDRESSES {
        let somebody = Person::at(address);
        let refusal = example.drive(&somebody, &Method::GET, "/users/ann", 100);
        assert_eq!(refusal.headers()["ratelimit-policy"], "\"actors\";q=100;w=3600");
        // Another actor is no way around it, and the outboxes have a count of their own.
        assert_eq!(example.ask(&somebody, &Method::GET, "/users/ben").status(), 429);
        example.drive(&somebody, &Method::GET, "/users/ann/outbox", 50);
        assert_eq!(example.ask(&somebody, &Method::GET, "/users/ben/outbox?page=2").status(), 429);
        for _ in 0..110 {
            assert_eq!(example.ask(&somebody, &Method::GET, "/health").status(), 200);
        }
        let inbox = example.ask(&somebody, &Method::POST, "/users/ann/inbox");
        assert_eq!(inbox.status(), 200, "deliveries are not limited");
    }
    let keys: Vec<String> = example.redis.command(&["KEYS", "sg:*:s"]);
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let left: i64 = example.redis.command(&["TTL", &key]);
        assert!((1..=3_700).contains(&left), "{key} expires by itself: {left}");
    }
    assert_eq!(example.gateway.readiness()["store"]["state"], "up");
}

/// A Redis that wants TLS and a password, its URL, and who has signed its certificate.
pub(crate) fn redis_of_the_story_site() -> (RedisServer, String, Authority) {
    let authority = Authority::new();
    authority.sign("redis", &["127.0.0.1"]);
    let port = free_port().to_string();
    let [ca, certificate, key] =
        ["ca.pem", "redis.pem", "redis.key"].map(|file| authority.path(file));
    let redis = RedisServer::start_with(&[
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
    ]);
    redis.reserve_admin();
    redis.command::<()>(&["CONFIG", "SET", "requirepass", "hunter2"]);
    (redis, format!("rediss://:hunter2@127.0.0.1:{port}"), authority)
}

fn story_site(switch: &str) -> Example {
    let (redis, url, authority) = redis_of_the_story_site();
    let ca = authority.path("ca.pem");
    let variables = [
        ("PROXY", "127.0.0.0/8"),
        ("SESSION_SECRET", SECRET),
        ("REDIS_CA", ca.as_str()),
        ("SWITCH_FILE", switch),
        ("VIEWS_TOKEN", "a-token-of-the-tests"),
    ];
    Example::beside("story-site", redis, &url, &variables)
}

#[test]
fn a_story_site() {
    let switch = std::env::temp_dir().join(format!("sluicegate-story-{}", std::process::id()));
    let mut example = story_site(&switch.display().to_string());
    let reader = |address: &str, name: Option<&str>| {
        let reader = Person::at(ADDRESSES[0]).with("x-forwarded-for", address);
        match name {
            Some(name) => reader.with("cookie", format!("a=b; session={}", signed(&claims(name)))),
            None => reader,
        }
    };
    for address in ["192.0.2.1", "192.0.2.2"] {
        let somebody = reader(address, None);
        let refusal = example.drive(&somebody, &Method::GET, "/api/stories/1", 100);
        let policies = refusal.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
        assert!(policies.contains("\"page\";q=100;w=60"), "{policies}");
        // Fresh pages are no way around: the address has 600 in all.
        for page in 100..600 {
            let path = format!("/api/stories/{page}");
            assert_eq!(example.ask(&somebody, &Method::GET, &path).status(), 200, "{page}");
        }
        let refusal = example.ask(&somebody, &Method::GET, "/api/stories/600");
        assert_eq!(refusal.status(), 429);
        assert!(refusal.text().unwrap().contains("[\"address\"]"));
    }
    // A reader has a limit of its own over all pages, wherever the reader is.
    for name in ["ann", "ben"] {
        for (page, address) in ["192.0.2.3", "192.0.2.4", "192.0.2.5"].into_iter().enumerate() {
            let person = reader(address, Some(name));
            for _ in 0..100 {
                let path = format!("/api/stories/{name}/{page}");
                assert_eq!(example.ask(&person, &Method::GET, &path).status(), 200);
            }
        }
        let person = reader("192.0.2.6", Some(name));
        let refusal = example.ask(&person, &Method::GET, "/api/other");
        assert_eq!(refusal.status(), 429);
        assert!(refusal.headers()["ratelimit"].to_str().unwrap().contains("\"reader\";r=0"));
    }
    // The switch, and back.
    let limited = reader("192.0.2.1", None);
    std::fs::write(&switch, "off").expect("the switch");
    wait_until("limits to be off", || example.gateway.readiness()["limits"] == "off");
    assert_eq!(example.ask(&limited, &Method::GET, "/api/stories/1").status(), 200);
    std::fs::remove_file(&switch).expect("the switch");
    wait_until("limits to be back", || example.gateway.readiness()["limits"] == "enforce");
    assert_eq!(example.ask(&limited, &Method::GET, "/api/stories/1").status(), 429);
    // Without Redis it goes on from what it knew, and limits whom it did not know.
    example.redis.kill();
    example.gateway.wait_for_store("away");
    assert_eq!(example.ask(&limited, &Method::GET, "/api/stories/1").status(), 429);
    example.drive(&reader("192.0.2.9", None), &Method::GET, "/api/stories/1", 100);
}
