//! C-13: frames that cost the sender little.

use std::collections::BTreeMap;

use super::{GROWTH_MAX, decisions, start, start_with, while_others_ask};
use crate::support::app::{App, response};
use crate::support::gateway::Gateway;
use crate::support::http2::{
    CONTINUATION, Connection, DATA, END_HEADERS, End, HEADERS, PING, SETTINGS, WHOLE, block, frame,
    get, request, text,
};
use crate::support::redis::wait_until;

/// Sent of each flood, unless the gateway closes before.
const FLOOD: usize = 32 << 20;

/// Sends `first` and then `again` until the gateway closes or so much was sent; how much that was,
/// and how it ended.
fn flood(gateway: &Gateway, first: &[u8], again: &[u8]) -> (usize, Option<End>) {
    let mut connection = Connection::open(gateway.public());
    let mut sent = first.len();
    let piece = again.repeat((64 * 1024 / again.len()).max(1));
    if connection.send(first).is_err() {
        return (sent, Some(connection.end()));
    }
    while sent < FLOOD {
        if connection.send(&piece).is_err() {
            return (sent, Some(connection.end()));
        }
        sent += piece.len();
    }
    (sent, None)
}

/// A flood that ends the connection, soon.
fn is_ended(what: &str, first: &[u8], again: &[u8]) {
    let app = App::start();
    let gateway = start(&app, 50);
    let mut ends = Vec::new();
    let meanwhile = while_others_ask(&gateway, || {
        for _ in 0..5 {
            ends.push(flood(&gateway, first, again));
        }
    });
    eprintln!("{what}: {ends:?}, {meanwhile:?}");
    assert!(ends.iter().all(|(_, end)| end.is_some()), "{what}: {ends:?}");
    assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{what}: {meanwhile:?}");
    let seen = app.seen().iter().filter(|seen| seen.target != "/other").count();
    assert!(seen <= decisions(&gateway, "allow"), "{what}: {seen}");
}

#[test]
fn c13_continuations_without_end() {
    let first = frame(HEADERS, 1, 1, &get("/attacked/one"));
    is_ended("empty continuations", &first, &frame(CONTINUATION, 0, 1, b""));
    let header = block(&[("x-more", &"m".repeat(1000))]);
    is_ended("continuations", &first, &frame(CONTINUATION, 0, 1, &header));
    // A single value that never ends: nothing of it can be decoded.
    let endless = [&[0][..], &text("x-long"), &[0x7f, 0xff, 0xff, 0xff, 0x07]].concat();
    let first = frame(HEADERS, 1, 1, &[get("/attacked/one"), endless].concat());
    is_ended("one endless value", &first, &frame(CONTINUATION, 0, 1, &[b'v'; 16_000]));
}

/// C-13: an entry of the table is named by one byte, and counts for all of its own.
#[test]
fn c13_a_block_that_becomes_a_bomb() {
    let app = App::start();
    let gateway = start(&app, 50);
    // Into the table (RFC 7541, 6.2.1), and then by its place there, over and over.
    let entry = [&[0x40][..], &text("x-bomb"), &text(&"b".repeat(3_900))].concat();
    let bomb = [get("/attacked/one"), entry, vec![0xbe; 12_000]].concat();
    let mut ends = Vec::new();
    let meanwhile = while_others_ask(&gateway, || {
        for _ in 0..20 {
            let mut connection = Connection::open(gateway.public());
            let _ = connection.send(&frame(HEADERS, WHOLE, 1, &bomb));
            ends.push(connection.end_of(&[1]).1);
        }
    });
    println!("a bomb of {} MB: {ends:?}, {meanwhile:?}", 12_000 * 3_900 / 1_000_000);
    let refused = |end: &End| matches!(end, End::Answer(431) | End::Reset(_) | End::GoAway(_));
    assert!(ends.iter().all(refused), "{ends:?}");
    assert!(meanwhile.growth < GROWTH_MAX, "{meanwhile:?}");
    assert_eq!(app.seen().iter().filter(|seen| seen.target != "/other").count(), 0);
}

/// C-13: more headers than are allowed, in plain.
#[test]
fn c13_too_many_headers_are_refused() {
    let app = App::start();
    let gateway = start(&app, 50);
    let value = "v".repeat(1_000);
    for (count, passes) in [(8, true), (36, false), (60, false)] {
        let headers = block(&vec![("x-more", value.as_str()); count]);
        let block = [get("/attacked/one"), headers].concat();
        let mut connection = Connection::open(gateway.public());
        let (first, rest) = block.split_at(block.len().min(8_000));
        let flags = if rest.is_empty() { WHOLE } else { 1 };
        connection.send(&frame(HEADERS, flags, 1, first)).expect("the gateway reads");
        let mut rest = rest.chunks(8_000).peekable();
        while let Some(piece) = rest.next() {
            let flags = if rest.peek().is_none() { END_HEADERS } else { 0 };
            let _ = connection.send(&frame(CONTINUATION, flags, 1, piece));
        }
        let end = connection.end_of(&[1]).1;
        println!("{count} KB of headers: {end:?}");
        assert_eq!(end == End::Answer(200), passes, "{count} KB: {end:?}");
    }
    assert_eq!(app.seen().len(), 1);
}

/// C-13: frames that want an answer. Who does not read it is not read either: nothing piles up.
#[test]
fn c13_settings_and_pings() {
    let app = App::start();
    let gateway = start(&app, 50);
    for (what, bytes) in [
        ("settings", frame(SETTINGS, 0, 0, b"")),
        ("settings that change", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("pings", frame(PING, 0, 0, &[7; 8])),
    ] {
        let mut connection = Connection::open(gateway.public());
        let meanwhile = while_others_ask(&gateway, || {
            connection.write_for_a_while(&bytes, FLOOD);
        });
        println!("{what}: {meanwhile:?}");
        assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{what}: {meanwhile:?}");
    }
}

/// C-13: pieces of a body with nothing in them.
#[test]
fn c13_empty_pieces_of_a_body() {
    let app = App::start();
    let first = frame(HEADERS, END_HEADERS, 1, &request("POST", "/attacked/one"));
    let gateway = start(&app, 50);
    let mut ends = Vec::new();
    let meanwhile = while_others_ask(&gateway, || {
        for piece in [&b""[..], b"x"] {
            ends.push(flood(&gateway, &first, &frame(DATA, 0, 1, piece)));
        }
    });
    println!("empty pieces, and of a byte: {ends:?}, {meanwhile:?}");
    assert!(ends[0].1.is_some(), "{ends:?}");
    assert!(meanwhile.served > 0 && meanwhile.growth < GROWTH_MAX, "{meanwhile:?}");
}

/// C-13: who asks for much and takes nothing of it. What waits for him is bounded, and not for long.
#[test]
fn c13_windows_of_nothing() {
    const ANSWER: usize = 1 << 20;
    const CONNECTIONS: usize = 4;
    /// Of one connection with a hundred streams.
    const HELD_MAX: u64 = 80 << 20;
    let app = App::answering(|_| response("200 OK", "", &vec![b'a'; ANSWER]));
    let gateway = start_with(&app, 1_000_000, "write_timeout = \"10s\"");
    let streams: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    let mut connections = Vec::new();
    let mut ends = BTreeMap::new();
    let meanwhile = while_others_ask(&gateway, || {
        for _ in 0..CONNECTIONS {
            // No table, and a window of nothing.
            let settings = [0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
            let mut connection = Connection::open_with(gateway.public(), &settings);
            for stream in &streams {
                connection.get(*stream, "/attacked/big").expect("the gateway reads");
            }
            for _ in &streams {
                *ends.entry(connection.end_of(&streams).1).or_insert(0) += 1;
            }
            connections.push(connection);
        }
    });
    println!("{CONNECTIONS} connections that take nothing: {ends:?}, {meanwhile:?}");
    assert!(meanwhile.growth < CONNECTIONS as u64 * HELD_MAX, "{meanwhile:?}");
    wait_until("the gateway to be rid of them", || {
        gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0
    });
    for connection in &mut connections {
        assert!(matches!(connection.end_of(&streams).1, End::Reset(_) | End::GoAway(_)));
    }
}
