//! Costs are settled also while Redis is away, and Redis learns of them.

use crate::support::app::{App, Seen, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

const QUOTA: u64 = 1_000;

fn reporting(seen: &Seen) -> Vec<u8> {
    let cost = seen.header("x-say").unwrap_or("1");
    let status = if cost == "7" { "401 Unauthorized" } else { "200 OK" };
    response(status, &format!("x-cost: {cost}\r\n"), b"done")
}

fn left(gateway: &Gateway, path: &str, say: u64) -> u64 {
    let request = gateway.client().get(gateway.url(path)).header("x-say", say.to_string());
    let answer = request.send().expect("an answer");
    assert_ne!(answer.status(), 429);
    answer.headers()["x-ratelimit-remaining"].to_str().expect("text").parse().expect("a number")
}

#[test]
fn what_requests_cost_without_redis_is_told_to_it() {
    let (mut redis, app) = (RedisServer::start(), App::answering(reporting));
    let config = format!(
        "{}[policies.all]\nquota = {QUOTA}\nwindow = \"1h\"\npartition = []\n\
         [policies.failures]\nquota = {QUOTA}\nwindow = \"1h\"\npartition = []\n\
         count = \"failures\"\nfailure_status = [401]\n\
         [[rules]]\npath = \"/costs\"\npolicies = [\"all\"]\ncost = 10\n\
         settle_from = \"header:x-cost\"\n\
         [[rules]]\npath = \"/login\"\npolicies = [\"failures\"]\n",
        app_at(app.address())
    );
    let store = "timeout = \"1s\"\nexpected_instances = 1";
    let gateway = Gateway::with_redis(&redis, store, &config);
    assert_eq!(left(&gateway, "/costs", 50), QUOTA - 50);
    assert_eq!(left(&gateway, "/login", 7), QUOTA - 1, "a failure");
    wait_until("the cost to be settled", || {
        gateway.metric("sluicegate_settlements_total", &["by=\"redis\""]) == 1.0
    });
    assert_eq!(left(&gateway, "/costs", 10), QUOTA - 60);
    redis.kill();
    gateway.wait_for_store("away");
    assert_eq!(left(&gateway, "/costs", 100), QUOTA - 160, "more than was taken");
    assert_eq!(left(&gateway, "/costs", 3), QUOTA - 163, "less");
    assert_eq!(left(&gateway, "/costs", 0), QUOTA - 163);
    for _ in 0..20 {
        left(&gateway, "/login", 1);
    }
    assert_eq!(left(&gateway, "/login", 7), QUOTA - 2, "right ones are not counted");
    redis.restart_empty();
    gateway.wait_for_store("up");
    wait_until("Redis to know of it", || left(&gateway, "/costs", 0) == QUOTA - 163);
    wait_until("Redis to know of failures", || left(&gateway, "/login", 1) == QUOTA - 2);
    assert_eq!(gateway.metric("sluicegate_settlements_total", &["by=\"lost\""]), 0.0);
}
