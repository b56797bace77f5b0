//! Python applications in gunicorn and in uvicorn: answers of every kind.

use reqwest::Method;
use reqwest::blocking::RequestBuilder;

use super::server::{gunicorn, uvicorn};
use super::wire::Wire;
use super::{Answer, Pair};

/// Runs a test with each of the two servers.
fn with_each(test: impl Fn(&Pair)) {
    for start in [gunicorn, uvicorn] {
        let server = start();
        test(&Pair::of(server.address()));
    }
}

#[test]
fn answers_of_every_kind_come_as_they_are() {
    with_each(|pair| {
        let empty = pair.get("/empty", &[]);
        assert_eq!(
            (empty.status, empty.header("x-test"), empty.body.len()),
            (204, Some("empty"), 0)
        );
        let redirect = pair.get("/redirect", &[]);
        assert_eq!((redirect.status, redirect.text()), (302, "over there"));
        assert_eq!(redirect.header("location"), Some("/else%C3%A9where?a=b&c#d"));
        let cookies = pair.get("/cookies", &[]);
        assert_eq!(cookies.headers["set-cookie"].len(), 2, "one line each: {cookies:?}");
        assert_eq!(cookies.headers["set-cookie"][0], "a=1; Path=/; HttpOnly");
        let chunks = pair.get("/chunks", &[]);
        assert_eq!(
            (chunks.header("content-length"), chunks.body.len()),
            (None, 97 * 399 * 400 / 2)
        );
        assert_eq!(chunks.header("content-type"), Some("application/octet-stream"));
        assert_eq!(pair.get("/nothing", &[]).status, 404);
        let head = pair.ask("HEAD", &Method::HEAD, "/redirect", |request| request);
        assert_eq!(
            (head.status, head.header("content-length"), head.body.len()),
            (302, Some("10"), 0)
        );
    });
}

#[test]
fn large_headers_pass_both_ways() {
    with_each(|pair| {
        let large = "0123456789abcdef".repeat(512);
        let answer = pair.get("/large", &[("x-test-large", &large)]);
        assert_eq!((answer.status, answer.header("x-test-large")), (200, Some(large.as_str())));
    });
}

#[test]
fn the_application_gets_the_request_that_was_sent() {
    with_each(|pair| {
        let targets = [
            "/echo/gr%C3%BC%C3%9Fe/%E2%82%AC?name=%F0%9F%8C%8A&q=a+b%20c",
            "/echo/a%2Fb//c/./d;e=1/%7Euser?x=1&x=2&=&y#not-sent",
            "/echo/?",
        ];
        for target in targets {
            for method in [Method::GET, Method::PATCH, Method::OPTIONS] {
                let add = |request: RequestBuilder| {
                    request.header("cookie", "a=1; b=2").header("authorization", "Basic YTpi")
                };
                let answer = pair.ask(target, &method, target, |request| {
                    add(request).header("x-test", "a, b;c=\"d\"")
                });
                let told: Vec<&str> = answer.text().lines().collect();
                assert!(told[0].starts_with(&format!("{method} /echo/")), "{told:?}");
                for line in [
                    "x-test: a, b;c=\"d\"",
                    "cookie: a=1; b=2",
                    "authorization: Basic YTpi",
                    "host: example.org",
                ] {
                    assert!(told.contains(&line), "{line}: {told:?}");
                }
            }
        }
    });
}

#[test]
fn a_target_passes_byte_for_byte() {
    with_each(|pair| {
        let long = format!("/echo?{}", "0123456789".repeat(390));
        for target in ["/echo/%c3%bc%C3%BC?q=%c3%bc&%%", "/echo/%2e%2e/%2E/a//b/../c", &long] {
            let request = format!("GET {target} HTTP/1.1\r\nhost: example.org\r\n\r\n");
            let answer = pair.same(target, |address| exchange(address, request.as_bytes()));
            let told = answer.text();
            assert!(told.starts_with(&format!("GET {target}\n")), "{target}: {told}");
        }
    });
}

/// An answer may come before the body: here, the body never comes.
#[test]
fn an_answer_may_come_before_the_body() {
    with_each(|pair| {
        let request = [
            b"POST /early HTTP/1.1\r\nhost: example.org\r\ncontent-length: 50000000\r\n\r\n",
            &b"x".repeat(1000)[..],
        ];
        for _ in 0..10 {
            let answer = pair.same("early", |address| exchange(address, &request.concat()));
            assert_eq!((answer.status, answer.text()), (413, "too large"));
            // What has not been read is not taken for the next request.
            assert_eq!(pair.get("/redirect", &[]).status, 302);
        }
    });
}

/// The application has answered without reading; the rest of the body stands between two requests.
#[test]
fn a_body_that_nobody_reads_is_no_request() {
    with_each(|pair| {
        let body = "GET /redirect HTTP/1.1\r\nhost: example.org\r\n\r\n".repeat(100);
        for _ in 0..10 {
            let answer = pair.post("/early", || body.clone().into());
            assert_eq!((answer.status, answer.text()), (413, "too large"));
            assert_eq!(pair.get("/empty", &[]).status, 204);
        }
    });
}

fn exchange(address: std::net::SocketAddr, request: &[u8]) -> Answer {
    let mut wire = Wire::open(address);
    wire.send(request);
    wire.answer()
}
