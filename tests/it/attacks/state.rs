//! Attacks on what is counted, and on whose account: C-21 to C-24, and C-29 to C-33.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::identity::scene::{Folder, ask, bearer, claims, head, serves, serves_nobody};
use crate::identity::token::{Signer, unsigned};
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Caller, Sample, largest_count};
use crate::support::redis::RedisServer;

/// Generous: on a busy machine a slow answer would be a decision without Redis.
const TIMEOUT: &str = "timeout = \"2s\"";
/// Slots of a Redis cluster, and the parts of them that are compared.
const SLOTS: u16 = 16_384;
const PARTS: usize = 16;

fn gateway(redis: &RedisServer, app: &App, store: &str, config: &str) -> Gateway {
    let config = format!("{}{config}", app_at(app.address()));
    Gateway::with_redis(redis, &format!("{TIMEOUT}\n{store}"), &config)
}

fn keys(redis: &RedisServer, pattern: &str) -> Vec<String> {
    redis.command(&["KEYS", pattern])
}

/// Asks on so many connections at once until `enough` requests have passed.
fn hammer(gateways: &[&Gateway], connections: usize, enough: usize) -> Vec<Sample> {
    let passed = AtomicUsize::new(0);
    let one = |number: usize| {
        let mut caller = Caller::new(gateways[number % gateways.len()].public());
        let mut samples = Vec::new();
        while passed.load(Ordering::Relaxed) < enough {
            let sent = Instant::now();
            let status = caller.get("/", "").map_err(|error| error.kind());
            let sample = Sample { target: number, sent, received: Instant::now(), status };
            passed.fetch_add(usize::from(sample.admitted()), Ordering::Relaxed);
            samples.push(sample);
        }
        samples
    };
    scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    })
}

/// The largest certain count of a window over all that was asked.
fn most(samples: &[Sample], window: Duration) -> usize {
    let from = samples.iter().map(|sample| sample.sent).min().expect("a sample");
    let to = samples.iter().map(|sample| sample.received).max().expect("a sample");
    largest_count(samples.iter(), window, (from, to)).expect("it took longer than a window")
}

#[test]
fn c21_made_up_identities_stay_under_the_limit_of_their_address() {
    let (redis, app) = (RedisServer::start(), App::start());
    let policy = |name: &str, quota: u32, word: &str| {
        format!("[policies.{name}]\nquota = {quota}\nwindow = \"1h\"\npartition = [\"{word}\"]\n")
    };
    let config = [
        policy("address", 5, "ip"),
        policy("key", 100, "header:x-api-key"),
        policy("cookie", 100, "cookie:sid"),
        policy("user", 100, "user"),
        "[[rules]]\npath = \"/**\"\npolicies = [\"address\", \"key\", \"cookie\", \"user\"]\n"
            .into(),
    ]
    .concat();
    let gateway = gateway(&redis, &app, "", &config);
    let passed = (0..60).filter(|number| {
        let lines = format!(
            "x-api-key: k{number}\r\ncookie: sid=s{number}\r\nx-user-id: u{number}\r\n\
             authorization: Bearer t{number}\r\n"
        );
        ask(&gateway, "/", &lines).status() == 200
    });
    assert_eq!(passed.count(), 5, "a fresh identity is no fresh quota");
    assert_eq!(app.seen().len(), 5);
}

#[test]
fn c22_forged_tokens_make_nobody_a_user() {
    let (redis, app, folder) = (RedisServer::start(), App::start(), Folder::new());
    let rsa = Signer::rsa(Algorithm::RS256);
    let pem = folder.write("rsa.pem", rsa.public());
    let identity = format!("[identity.jwt]\nalgorithms = [\"RS256\"]\nkey_file = \"{pem}\"\n");
    let gateway = crate::identity::scene::gateway(&redis, &app, &identity);
    let none = |algorithm: &str, signature: &str| {
        let head = json!({"alg": algorithm, "typ": "JWT"});
        format!("{}.{signature}", unsigned(&head, &claims("victim")))
    };
    let with = |secret: &[u8], kid: Option<&str>| {
        let signer = Signer::secret(Algorithm::HS256, secret);
        signer.token(&head(&signer, kid), &claims("victim"))
    };
    let forgeries = [
        ("alg none", none("none", "")),
        ("alg NONE, with a signature", none("NONE", "AAAA")),
        ("no signature", none("RS256", "")),
        ("the public key as a secret", with(rsa.public().as_bytes(), None)),
        ("the public key, trimmed", with(rsa.public().trim_end().as_bytes(), None)),
        ("a kid that is an empty file", with(b"", Some("../../../../../../dev/null"))),
        ("a kid that is the key's file", with(rsa.public().as_bytes(), Some(&pem))),
        ("another key", {
            let own = Signer::es256();
            own.token(&head(&own, None), &claims("victim"))
        }),
    ];
    for (name, token) in forgeries {
        println!("{name}");
        serves_nobody(&gateway, &app, "/", &bearer(&token));
    }
    let right = bearer(&rsa.token(&head(&rsa, None), &claims("ada")));
    serves(&gateway, &app, "/", &right, ("ada", ""));
}

#[test]
fn c23_no_id_is_cut_short_and_none_breaks_anything() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = "[policies.one]\nquota = 1\nwindow = \"1h\"\npartition = [\"header:x-id\"]\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"one\"]\n";
    // Nothing takes the path: who is admitted is answered with 404, whatever an application reads.
    let nowhere = app_at(app.address()).replace("/**", "/app");
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &format!("{nowhere}{config}"));
    let long = vec![b'a'; 8 << 10];
    let ids: Vec<Vec<u8>> = vec![
        b"a\0b".to_vec(),
        b"a\rb".to_vec(),
        b"c\nx-evil: b".to_vec(),
        b"a\x01b".to_vec(),
        b"a\x7fb".to_vec(),
        b"a\xffb".to_vec(),
        b"a\xfeb".to_vec(),
        b"a".to_vec(),
        [&long[..], b"1"].concat(),
        [&long[..], b"2"].concat(),
        [&long[..200], b"1"].concat(),
        [&long[..200], b"2"].concat(),
        [&long[..255], b"1"].concat(),
        [&long[..255], b"2"].concat(),
    ];
    let send = |id: &[u8]| {
        let start = b"GET / HTTP/1.1\r\nhost: a\r\nx-id: ";
        let request = [start, id, b"\r\n\r\n"].concat();
        Caller::new(gateway.public()).send(&request).expect("an answer")
    };
    let first: Vec<u16> = ids.iter().map(|id| send(id)).collect();
    let again: Vec<u16> = ids.iter().map(|id| send(id)).collect();
    for ((id, first), again) in ids.iter().zip(&first).zip(&again) {
        let shown = String::from_utf8_lossy(&id[id.len().saturating_sub(4)..]).into_owned();
        // Taken, with a quota of its own; or refused as no request.
        let fits = matches!((first, again), (404, 429) | (400 | 431, 400 | 431));
        assert!(fits, "{shown:?} of {} bytes: {first}, then {again}", id.len());
    }
    for (id, status) in ids.iter().zip(&first).filter(|(id, _)| id.len() > 100 && id.len() < 300) {
        assert_eq!(*status, 404, "an id of {} bytes is one like others", id.len());
    }
    for short in [0, 1, 3] {
        assert_eq!(first[short], 400, "{:?}", ids[short]);
    }
    assert_eq!(gateway.metric("sluicegate_panics_total", &[]), 0.0);
}

/// The slot of a key, as Redis Cluster has it: CRC-16 of what stands in the first braces.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let tag = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[test]
fn c24_nobody_writes_into_a_key_or_chooses_its_slot() {
    const IDS: usize = 10_000;
    const CONNECTIONS: usize = 8;
    assert_eq!(slot("123456789"), 0x31c3 % SLOTS, "the check value of this CRC");
    let (redis, app) = (RedisServer::start(), App::start());
    let config = "[policies.p]\nquota = 5\nwindow = \"1h\"\npartition = [\"header:x-id\"]\n\
                  [[rules]]\npath = \"/x\"\npolicies = [\"p\"]\n\
                  [policies.gone]\nquota = 1\nwindow = \"1h\"\npartition = []\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"gone\"]\nmethods = [\"POST\"]\n";
    let gateway = gateway(&redis, &app, "", config);
    for id in ["}:p:s", "a:b", "a b", "{x}{y}", "{}", "*", "\t$5", "a%0d%0aFLUSHALL%0d%0a"] {
        assert_eq!(ask(&gateway, "/x", &format!("x-id: {id}\r\n")).status(), 200, "{id}");
    }
    scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut caller = Caller::new(gateway.public());
            scope.spawn(move || {
                for number in (connection..IDS).step_by(CONNECTIONS) {
                    let id = format!("x-id: {{x}}{number}\r\n");
                    assert_eq!(caller.get("/x", &id).expect("an answer"), 200);
                }
            });
        }
    });
    let keys = keys(&redis, "sg:{*}:p:s");
    assert_eq!(keys.len(), IDS + 8, "each id has a key");
    for key in &keys {
        let tag = key.strip_prefix("sg:{").and_then(|rest| rest.strip_suffix("}:p:s"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        assert!(tag.is_some_and(|tag| tag.len() == 22 && tag.bytes().all(plain)), "{key:?}");
    }
    let mut parts = [0_usize; PARTS];
    for key in &keys {
        parts[usize::from(slot(key)) * PARTS / usize::from(SLOTS)] += 1;
    }
    let even = keys.len() / PARTS;
    assert!(parts.iter().all(|&part| part.abs_diff(even) * 5 <= even), "{parts:?}, evenly {even}");
}

#[test]
fn c29_no_window_admits_more_wherever_it_begins() {
    const QUOTA: usize = 20;
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "[policies.p]\nquota = {QUOTA}\nwindow = \"1s\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n"
    );
    let two = [(); 2].map(|()| gateway(&redis, &app, "", &config));
    let samples = hammer(&[&two[0], &two[1]], 4, 3 * QUOTA);
    let most = most(&samples, Duration::from_secs(1));
    println!("{} requests at two gateways, at most {most} in a second", samples.len());
    assert!(most <= QUOTA, "{most} in a window");
}

#[test]
fn c30_a_herd_that_comes_back_together_gets_no_more() {
    const QUOTA: usize = 5;
    const HERD: usize = 16;
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "[policies.p]\nquota = {QUOTA}\nwindow = \"2s\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n"
    );
    let gateway = gateway(&redis, &app, "", &config);
    let mut samples = hammer(&[&gateway], HERD, QUOTA);
    let denied = ask(&gateway, "/", "");
    assert_eq!(denied.status(), 429);
    let wait: u64 =
        denied.field("retry-after").expect("it is told").parse().expect("whole seconds");
    assert!((1..=3).contains(&wait), "{wait} seconds for a window of two");
    sleep(Duration::from_secs(wait));
    let herd = hammer(&[&gateway], HERD, QUOTA);
    let first = herd.iter().filter(|sample| sample.admitted()).map(|sample| sample.sent).min();
    let asked = herd.iter().filter(|sample| Some(sample.received) < first).count();
    assert_eq!(asked, 0, "who waits as long as told is not sent away again");
    samples.extend(herd);
    let most = most(&samples, Duration::from_secs(2));
    assert!(most <= QUOTA, "{most} in a window");
}

#[test]
fn c31_denials_are_free() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = "[policies.p]\nquota = 3\nwindow = \"1h\"\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
    // Without the memory of denials each of them asks Redis.
    let gateway = gateway(&redis, &app, "deny_cache = \"0s\"", config);
    let mut caller = Caller::new(gateway.public());
    let mut ask = || caller.get("/", "").expect("an answer");
    assert_eq!([ask(), ask(), ask()], [200; 3]);
    let state = || -> Vec<u8> { redis.command(&["GET", "sg:{127.0.0.1}:p:s"]) };
    let expires = || -> i64 { redis.command(&["PEXPIRETIME", "sg:{127.0.0.1}:p:s"]) };
    let (before, end) = (state(), expires());
    for _ in 0..100 {
        assert_eq!(ask(), 429);
    }
    assert_eq!((state(), expires()), (before, end), "a denial leaves no trace");
}

#[test]
fn c32_what_one_policy_denies_no_other_charges() {
    for deny_cache in ["0s", "1s"] {
        let (redis, app) = (RedisServer::start(), App::start());
        let config = "[policies.few]\nquota = 3\nwindow = \"1h\"\n\
                      [policies.many]\nquota = 10\nwindow = \"1h\"\n\
                      [[rules]]\npath = \"/both\"\npolicies = [\"few\"]\n\
                      [[rules]]\npath = \"/**\"\npolicies = [\"many\"]\n";
        let gateway = gateway(&redis, &app, &format!("deny_cache = \"{deny_cache}\""), config);
        let statuses: Vec<u16> = (0..8).map(|_| ask(&gateway, "/both", "").status()).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429]);
        let left = ask(&gateway, "/one", "").remaining();
        assert_eq!(left, 10 - 3 - 1, "with deny_cache = {deny_cache}");
    }
}

#[test]
fn c33_fields_speak_of_nobody_else_and_can_be_left_out() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
                  [policies.p]\nquota = 5\nwindow = \"1h\"\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
    let gateway = gateway(&redis, &app, "", config);
    let from = |address: &str, more: &str| {
        ask(&gateway, "/", &format!("x-forwarded-for: {address}\r\n{more}"))
    };
    for left in [4, 3, 2] {
        assert_eq!(from("203.0.113.7", "").remaining(), left);
    }
    let claims =
        "x-user-id: 203.0.113.7\r\nx-real-ip: 203.0.113.7\r\nforwarded: for=203.0.113.7\r\n";
    let other = from("203.0.113.8", claims);
    assert_eq!(other.remaining(), 4, "of the one who asks");
    let named: BTreeSet<&str> = other.0.lines().filter(|line| line.contains("203.0.113")).collect();
    assert!(named.is_empty(), "no key and no address in an answer: {named:?}");

    let off = "[response]\nratelimit = false\nx_ratelimit = false\nretry_after = false\n";
    let quiet = self::gateway(&redis, &app, "key_prefix = \"quiet\"", &format!("{config}{off}"));
    let statuses = [(); 7].map(|()| {
        let answer = ask(&quiet, "/", "x-forwarded-for: 203.0.113.7\r\n");
        let tells = ["ratelimit", "retry-after"].iter().any(|word| answer.0.contains(word));
        assert!(!tells, "{}", answer.0);
        answer.status()
    });
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
}
