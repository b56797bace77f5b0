//! C-12: streams that are reset, by the client or because of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{GROWTH_MAX, decisions, start, while_others_ask};
use crate::support::app::{App, response};
use crate::support::http2::{
    Connection, DATA, END_STREAM, End, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, WHOLE,
    WINDOW_UPDATE, frame, get,
};
use crate::support::redis::wait_until;

/// `SLUICEGATE_SOAK=1` sends so many times as many.
const RESETS: usize = 100_000;
const SOAK_FACTOR: usize = 10;
/// Sent on a connection before anybody looks at what comes back.
const AT_ONCE: usize = 1_000;
/// A connection takes a thousand.
const PROVOKED: usize = 3_000;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const CALM: End = End::GoAway(11);

fn pairs(path: &str) -> Vec<u8> {
    let block = get(path);
    let pair = |number: usize| {
        let stream = 2 * number as u32 + 1;
        [frame(HEADERS, WHOLE, stream, &block), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    };
    (0..AT_ONCE).flat_map(pair).collect()
}

/// C-12, CVE-2023-44487: a request and its reset, over and over.
#[test]
fn c12_rapid_reset_ends_the_connection() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let resets = if soak { SOAK_FACTOR * RESETS } else { RESETS };
    let app = App::start();
    let gateway = start(&app, 50);
    let pairs = pairs("/attacked/one");
    let mut ends = BTreeMap::new();
    let meanwhile = while_others_ask(&gateway, || {
        for _ in 0..resets / AT_ONCE {
            let mut connection = Connection::open(gateway.public());
            // Where the gateway has closed, not all of it can be sent.
            let _ = connection.send(&pairs);
            *ends.entry(connection.end()).or_insert(0) += 1;
        }
    });
    println!("{resets} resets on {} connections: {ends:?}, {meanwhile:?}", resets / AT_ONCE);
    assert!(ends.keys().all(|end| matches!(end, &CALM | End::Closed)), "{ends:?}");
    assert!(ends.contains_key(&CALM), "and is told why: {ends:?}");
    assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{meanwhile:?}");
    wait_until("everything to end", || gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0);
    // What came as far as to be a request was charged.
    let requests = gateway.metric("sluicegate_requests_total", &[]) as usize;
    let others = meanwhile.served + 1;
    let decided = decisions(&gateway, "allow") + decisions(&gateway, "deny");
    println!("{decided} of them were requests");
    assert_eq!(decided, requests - others);
    assert!(app.seen().iter().filter(|seen| seen.target == "/attacked/one").count() <= 50);
}

/// Requests that are reset, at once.
const STEP: u32 = 5;

/// Sends that many steps, each when the one before was read; how many it were when the gateway had
/// enough after all.
fn resets_in_steps(connection: &mut Connection, steps: u32, block: &[u8]) -> u32 {
    for step in 0..steps {
        let streams = (0..STEP).map(|number| 2 * (step * STEP + number) + 1);
        let pair = |stream| {
            let request = frame(HEADERS, WHOLE, stream, block);
            [request, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
        };
        let mut bytes: Vec<u8> = streams.flat_map(pair).collect();
        bytes.extend(frame(PING, 0, 0, &[7; 8]));
        if connection.send(&bytes).is_err() {
            return step + 1;
        }
        // Its answer comes when what was before it has been read.
        loop {
            match connection.read() {
                Some(frame) if frame.kind == PING => break,
                Some(_) => {}
                None => return step + 1,
            }
        }
    }
    steps
}

/// C-12: who waits until each request is looked at is not cut off, and has had them all.
#[test]
fn c12_resets_in_small_steps_are_charged() {
    const STEPS: u32 = 800;
    let app = App::start();
    let gateway = start(&app, 50);
    let block = get("/attacked/one");
    let mut connections = 0;
    let meanwhile = while_others_ask(&gateway, || {
        let mut sent = 0;
        while sent < STEPS {
            connections += 1;
            sent += resets_in_steps(&mut Connection::open(gateway.public()), STEPS - sent, &block);
        }
    });
    wait_until("everything to end", || gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0);
    let requests = gateway.metric("sluicegate_requests_total", &[]) as usize - meanwhile.served - 1;
    let decided = decisions(&gateway, "allow") + decisions(&gateway, "deny");
    println!("{decided} of {} on {connections}, {meanwhile:?}", STEPS * STEP);
    assert_eq!(decided, requests);
    assert!(decided > 50, "some were looked at");
    assert!(app.seen().iter().filter(|seen| seen.target == "/attacked/one").count() <= 50);
    assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{meanwhile:?}");
}

/// Who resets what is under way has had it.
#[test]
fn c12_a_reset_gives_nothing_back() {
    let app = App::answering(|_| {
        std::thread::sleep(Duration::from_millis(2));
        response("200 OK", "", b"")
    });
    let gateway = start(&app, 20);
    let mut connection = Connection::open(gateway.public());
    for number in 0..60 {
        let stream = 2 * number + 1;
        connection.get(stream, "/attacked/one").expect("the gateway reads");
        wait_until("the request to be decided", || {
            decisions(&gateway, "allow") + decisions(&gateway, "deny") > number as usize
        });
        connection.send(&frame(RST_STREAM, 0, stream, &CANCEL)).expect("the gateway reads");
    }
    assert_eq!((decisions(&gateway, "allow"), decisions(&gateway, "deny")), (20, 40));
    assert!(app.seen().len() <= 20);
}

/// Frames about a stream.
type Provoke = fn(u32) -> Vec<u8>;

/// What makes a server reset a stream by itself, for a stream that is under way.
fn provocations() -> Vec<(&'static str, Provoke)> {
    vec![
        ("an increment of nothing", |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
        ("a window beyond all bounds", |stream| {
            frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)
        }),
        ("a body after the end", |stream| frame(DATA, 0, stream, b"more")),
        ("a head after the end", |stream| frame(HEADERS, WHOLE, stream, &get("/attacked/one"))),
        ("a stream that waits for itself", |stream| {
            frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat())
        }),
        ("a priority of four bytes", |stream| frame(PRIORITY, 0, stream, &[0; 4])),
        ("less than is announced", |stream| {
            // On a stream of its own, which no request has ended.
            let block =
                [get("/attacked/one"), crate::support::http2::block(&[("content-length", "9")])];
            let open = frame(HEADERS, 4, stream + 6_000, &block.concat());
            [open, frame(DATA, END_STREAM, stream + 6_000, b"less")].concat()
        }),
    ]
}

/// C-12, CVE-2025-8671: the client makes the gateway reset.
#[test]
fn c12_made_you_reset_ends_the_connection() {
    let app = App::answering(|_| {
        std::thread::sleep(Duration::from_millis(1));
        response("200 OK", "", b"")
    });
    for (what, provoke) in provocations() {
        let gateway = start(&app, 50);
        let before = app.seen().iter().filter(|seen| seen.target == "/attacked/one").count();
        let mut ends = BTreeMap::new();
        let meanwhile = while_others_ask(&gateway, || {
            for _ in 0..10 {
                let mut connection = Connection::open(gateway.public());
                let mut bytes = Vec::new();
                for number in 0..PROVOKED as u32 {
                    let stream = 2 * number + 1;
                    bytes.extend(frame(HEADERS, WHOLE, stream, &get("/attacked/one")));
                    bytes.extend(provoke(stream));
                }
                // Else a connection that lives would be waited for.
                bytes.extend(frame(GOAWAY, 0, 0, &[0; 8]));
                let _ = connection.send(&bytes);
                *ends.entry(connection.end()).or_insert(0) += 1;
            }
        });
        println!("{what}: {ends:?}, {meanwhile:?}");
        let error = |end: &End| matches!(end, End::GoAway(1..) | End::Closed);
        assert!(ends.keys().all(error), "{what}: {ends:?}");
        assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{what}: {meanwhile:?}");
        let seen = app.seen().iter().filter(|seen| seen.target == "/attacked/one").count() - before;
        assert!(seen <= 50, "{what}: {seen}");
    }
}
