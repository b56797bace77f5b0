//! Redis dies under load: nothing fails, nothing waits, limits hold, and it comes back by itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, free_port, wait_until};

const CLIENTS: usize = 4;
/// `store.timeout` plus a busy machine's scheduling. A request that waited for a connect, a
/// reconnect or an answer that never comes would take seconds.
const LONGEST: Duration = Duration::from_secs(2);

fn config(app: &App) -> String {
    format!(
        "{}[policies.mine]\nquota = 5\nwindow = \"1h\"\npartition = [\"header:x-key\"]\n\
         [policies.open]\nquota = 5\nwindow = \"1h\"\npartition = []\non_store_error = \"allow\"\n\
         [policies.closed]\nquota = 500\nwindow = \"1h\"\npartition = []\non_store_error = \"deny\"\n\
         [[rules]]\npath = \"/mine\"\npolicies = [\"mine\"]\n\
         [[rules]]\npath = \"/open\"\npolicies = [\"open\"]\n\
         [[rules]]\npath = \"/closed\"\npolicies = [\"closed\"]\n\
         [[rules]]\npath = \"/both\"\npolicies = [\"closed\", \"mine\"]\n",
        app_at(app.address())
    )
}

#[test]
fn a_killed_redis_fails_nothing_and_comes_back() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateway = Gateway::with_redis(&redis, "timeout = \"50ms\"", &config(&app));
    let (stop, slowest) = (AtomicBool::new(false), Mutex::new(Duration::ZERO));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (stop, slowest, url) = (&stop, &slowest, gateway.url("/mine"));
            scope.spawn(move || {
                let client = Client::builder().no_proxy().build().expect("a client");
                for round in 0.. {
                    let sent = Instant::now();
                    // A fresh key every six requests: five pass and one is refused, each time.
                    let key = format!("{number}-{}", round / 6);
                    let answer = client.get(&url).header("x-key", key).send().expect("an answer");
                    let mut slowest = slowest.lock().expect("nobody panics");
                    *slowest = slowest.max(sent.elapsed());
                    assert!(matches!(answer.status().as_u16(), 200 | 429), "{answer:?}");
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let decided = |provenance: &str| {
            let label = format!("provenance=\"{provenance}\"");
            gateway.metric("sluicegate_decisions_total", &[&label])
        };
        wait_until("decisions of Redis", || decided("redis") > 100.0);
        redis.kill();
        gateway.wait_for_store("away");
        let before = decided("local");
        wait_until("local decisions", || decided("local") > before + 100.0);
        assert_eq!(gateway.metric("sluicegate_store_up", &[]), 0.0);
        redis.restart();
        let restarted = Instant::now();
        gateway.wait_for_store("up");
        println!("back after {:?}", restarted.elapsed());
        let before = decided("redis");
        wait_until("decisions of Redis", || decided("redis") > before + 100.0);
        stop.store(true, Ordering::Relaxed);
    });
    let slowest = slowest.into_inner().expect("nobody panics");
    println!("slowest request: {slowest:?}");
    assert!(slowest < LONGEST);
    let log = gateway.log();
    assert_eq!(log.matches("redis is away").count(), 1, "{log}");
    assert_eq!(log.matches("redis decides").count(), 2, "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

#[test]
fn without_redis_each_policy_does_what_it_says() {
    let app = App::start();
    let store = format!("[store]\nurl = \"redis://127.0.0.1:{}\"\n", free_port());
    let gateway = Gateway::start(&format!("{store}{}", config(&app)));
    gateway.wait_for_store("away");
    let statuses =
        |path: &str| -> Vec<u16> { (0..7).map(|_| gateway.get(path).status().as_u16()).collect() };
    assert_eq!(statuses("/mine"), [200, 200, 200, 200, 200, 429, 429], "local: limited here");
    assert_eq!(statuses("/open"), [200; 7], "allow: not limited");
    assert_eq!(statuses("/closed"), [503; 7], "deny: refused");
    assert_eq!(statuses("/both"), [503; 7], "one that denies is enough");
    let refusal = gateway.get("/closed");
    assert_eq!(refusal.headers()["content-type"], "application/problem+json");
    assert!(refusal.headers().contains_key("retry-after"));
    assert!(refusal.text().expect("a body").contains("#temporary-reduced-capacity"));
    let count = |policy: &str, provenance: &str| {
        let labels = [format!("policy=\"{policy}\""), format!("provenance=\"{provenance}\"")];
        gateway.metric("sluicegate_decisions_total", &[&labels[0], &labels[1]])
    };
    assert_eq!(count("mine", "local"), 7.0);
    assert_eq!(count("open", "fail-open"), 7.0);
    assert_eq!(count("closed", "fail-closed"), 15.0);
}

#[test]
fn a_hung_redis_is_given_up_after_a_few_timeouts() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = Gateway::with_redis(&redis, "timeout = \"20ms\"", &config(&app));
    assert_eq!(gateway.get("/mine").status(), 200);
    redis.signal("STOP");
    for _ in 0..10 {
        let sent = Instant::now();
        let status = gateway.get("/mine").status().as_u16();
        assert!(matches!(status, 200 | 429), "{status}");
        assert!(sent.elapsed() < LONGEST);
    }
    gateway.wait_for_store("away");
    assert!(gateway.metric("sluicegate_breaker_state", &[]) > 0.0, "open or half open");
    redis.signal("CONT");
    gateway.wait_for_store("up");
    assert_eq!(gateway.metric("sluicegate_breaker_state", &[]), 0.0);
}

#[test]
fn an_idle_gateway_notices_by_itself() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateway = Gateway::with_redis(&redis, "timeout = \"50ms\"", &config(&app));
    let mut connection = redis.connect();
    let before = redis.script_calls();
    wait_until("two more probes", || redis.script_calls() >= before + 2);
    // A Redis that takes no writes is as good as none.
    let limit = |bytes: &str, connection: &mut redis::Connection| {
        let _: () =
            redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).query(connection).unwrap();
    };
    limit("1", &mut connection);
    gateway.wait_for_store("away");
    limit("0", &mut connection);
    gateway.wait_for_store("up");
    redis.signal("STOP");
    gateway.wait_for_store("away");
    redis.signal("CONT");
    gateway.wait_for_store("up");
    redis.kill();
    gateway.wait_for_store("away");
}
