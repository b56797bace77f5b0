//! A long outage: nothing fails, nothing grows, and it costs no time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::tell;
use crate::support::app::App;
use crate::support::fault_proxy::{Behaviour, FaultProxy};
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Load, Sample, Target};
use crate::support::redis::RedisServer;

const LASTS: Duration = Duration::from_secs(300);
/// Allocators and pools take what they need within it.
const WARM_UP: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const THREADS: usize = 4;
/// Four hundred a second in all, by turns to both gateways.
const EVERY: Duration = Duration::from_millis(10);
const LOG_LINES_MAX: usize = 100;
const GROWTH_MAX: f64 = 1.1;
/// Of the longest waits: `store.timeout` and scheduling, on top of what the machine made the other
/// gateway wait.
const LATER_MAX: Duration = Duration::from_secs(2);
const SLOWER_MAX: Duration = Duration::from_micros(100);

const POLICY: &str = "[policies.all]\nquota = 40\nwindow = \"1s\"\npartition = []\n\
    [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n";

/// The median of how long these waited, and the longest.
fn waits<'a>(samples: impl Iterator<Item = &'a Sample>) -> (Duration, Duration) {
    let mut waits: Vec<Duration> = samples.map(Sample::waited).collect();
    waits.sort_unstable();
    (waits[waits.len() / 2], waits[waits.len() - 1])
}

/// Looks until `until`, once a second.
fn sizes(gateway: &Gateway, until: Instant) -> Vec<u64> {
    let mut sizes = vec![gateway.resident()];
    while Instant::now() < until {
        sleep(LOOK_EVERY);
        sizes.push(gateway.resident());
    }
    sizes
}

#[test]
#[ignore = "long: make soak"]
fn five_minutes_without_redis() {
    let (redis, app) = (RedisServer::start(), App::start());
    let proxy = FaultProxy::start(redis.address());
    let rest = format!("{}{POLICY}", app_at(app.address()));
    let alone = Gateway::start(&format!("[store]\nkind = \"local\"\n{rest}"));
    let gateway = Gateway::start(&format!("[store]\nurl = \"{}\"\n{rest}", proxy.url()));
    gateway.wait_for_store("up");
    proxy.set(Behaviour::BlackHole);
    gateway.wait_for_store("away");
    let began = Instant::now();
    let target = |number, gateway: &Gateway| Target {
        number,
        address: gateway.public(),
        path: "/",
        headers: "",
    };
    let targets = vec![target(0, &gateway), target(1, &alone)];
    let load = Load::start(vec![targets; THREADS], EVERY);
    sleep(WARM_UP);
    let sizes = sizes(&gateway, began + LASTS);
    let samples = load.stop();
    let failed = samples.iter().filter(|sample| sample.failed()).count();
    let of = |number| waits(samples.iter().filter(move |sample| sample.target == number));
    let (away, local, log) = (of(0), of(1), gateway.log());
    let (first, most) = (sizes[0], sizes.iter().copied().max().unwrap_or_default());
    let figures = format!(
        "{} requests in {LASTS:?}, {failed} failed; median {:.1?} and longest {:.1?}, beside them with \
         a local store {:.1?} and {:.1?}; {first} bytes resident after a minute, {most} at most; {} \
         lines of log",
        samples.len(),
        away.0,
        away.1,
        local.0,
        local.1,
        log.lines().count()
    );
    tell("outage", &figures);
    assert_eq!(failed, 0);
    assert!(most as f64 <= first as f64 * GROWTH_MAX, "it grows: {sizes:?}");
    assert!(log.lines().count() < LOG_LINES_MAX, "{log}");
    assert!(away.1 < local.1 + LATER_MAX, "a request waited {:?}, not {:?}", away.1, local.1);
    assert!(away.0 <= local.0 + SLOWER_MAX, "{away:?} instead of {local:?}");
}
