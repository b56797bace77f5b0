//! The same heads over HTTP/2: they are read as in HTTP/1. Frames are made by hand, since no library
//! sends these.

use std::io::{Read, Write};

use super::scene::Scene;
use crate::support::raw;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
/// The length of a frame's head.
const FRAME_HEAD: usize = 9;
/// How the first byte of an answer's headers says its status: names of the static table.
const STATUSES: [(u8, u16); 3] = [(0x88, 200), (0x8c, 400), (0x8d, 404)];
const FOUR_SEVENTEEN: &[u8] = b"417";

/// Asks with these fields, literally; the status.
fn ask(scene: &Scene, fields: &[(&str, &str)]) -> u16 {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut stream = raw::connect(scene.gateway.public());
    let mut sent = PREFACE.to_vec();
    sent.extend_from_slice(&[0, 0, u8::try_from(block.len()).expect("short"), 1, 5, 0, 0, 0, 1]);
    sent.extend_from_slice(&block);
    stream.write_all(&sent).expect("the gateway reads");
    loop {
        let mut head = [0; FRAME_HEAD];
        stream.read_exact(&mut head).expect("the gateway answers");
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).expect("a whole frame");
        if head[3] == HEADERS {
            return status(&payload);
        }
    }
}

fn status(block: &[u8]) -> u16 {
    let known = STATUSES.iter().find(|(byte, _)| block.first() == Some(byte));
    let literal = block.windows(3).any(|window| window == FOUR_SEVENTEEN);
    known.map_or(if literal { 417 } else { 0 }, |(_, status)| *status)
}

/// A GET of this path from `a`, with more fields.
fn get<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let start = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")];
    [&start[..], more].concat()
}

#[test]
fn c07_to_c19_are_read_in_http2_as_in_http1() {
    let config = "[request]\n[client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
                  [identity.header]\nuser = \"x-user-id\"\n";
    let scene = Scene::with_server("h2c = true\n", config);
    for (path, more, reason) in [
        ("/a%2fb", &[][..], "path-slash"),
        ("/../a", &[], "path-root"),
        ("/a%zz", &[], "path-escape"),
        ("/", &[("x-user-id", "a"), ("x-user-id", "b")], "duplicate"),
        ("/", &[("authorization", "a"), ("authorization", "b")], "duplicate"),
        ("/", &[("host", "a b")], "host"),
    ] {
        let before = (scene.malformed(reason), scene.served(), scene.charged("all"));
        let status = ask(&scene, &get(path, more));
        // A `Host` that is not `:authority` Pingora refuses by itself.
        let counted = u64::from(reason != "host");
        assert_eq!(status, 400, "{path} {more:?}");
        let after = (scene.malformed(reason), scene.served(), scene.charged("all"));
        assert_eq!(after, (before.0 + counted, before.1, before.2), "{path} {more:?}");
    }
    let lines = [("x_own", "1"), ("x-http-method-override", "PUT"), ("x-fine", "2")];
    assert_eq!(ask(&scene, &get("/b//%63?d", &lines)), 200);
    let seen = scene.app.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/b//%63?d", Some("a")));
    let kept = ["x_own", "x-http-method-override", "x-fine"].map(|name| seen.header(name));
    assert_eq!(kept, [None, None, Some("2")]);
}
