//! Python applications in gunicorn and in uvicorn: what is sent to them.

use std::io::Cursor;
use std::sync::LazyLock;

use reqwest::Method;
use reqwest::blocking::Body;

use super::server::{gunicorn, uvicorn};
use super::wire::Wire;
use super::{Answer, LARGE, Pair, noise, sum};
use crate::support::redis::wait_until;

/// How the end of a body is told.
const FRAMINGS: [&str; 2] = ["content-length: 4096", "transfer-encoding: chunked"];
/// More than the KiB that gunicorn reads at once, also by half.
static BODY: LazyLock<String> = LazyLock::new(|| format!("hello{}", "o".repeat(4091)));

/// What the application should answer.
fn summary(content: &[u8]) -> String {
    format!("{} {}", sum(content), content.len())
}

fn large_uploads_come_whole(pair: &Pair) {
    let content = noise(3, LARGE);
    let with_length = pair.post("/digest", || content.clone().into());
    assert_eq!((with_length.status, with_length.text()), (200, summary(&content).as_str()));
    let chunked = pair.post("/digest", || Body::new(Cursor::new(content.clone())));
    assert_eq!((chunked.status, chunked.text()), (200, summary(&content).as_str()));
}

#[test]
fn large_uploads_come_whole_to_gunicorn() {
    let server = gunicorn();
    large_uploads_come_whole(&Pair::of(server.address()));
}

#[test]
fn large_uploads_come_whole_to_uvicorn() {
    let server = uvicorn();
    large_uploads_come_whole(&Pair::of(server.address()));
}

/// As curl does with a large body: it asks, and sends only when told to.
#[test]
fn who_asks_before_sending_is_told_to_go_on() {
    let content = noise(4, LARGE);
    for start in [gunicorn, uvicorn] {
        let server = start();
        let pair = Pair::of(server.address());
        let answer = pair.same("expect", |address| {
            let mut wire = Wire::open(address);
            wire.send(&expecting("/digest", content.len()));
            let go_on = wire.head();
            assert_eq!((go_on.status, go_on.has_fields()), (100, false), "{go_on:?}");
            wire.send(&content);
            wire.answer()
        });
        assert_eq!((answer.status, answer.text()), (200, summary(&content).as_str()));
    }
}

#[test]
fn who_asks_before_sending_may_be_turned_away_by_the_application() {
    // gunicorn says 100 by itself, whatever the application thinks.
    let server = uvicorn();
    let pair = Pair::of(server.address());
    for _ in 0..3 {
        let answer = pair.same("refused", |address| {
            let mut wire = Wire::open(address);
            wire.send(&expecting("/early", LARGE));
            wire.answer()
        });
        assert_eq!((answer.status, answer.text()), (413, "too large"));
        assert_eq!(pair.get("/empty", &[]).status, 204, "nothing of it is left over");
    }
}

/// A request whose body is on its way: its head, and the two halves of the body.
fn halves(framing: &str, name: &str) -> [String; 2] {
    let head = format!("POST /slow/{name} HTTP/1.1\r\nhost: example.org\r\n{framing}\r\n\r\n");
    let (first, rest) = BODY.split_at(BODY.len() / 2);
    if framing.starts_with("content-length") {
        return [head + first, rest.to_owned()];
    }
    [
        format!("{head}{:x}\r\n{first}\r\n", first.len()),
        format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()),
    ]
}

#[test]
fn the_application_sees_a_body_while_it_is_sent() {
    for start in [gunicorn, uvicorn] {
        let server = start();
        let pair = Pair::of(server.address());
        for (number, framing) in FRAMINGS.iter().enumerate() {
            let answer = pair.same(framing, |address| {
                let (mut wire, name) =
                    (Wire::open(address), format!("{}-{number}", address.port()));
                let [first, rest] = halves(framing, &name);
                wire.send(first.as_bytes());
                wait_until("the application to see the beginning", || {
                    noted(&pair, &name).text() == "hello"
                });
                wire.send(rest.as_bytes());
                wire.answer()
            });
            assert_eq!((answer.status, answer.text()), (200, summary(BODY.as_bytes()).as_str()));
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    for start in [gunicorn, uvicorn] {
        let server = start();
        let pair = Pair::of(server.address());
        for (number, framing) in FRAMINGS.iter().enumerate() {
            for address in [pair.app, pair.gateway.public()] {
                let (mut wire, name) =
                    (Wire::open(address), format!("{}-{number}", address.port()));
                wire.send(halves(framing, &name)[0].as_bytes());
                wait_until("the application to see the beginning", || {
                    noted(&pair, &name).text() == "hello"
                });
                drop(wire);
                wait_until("the application to see the end", || {
                    noted(&pair, &name).text() != "hello"
                });
                assert_eq!(noted(&pair, &name).text(), "broken", "{framing}, through {address}");
            }
        }
    }
}

/// Nobody knows what the application has done with it.
#[test]
fn an_upload_that_is_not_answered_is_not_sent_again() {
    // uvicorn keeps its connections to itself; it has no way to hang up in the middle.
    let server = gunicorn();
    let pair = Pair::of(server.address());
    for name in ["one", "two", "three"] {
        // Now a connection waits in the pool, and whatever is sent on it might have come too late.
        assert_eq!(pair.get("/empty", &[]).status, 204);
        let path = format!("/vanish/{name}");
        let answer =
            pair.send(pair.gateway.public(), &Method::POST, &path, |request| request.body("once"));
        assert_eq!((answer.status, answer.has_fields()), (502, true), "{answer:?}");
        assert_eq!(noted(&pair, name).text(), "1");
    }
}

fn noted(pair: &Pair, name: &str) -> Answer {
    pair.send(pair.app, &Method::GET, &format!("/noted/{name}"), |request| request)
}

fn expecting(path: &str, length: usize) -> Vec<u8> {
    let fields = format!("content-length: {length}\r\nexpect: 100-continue");
    format!("POST {path} HTTP/1.1\r\nhost: example.org\r\n{fields}\r\n\r\n").into_bytes()
}
