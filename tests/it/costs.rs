//! Requests that cost more or less than one unit, before and after their answer.

mod failures;
mod outage;
mod settled;

use reqwest::blocking::RequestBuilder;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;

/// A policy of `quota` units an hour for everyone together, and one rule for every path.
fn everyone(quota: u64, rule: &str) -> String {
    format!(
        "[policies.all]\nquota = {quota}\nwindow = \"1h\"\npartition = []\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n{rule}\n"
    )
}

fn local(app: &App, client: &str, limits: &str) -> Gateway {
    let app = app_at(app.address());
    Gateway::start(&format!("[store]\nkind = \"local\"\n[client]\n{client}\n{app}{limits}"))
}

/// The status of an answer, what is left by its `X-RateLimit-Remaining`, and whether it says when to
/// come back.
fn told(request: RequestBuilder) -> (u16, u64, bool) {
    let answer = request.send().expect("an answer");
    let left = answer.headers()["x-ratelimit-remaining"].to_str().expect("text");
    let left = left.parse().expect("a number");
    (answer.status().as_u16(), left, answer.headers().contains_key("retry-after"))
}

#[test]
fn a_trusted_proxy_says_what_a_request_costs() {
    let app = App::start();
    let rule = "cost = 2\ncost_from = \"header:x-cost\"";
    let trusting = local(&app, "trusted_proxies = [\"127.0.0.0/8\"]", &everyone(100, rule));
    let ask = |gateway: &Gateway, lines: &[&str]| {
        let request = gateway.client().get(gateway.url("/"));
        told(lines.iter().fold(request, |request, line| request.header("x-cost", *line)))
    };
    assert_eq!(ask(&trusting, &["7"]), (200, 93, false));
    for odd in [&[][..], &["x"], &["-1"], &["1.5"], &["+3"], &[""], &["3", "4"]] {
        let before = ask(&trusting, &["1"]).1;
        assert_eq!(ask(&trusting, odd), (200, before - 2, false), "{odd:?}: as the rule says");
    }
    let over = "99999999999999999999999999999";
    assert_eq!(ask(&trusting, &[over]).0, 429);
    let free = trusting.client().get(trusting.url("/")).header("x-cost", "0").send().unwrap();
    assert_eq!(free.status(), 200);
    assert!(!free.headers().contains_key("x-ratelimit-limit"), "the rule asks for nothing");

    let other = local(&app, "trusted_proxies = [\"192.0.2.1\"]", &everyone(100, rule));
    assert_eq!(ask(&other, &["7"]), (200, 98, false), "nobody else may");
    assert_eq!(ask(&other, &["0"]), (200, 96, false));
}

#[test]
fn a_cost_that_never_fits_is_refused_without_a_time_to_come_back() {
    let app = App::start();
    let bucket = "[policies.all]\nalgorithm = \"token-bucket\"\nquota = 100\nwindow = \"1h\"\n\
         burst = 10\npartition = []\n[[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n\
         cost_from = \"header:x-cost\"\n";
    let window = everyone(10, "cost_from = \"header:x-cost\"");
    let calendar = "[policies.all]\nalgorithm = \"calendar\"\nquota = 10\nwindow = \"month\"\n\
         partition = []\n[[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n\
         cost_from = \"header:x-cost\"\n";
    for limits in [bucket, &window, calendar] {
        let gateway = local(&app, "trusted_proxies = [\"127.0.0.0/8\"]", limits);
        let ask = |cost: u64| {
            told(gateway.client().get(gateway.url("/")).header("x-cost", cost.to_string()))
        };
        assert_eq!(ask(11), (429, 10, false), "it never fits");
        assert_eq!(ask(10), (200, 0, false));
        assert_eq!(ask(10), (429, 0, true), "it will fit");
        assert_eq!(ask(11), (429, 0, false));
    }
}

#[test]
fn a_body_costs_by_its_size() {
    let app = App::start();
    let gateway = local(&app, "", &everyone(100, "cost = 2\ncost_from = \"body:1KiB\""));
    let post = |size: usize| told(gateway.client().post(gateway.url("/")).body(vec![b'x'; size]));
    assert_eq!(told(gateway.client().get(gateway.url("/"))), (200, 98, false), "at least `cost`");
    assert_eq!(post(2_048), (200, 96, false));
    assert_eq!(post(2_049), (200, 93, false), "one for each begun KiB");
    assert_eq!(post(99 * 1_024), (429, 93, true), "before the body is read");
    assert_eq!(post(101 * 1_024), (429, 93, false));
    assert_eq!(app.seen().len(), 3);

    // Without a length nobody knows before the end.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
    let head =
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let request = format!("{head}{chunk}{chunk}0\r\n\r\n");
    let answer = raw::exchange(gateway.public(), request.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    let left = || told(gateway.client().get(gateway.url("/"))).1;
    crate::support::redis::wait_until("the eight KiB to be charged", || {
        gateway.metric("sluicegate_settlements_total", &["by=\"local\""]) == 1.0
    });
    assert_eq!(left(), 93 - 8 - 2);
}

#[test]
fn the_dearest_of_several_rules_counts_before_and_in_the_end() {
    let app = App::answering(|seen| {
        let cost = seen.header("x-say").map(|cost| format!("x-cost: {cost}\r\n"));
        response("200 OK", &cost.unwrap_or_default(), b"")
    });
    let second = "cost = 3\nsettle_from = \"header:x-cost\"\n\
         [[rules]]\npath = \"/dear/**\"\npolicies = [\"all\"]\ncost = 5\n";
    let gateway = local(&app, "", &everyone(100, second));
    let ask = |path: &str, say: &str| {
        let before = told(gateway.client().get(gateway.url("/")).header("x-say", "0")).1;
        let request = gateway.client().get(gateway.url(path)).header("x-say", say);
        before - told(request).1
    };
    assert_eq!(ask("/", "1"), 1);
    assert_eq!(ask("/", "x"), 3, "what was taken stays");
    assert_eq!(ask("/dear/x", "1"), 5, "the other rule's cost stays");
    assert_eq!(ask("/dear/x", "9"), 9);
}
