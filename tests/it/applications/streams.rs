//! Python applications in gunicorn and in uvicorn: answers that take their time.

use reqwest::Method;

use super::server::{gunicorn, uvicorn};
use super::wire::Wire;
use super::{Answer, Pair};

const FIRST: &str = "event: first\ndata: 1\n\n";
const SECOND: &str = "event: second\ndata: 2\n\n";

#[test]
fn an_event_comes_before_the_next_one_exists() {
    for start in [gunicorn, uvicorn] {
        let server = start();
        let pair = Pair::of(server.address());
        let answer = pair.same("events", |address| {
            let (mut wire, name) = (Wire::open(address), address.port());
            wire.send(
                format!("GET /events/{name} HTTP/1.1\r\nhost: example.org\r\n\r\n").as_bytes(),
            );
            let mut answer = wire.head();
            assert_eq!(wire.chunks_until("\n\n"), FIRST, "and nothing releases the second one yet");
            release(&pair, name);
            let second = wire.chunks_until("\n\n");
            assert!(wire.chunk().is_empty(), "it ends there");
            answer.body = (FIRST.to_owned() + &second).into_bytes();
            answer
        });
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/event-stream"))
        );
        assert_eq!(answer.text(), FIRST.to_owned() + SECOND);
    }
}

/// Neither the application nor the gateway may end it as if that were all.
#[test]
fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    for start in [gunicorn, uvicorn] {
        let server = start();
        let pair = Pair::of(server.address());
        pair.same("broken", |address| {
            let mut wire = Wire::open(address);
            wire.send(b"GET /broken HTTP/1.1\r\nhost: example.org\r\n\r\n");
            let mut answer = wire.head();
            answer.body = wire.chunks_until("well").into_bytes();
            assert_eq!(wire.rest(), b"", "neither more nor the last chunk");
            answer
        });
    }
}

/// Nobody waits for the first stream while others come and go: streams do not hold each other up.
#[test]
fn streams_run_side_by_side() {
    let server = uvicorn();
    let pair = Pair::of(server.address());
    let mut wires: Vec<Wire> = (0..20).map(|_| Wire::open(pair.gateway.public())).collect();
    for (name, wire) in (0..20).zip(&mut wires) {
        wire.send(format!("GET /events/{name} HTTP/1.1\r\nhost: example.org\r\n\r\n").as_bytes());
        assert!(wire.head().has_fields());
        assert_eq!(wire.chunks_until("\n\n"), FIRST);
    }
    for (name, wire) in (0..20).zip(&mut wires).rev() {
        release(&pair, name);
        assert_eq!(wire.chunks_until("\n\n"), SECOND);
        assert!(wire.chunk().is_empty(), "it ends there");
    }
}

fn release(pair: &Pair, name: u16) -> Answer {
    pair.send(pair.app, &Method::POST, &format!("/release/{name}"), |request| request)
}
