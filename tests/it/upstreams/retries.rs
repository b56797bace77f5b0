//! What is tried again, where, and how often.

use std::time::Instant;

use reqwest::Method;
use sluicegate::upstream::{RETRY_FLOOR, RETRY_PERCENT, RETRY_SLICES};

use super::server::{Reply, Server};
use super::{failed, gateway, upstream};

/// Requests that meet servers which break everything.
const REQUESTS: u64 = 300;

#[test]
fn only_what_does_no_harm_twice_is_tried_again() {
    let methods =
        [("GET", true), ("HEAD", true), ("OPTIONS", true), ("PUT", true), ("DELETE", true)];
    for (method, again) in methods.into_iter().chain([("POST", false), ("PATCH", false)]) {
        let [one, other] = [(); 2].map(|()| Server::doing(|_| Reply::Break));
        let gateway = gateway(&[one.address(), other.address()], "retries = 5");
        let method: Method = method.parse().unwrap();
        let answer = gateway.client().request(method.clone(), gateway.url("/")).body("x").send();
        assert_eq!(answer.unwrap().status(), 502, "{method}");
        let tried = one.requests() + other.requests();
        // Each server once: on a connection of its own, each has had its chance.
        assert_eq!(tried, if again { 2 } else { 1 }, "{method}");
        assert_eq!(failed(&gateway, "broken"), 1, "a request fails once");
    }
}

#[test]
fn a_body_that_cannot_be_repeated_is_not() {
    let [one, other] = [(); 2].map(|()| Server::doing(|_| Reply::Break));
    let gateway = gateway(&[one.address(), other.address()], "");
    for (bytes, tried) in [(1 << 10, 2), (1 << 20, 1)] {
        let before = one.requests() + other.requests();
        let request = gateway.client().put(gateway.url("/")).body(vec![b'x'; bytes]);
        assert_eq!(request.send().unwrap().status(), 502, "{bytes}");
        assert_eq!(one.requests() + other.requests() - before, tried, "{bytes}");
    }
}

#[test]
fn an_answer_that_does_not_come_is_not_asked_for_again() {
    let barrier = super::server::Barrier::default();
    let slow = || {
        let held = barrier.clone();
        Server::doing(move |_| {
            held.pass();
            Reply::Status(200)
        })
    };
    let [one, other] = [slow(), slow()];
    let gateway = gateway(&[one.address(), other.address()], "read_timeout = \"200ms\"");
    assert_eq!(gateway.get("/").status(), 504);
    assert_eq!(one.requests() + other.requests(), 1);
    barrier.open();
}

#[test]
fn no_retries_means_one_attempt() {
    let [one, other] = [(); 2].map(|()| Server::doing(|_| Reply::Break));
    let gateway = gateway(&[one.address(), other.address()], "retries = 0");
    assert_eq!(gateway.get("/").status(), 502);
    assert_eq!(one.requests() + other.requests(), 1);
}

/// An outage is not multiplied: retries are a share of the requests, and a few.
#[test]
fn retries_have_a_budget() {
    let [one, other] = [(); 2].map(|()| Server::doing(|_| Reply::Break));
    let off = "[upstreams.app.ejection]\nfailures = 0";
    let gateway = gateway(&[one.address(), other.address()], off);
    let began = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(gateway.get("/").status(), 502);
    }
    // The floor is there anew for each while that has begun.
    let whiles = 1 + began.elapsed().as_secs() / (RETRY_SLICES as u64 - 1);
    let most = RETRY_FLOOR * whiles + REQUESTS * RETRY_PERCENT / 100;
    let attempts = (one.requests() + other.requests()) as u64;
    let retries = upstream(&gateway, "retries_total", &[]);
    assert_eq!(attempts, REQUESTS + retries);
    assert!((RETRY_FLOOR..=most).contains(&retries), "{retries} of at most {most}");
}

/// A request is charged once, however often it is tried.
#[test]
fn a_retry_costs_nothing() {
    let (bad, good) = (Server::doing(|_| Reply::Break), Server::start());
    let gateway = gateway(
        &[bad.address(), good.address()],
        "[policies.few]\nquota = 6\nwindow = \"1h\"\npartition = []\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"few\"]",
    );
    let statuses: Vec<u16> = (0..7).map(|_| gateway.get("/").status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429]);
    assert!(upstream(&gateway, "retries_total", &[]) >= 3);
}
