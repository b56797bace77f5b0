//! Attacks by number: keys, labels and collisions without end. C-25 to C-28.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::iter::repeat_with;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

const CONNECTIONS: usize = 4;
/// What grows besides the keys, once the first requests have been served: the allocator's own.
const ELSE: u64 = 8 << 20;

/// A policy of `quota` for each address, believed from the tests' own.
fn by_address(quota: u32) -> String {
    format!(
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [policies.p]\nquota = {quota}\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n"
    )
}

/// A gateway by itself whose every answer is its own 404: nothing takes the paths of these tests.
fn alone(store: &str, config: &str) -> Gateway {
    let upstream = app_at(([127, 0, 0, 1], 9).into()).replace("/**", "/app");
    Gateway::start(&format!("[store]\nkind = \"local\"\n{store}\n{upstream}{config}"))
}

fn ask(caller: &mut Caller, client: Ipv4Addr) -> u16 {
    caller.get("/x", &format!("x-forwarded-for: {client}\r\n")).expect("the gateway answers")
}

/// Sends `count` requests over some connections, each made from its number.
fn flood(gateway: &Gateway, count: usize, request: impl Fn(usize) -> Vec<u8> + Sync) -> usize {
    let answered = AtomicUsize::new(0);
    scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (request, answered) = (&request, &answered);
            scope.spawn(move || {
                let mut caller = Caller::new(gateway.public());
                for number in (connection..count).step_by(CONNECTIONS) {
                    let answer = caller.send(&request(number));
                    answered.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    answered.into_inner()
}

#[test]
fn c25_keys_in_redis_are_small_and_end_and_a_full_one_fails_nobody() {
    const IDS: usize = 2_000;
    const BYTES_MAX: u64 = 120;
    let (redis, app) = (RedisServer::start(), App::start());
    redis.reserve_admin();
    let config = format!("{}{}", app_at(app.address()), by_address(5))
        .replace("\"1h\"", "\"1h\"\nalgorithm = \"token-bucket\"");
    let gateway = Gateway::with_redis(&redis, "timeout = \"2s\"", &config);
    let from = |number: usize| {
        let client = Ipv4Addr::from(0x0b00_0000 + number as u32);
        format!("GET /x HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {client}\r\n\r\n").into_bytes()
    };
    assert_eq!(flood(&gateway, IDS, from), IDS);
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    assert!(keys.len() >= IDS, "{} keys", keys.len());
    let mut bytes = 0;
    for key in &keys {
        let left: i64 = redis.command(&["PTTL", key]);
        assert!(left > 0, "{key} lives for ever");
        if key.ends_with(":p:t") {
            assert!(left <= 2 * 3_600_000, "{key} lives {left} ms for a window of an hour");
            let size: u64 = redis.command(&["MEMORY", "USAGE", key]);
            assert!(size <= BYTES_MAX, "{key} takes {size} bytes");
            bytes += size;
        }
    }
    println!("C-25: {IDS} clients, {} bytes a key", bytes / IDS as u64);

    redis.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut caller = Caller::new(gateway.public());
    let statuses: Vec<u16> =
        repeat_with(|| ask(&mut caller, Ipv4Addr::new(12, 0, 0, 1))).take(7).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429], "decided without Redis");
    let refused = gateway.metric("sluicegate_store_errors_total", &["error-reply"]);
    assert!(refused > 0.0, "Redis has refused");
}

#[test]
fn c26_the_local_table_is_bounded_and_frees_no_limited_client() {
    const MEMORY: u64 = 1 << 20;
    const KEYS: u32 = 12_000;
    /// A slot takes so many bytes at most.
    const SLOT: u64 = 512;
    let limited = Ipv4Addr::new(203, 0, 113, 7);
    let gateway = alone(&format!("local_memory = \"{}KiB\"", MEMORY >> 10), &by_address(2));
    let mut caller = Caller::new(gateway.public());
    let mut fresh = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            assert_eq!(ask(&mut caller, Ipv4Addr::from(0x0b00_0000 + number)), 404, "admitted");
        }
    };
    fresh(0..1_000);
    let mut other = Caller::new(gateway.public());
    assert_eq!([(); 3].map(|()| ask(&mut other, limited)), [404, 404, 429]);
    let before = gateway.resident();
    fresh(1_000..KEYS);
    assert_eq!(ask(&mut Caller::new(gateway.public()), limited), 429, "freed by a spray");
    let (held, grown) = (
        gateway.metric("sluicegate_local_entries", &[]),
        gateway.resident().saturating_sub(before),
    );
    println!("C-26: {KEYS} clients, {held} states held, grown by {grown} bytes");
    assert!(held * 2.0 > (MEMORY / SLOT) as f64, "{held} states: the table is not in use");
    assert!(held <= (MEMORY / SLOT) as f64, "{held} states in {MEMORY} bytes");
    assert!(grown <= MEMORY + ELSE, "grown by {grown} bytes");
}

/// Each series, without its value.
fn series(gateway: &Gateway) -> BTreeSet<String> {
    let text = gateway.metrics();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

/// A request of nobody in particular: method, path, host, user and headers are all random.
fn random_request() -> Vec<u8> {
    let word = |most: usize| -> String {
        repeat_with(fastrand::alphanumeric).take(fastrand::usize(1..most)).collect()
    };
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "PROPFIND"];
    let known = methods[fastrand::usize(..methods.len())].to_owned();
    let method = if fastrand::bool() { word(12).to_ascii_uppercase() } else { known };
    // Their answers end elsewhere.
    let method = if matches!(&*method, "HEAD" | "CONNECT") { "GET".to_owned() } else { method };
    let (path, host, user) = (word(60), word(20), word(20));
    format!(
        "{method} /{path}/{}?{}={} HTTP/1.1\r\nhost: {host}.example\r\nx-user-id: {user}\r\n\
         x-forwarded-for: {}\r\nuser-agent: {}\r\nx-{}: 1\r\ncontent-length: 0\r\n\
         cookie: sid={}\r\n\r\n",
        word(9),
        word(5),
        word(9),
        Ipv4Addr::from(fastrand::u32(0x0b00_0000..0xdf00_0000)),
        word(40),
        word(9),
        word(30),
    )
    .into_bytes()
}

#[test]
fn c27_no_request_makes_a_series_and_memory_stays_flat() {
    let requests = if std::env::var_os("SLUICEGATE_SOAK").is_some() { 1_000_000 } else { 20_000 };
    let identity = "[identity.header]\nuser = \"x-user-id\"\n";
    let words = "partition = [\"ip\", \"user\", \"path\", \"method\", \"host\", \"cookie:sid\"]";
    let config = by_address(1_000).replace("window", &format!("{words}\nwindow"));
    let gateway = alone("local_memory = \"1MiB\"", &format!("{identity}{config}"));
    // The first ones bring the series of what answers there are, and what is allocated once.
    let first = requests / 4;
    let answered = flood(&gateway, first, |_| random_request());
    let (before, resident) = (series(&gateway), gateway.resident());
    assert!(before.len() > 40, "{before:?}");
    let answered = answered + flood(&gateway, requests - first, |_| random_request());
    let (after, grown) = (series(&gateway), gateway.resident().saturating_sub(resident));
    let count = after.len();
    println!("C-27: {requests} requests, {count} series, grown by {grown} bytes of {resident}");
    assert!(answered * 100 >= requests * 99, "{answered} of {requests} answered");
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(grown <= ELSE, "grown by {grown} bytes");
}

/// Addresses whose keys fall together where a hash has no secret.
fn colliding(name: &str, hash: impl Fn(&str) -> u64) -> Vec<Ipv4Addr> {
    const SETS: u64 = 256;
    const WANTED: usize = 100;
    let addresses = (0x0b00_0000_u32..).map(Ipv4Addr::from);
    let fall = |address: &Ipv4Addr| hash(&format!("sg:{{{address}}}:p:s")).is_multiple_of(SETS);
    let found: Vec<Ipv4Addr> = addresses.filter(fall).take(WANTED).collect();
    assert_eq!(found.len(), WANTED, "{name}");
    found
}

/// A table whose hash can be foreseen gives the quotas of a set back to whoever aims at it.
#[test]
fn c28_nobody_aims_at_a_place_in_a_table() {
    let sip = |key: &str| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    };
    let fnv = |key: &str| {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        key.bytes().fold(0xcbf2_9ce4_8422_2325, step)
    };
    for (name, crafted) in [("SipHash", colliding("SipHash", sip)), ("FNV", colliding("FNV", fnv))]
    {
        let gateway = alone("local_memory = \"1MiB\"", &by_address(1));
        let mut caller = Caller::new(gateway.public());
        let admitted = crafted.iter().filter(|client| ask(&mut caller, **client) == 404).count();
        assert_eq!(admitted, crafted.len(), "{name}");
        let limited = crafted.iter().filter(|client| ask(&mut caller, **client) == 429).count();
        assert_eq!(limited, crafted.len(), "{name}: places were aimed at");
    }
}
