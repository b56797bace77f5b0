//! What meters count, and how the application gets the counts: the built binary, real Redis
//! servers, and the consumer of the story site.

mod consumer;
mod exact;
mod export;
mod hostile;
mod memory;
mod push;
mod unique;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::app::App;
use crate::support::gateway::{BINARY, Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// Users are whom the test, a trusted proxy, says.
const IDENTITY: &str = "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
                        [identity.header]\nuser = \"x-user-id\"\n";
/// A story counts once a day for each user.
const VIEWS: &str = "[meters.views]\npaths = [\"/stories/*\"]\nunique_by = \"user\"\n\
                     unique_for = \"24h\"\n";

/// A batch, as the application gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) name: String,
    pub(crate) counts: BTreeMap<String, u64>,
}

// === impl Batch ===

impl Batch {
    fn read(text: &str) -> Self {
        Self::read_of("views", text)
    }

    /// The same of another meter than `views`.
    pub(crate) fn read_of(meter: &str, text: &str) -> Self {
        let document: Value = serde_json::from_str(text).expect("a batch in JSON");
        assert_eq!(document["meter"], meter);
        let at = |key: &str| document[key].as_u64().expect("milliseconds");
        assert!(at("from") > 1_700_000_000_000 && at("from") <= at("until"), "{document}");
        let counts = document["counts"].as_object().expect("counts").iter();
        let counts = counts.map(|(item, count)| (item.clone(), count.as_u64().expect("a count")));
        let name = document["batch"].as_str().expect("a name").to_owned();
        Self { name, counts: counts.collect() }
    }
}

/// A gateway that believes the test who the user is, with these meters and whatever else.
fn gateway(redis: &RedisServer, app: &App, config: &str) -> Gateway {
    let app = app_at(app.address());
    Gateway::with_redis(redis, "timeout = \"1s\"\n", &format!("{IDENTITY}{app}{config}"))
}

/// Asks for a path, as this user.
fn view(gateway: &Gateway, path: &str, user: &str) {
    let request = gateway.client().get(gateway.url(path)).header("x-user-id", user);
    assert_eq!(request.send().expect("the gateway answers").status(), 200);
}

/// Waits until it is known of so many views what they came to: a request is seen when it has been
/// answered. How many counted, were known, found no room in Redis and none in the gateway.
fn counted(gateway: &Gateway, seen: u64) -> [u64; 4] {
    let came_to = || {
        ["counted", "duplicate", "full", "dropped"].map(|result| {
            gateway.metric("sluicegate_meter_views_total", &[&format!("\"{result}\"")]) as u64
        })
    };
    wait_until(&format!("{seen} views"), || came_to().iter().sum::<u64>() >= seen);
    came_to()
}

/// Runs `sluicegate meters` with these words.
pub(crate) fn meters(gateway: &Gateway, words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["meters", "--config"]).arg(gateway.config()).args(words);
    command.output().expect("the binary runs")
}

/// The batches that `sluicegate meters export` prints.
fn export(gateway: &Gateway) -> Vec<Batch> {
    export_of(gateway, "views")
}

/// The same of another meter than `views`.
pub(crate) fn export_of(gateway: &Gateway, meter: &str) -> Vec<Batch> {
    let output = meters(gateway, &["export", meter]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| Batch::read_of(meter, line)).collect()
}

fn acknowledge(gateway: &Gateway, batch: &str) -> String {
    acknowledge_of(gateway, "views", batch)
}

/// The same of another meter than `views`.
pub(crate) fn acknowledge_of(gateway: &Gateway, meter: &str, batch: &str) -> String {
    let output = meters(gateway, &["ack", meter, batch]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// Counts from a few words.
fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(item, count)| ((*item).to_owned(), *count)).collect()
}
