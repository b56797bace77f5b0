//! Who sends one request after the other never meets his own last one.

use reqwest::blocking::Client;

use super::{TIMEOUT, held_in, slots};
use crate::support::app::{App, response};
use crate::support::gateway::Gateway;
use crate::support::load::Caller;
use crate::support::redis::{RedisServer, wait_until};

const REQUESTS: usize = 2_000;

/// Answers of every shape: with a body, without one, in chunks, and until the connection ends.
fn application() -> App {
    App::answering(|seen| match seen.target.as_str() {
        "/empty" => response("200 OK", "", b""),
        "/none" => b"204 No Content\r\n\r\n".to_vec(),
        "/chunks" => b"200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
        _ => response("200 OK", "", b"hello"),
    })
}

#[test]
fn one_request_after_the_other_is_never_refused() {
    let (redis, app) = (RedisServer::start(), application());
    let gateway = Gateway::with_redis(&redis, TIMEOUT, &slots(app.address(), 1, ""));
    let mut kept = Caller::new(gateway.public());
    for number in 0..REQUESTS {
        let path = ["/", "/empty", "/none"][number % 3];
        let status = if number % 2 == 0 {
            kept.get(path, "")
        } else {
            Caller::new(gateway.public()).get(path, "")
        };
        let status = status.expect("an answer");
        assert!(matches!(status, 200 | 204), "request {number}, {path}: {status}");
    }
    // A library that reads chunks, and asks for heads.
    let client = Client::builder().no_proxy().build().expect("a client");
    for number in 0..REQUESTS / 10 {
        let url = gateway.url(["/chunks", "/"][number % 2]);
        let ask = if number % 3 == 0 { client.head(url) } else { client.get(url) };
        let answer = ask.send().expect("an answer");
        assert_eq!(answer.status(), 200, "request {number}");
        answer.bytes().expect("a whole body");
    }
    let told = gateway.metric("sluicegate_decisions_total", &["redis", "allow"]);
    assert_eq!(told, (REQUESTS + REQUESTS / 10) as f64, "Redis has decided them all");
    wait_until("nothing to be left", || held_in(&redis) == 0);
}
