//! Batches that are pushed: to an application that takes them, refuses them, or hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Batch, VIEWS, counts, gateway, view};
use crate::support::app::{App, Seen, response};
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

/// An application that takes batches, or answers with the status that it is told.
struct Taker {
    app: App,
    status: Arc<AtomicU16>,
}

// === impl Taker ===

impl Taker {
    fn start() -> Self {
        let status = Arc::new(AtomicU16::new(204));
        let told = Arc::clone(&status);
        let app = App::answering(move |_| {
            response(&format!("{} Told", told.load(Ordering::Relaxed)), "", b"")
        });
        Self { app, status }
    }

    fn says(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// A meter whose batches come here every second.
    fn meter(&self) -> String {
        format!(
            "{VIEWS}export = \"push\"\n[meters.views.push]\nupstream = \"taker\"\n\
             path = \"/internal/views?from=gateway\"\nevery = \"1s\"\nhost = \"site.example\"\n\
             headers = {{ authorization = \"Bearer hunter2\" }}\n\
             [upstreams.taker]\nservers = [\"{}\"]\n",
            self.app.address()
        )
    }

    fn wait_for(&self, batches: usize) -> Vec<Seen> {
        wait_until("batches", || self.app.seen().len() >= batches);
        self.app.seen()
    }
}

fn pending(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_meter_pending_batches", &["views"])
}

fn results(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("sluicegate_meter_batches_total", &[&format!("\"{result}\"")])
}

fn read(seen: &Seen) -> Batch {
    Batch::read(std::str::from_utf8(&seen.body).expect("text"))
}

#[test]
fn a_batch_is_pushed_with_its_name_and_acknowledged_by_a_2xx() {
    let (redis, app, taker) = (RedisServer::start(), App::start(), Taker::start());
    let gateway = gateway(&redis, &app, &taker.meter());
    view(&gateway, "/stories/1", "ann");
    let first = taker.wait_for(1).remove(0);
    assert_eq!(first.target, "/internal/views?from=gateway");
    let batch = read(&first);
    assert_eq!(batch.counts, counts(&[("/stories/1", 1)]));
    for (name, value) in [
        ("idempotency-key", batch.name.as_str()),
        ("authorization", "Bearer hunter2"),
        ("host", "site.example"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(first.header(name), Some(value));
    }
    wait_until("the acknowledgement", || results(&gateway, "acknowledged") == 1.0);
    let pending: Vec<String> = redis.command(&["LRANGE", "sg:{meter:views}:pending", "0", "-1"]);
    assert_eq!(pending, [""; 0]);
    view(&gateway, "/stories/1", "ben");
    let second = read(&taker.wait_for(2)[1]);
    assert!(second.name > batch.name);
    assert_eq!(second.counts, batch.counts);
}

#[test]
fn a_batch_that_is_refused_comes_again_the_same_and_before_the_next() {
    let (redis, app, taker) = (RedisServer::start(), App::start(), Taker::start());
    let gateway = gateway(&redis, &app, &taker.meter());
    taker.says(503);
    view(&gateway, "/stories/1", "ann");
    let first = read(&taker.wait_for(1)[0]);
    view(&gateway, "/stories/2", "ann");
    wait_until("a second batch", || pending(&gateway) == 2.0);
    taker.wait_for(2);
    taker.says(200);
    wait_until("both to be taken", || results(&gateway, "acknowledged") == 2.0);
    let mut seen: Vec<Batch> = taker.app.seen().iter().map(read).collect();
    let last = seen.pop().expect("the second batch");
    assert!(seen.iter().all(|batch| *batch == first), "{seen:?}");
    assert_eq!(last.counts, counts(&[("/stories/2", 1)]));
    assert!(results(&gateway, "refused") >= 2.0);
    wait_until("none to be pending", || pending(&gateway) == 0.0);
    let log = gateway.log();
    assert_eq!(log.matches("does not take a batch").count(), 1, "{log}");
    assert!(log.contains("it answered 503") && log.contains("takes batches again"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Two gateways, and each batch is pushed by one of them; when that one dies the other goes on.
#[test]
fn one_gateway_at_a_time_pushes() {
    let (redis, app, taker) = (RedisServer::start(), App::start(), Taker::start());
    let gateways = [0, 1].map(|_| gateway(&redis, &app, &taker.meter()));
    for user in 0..4 {
        view(&gateways[user % 2], "/stories/1", &format!("user-{user}"));
        taker.wait_for(user + 1);
    }
    let names: Vec<String> = taker.app.seen().iter().map(|seen| read(seen).name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "none twice: {names:?}");
    let by = gateways.each_ref().map(|gateway| results(gateway, "acknowledged"));
    assert!(by.contains(&0.0), "{by:?}");
    // The lease of a gateway that has died runs out; the test need not wait for it.
    let [first, second] = gateways;
    let (dead, other) = if by[0] > 0.0 { (first, second) } else { (second, first) };
    drop(dead);
    redis.command::<()>(&["DEL", "sg:{meter:views}:lease"]);
    view(&other, "/stories/1", "somebody else");
    taker.wait_for(5);
    wait_until("the other to have pushed", || results(&other, "acknowledged") == 1.0);
}

#[test]
fn an_application_that_cannot_be_reached_gets_its_batches_later() {
    let (redis, app, taker) = (RedisServer::start(), App::start(), Taker::start());
    let port = crate::support::redis::free_port();
    let meter = taker.meter().replace(
        &format!("servers = [\"{}\"]", taker.app.address()),
        &format!("servers = [\"127.0.0.1:{port}\"]"),
    );
    let gateway = gateway(&redis, &app, &meter);
    view(&gateway, "/stories/1", "ann");
    wait_until("an attempt", || results(&gateway, "failed") >= 1.0);
    wait_until("the batch to be pending", || pending(&gateway) == 1.0);
    gateway.edit(&format!("127.0.0.1:{port}"), &taker.app.address().to_string());
    gateway.signal("HUP");
    assert_eq!(read(&taker.wait_for(1)[0]).counts, counts(&[("/stories/1", 1)]));
    wait_until("the acknowledgement", || results(&gateway, "acknowledged") == 1.0);
}
