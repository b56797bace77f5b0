//! Clients that go away: before the head of their request is complete, in its body, while they wait,
//! in the middle of the answer, and after it; over HTTP/1.1 and HTTP/2.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::load::Caller;

/// The ways in which the application answers.
pub(crate) const WAYS: [&str; 6] = ["fine", "big", "wait", "reset", "cut", "nobody"];
/// Longest wait for an answer: beyond it a client goes away as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// One client, from beginning to end; what it gets does not matter.
pub(crate) fn ask(gateway: SocketAddr, name: &str) {
    let way = WAYS[fastrand::usize(..WAYS.len())];
    let path = format!("/{name}/{way}");
    if fastrand::u8(..8) == 0 {
        return keep_asking(gateway, &path);
    }
    let Ok(mut stream) = TcpStream::connect(gateway) else {
        // It has been killed; another one comes.
        return pause();
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
    match fastrand::u8(..6) {
        0 => drop(stream.write_all(format!("GET {path} HTTP/1.1\r\nhos").as_bytes())),
        1 => {
            send(&mut stream, "POST", &path, "content-length: 1000\r\n");
            let _ = stream.write_all(b"not all of it");
            pause();
        }
        2 => {
            send(&mut stream, "GET", &path, "");
            pause();
        }
        3 => {
            send(&mut stream, "GET", &path, "");
            let _ = stream.read(&mut [0]);
        }
        4 => {
            let _ = stream.write_all(&http_2(&path));
            if fastrand::bool() {
                let _ = stream.read(&mut [0; 64]);
            }
            pause();
            // Half of them say so before they go.
            if fastrand::bool() {
                let _ = stream.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
                pause();
            }
        }
        _ => {
            send(&mut stream, "POST", &path, "connection: close\r\ncontent-length: 4\r\n");
            let _ = stream.write_all(b"body");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }
}

/// Three requests on one connection, each answered.
fn keep_asking(gateway: SocketAddr, path: &str) {
    let mut caller = Caller::new(gateway);
    for _ in 0..3 {
        let _ = caller.get(path, "");
    }
}

pub(crate) fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &str) {
    let _ = stream
        .write_all(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").as_bytes());
}

/// Up to a few milliseconds: before, while and after the application works.
fn pause() {
    std::thread::sleep(Duration::from_micros(fastrand::u64(..4_000)));
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_OF_BOTH: u8 = 5;

/// A GET over HTTP/2, by RFC 7541's static table: `:method` GET, `:scheme` http, `:authority` a, and
/// the path.
fn http_2(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    let head = [b"\x82\x86\x01\x01a\x04", &[length][..], path.as_bytes()].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, b""), frame(HEADERS, END_OF_BOTH, 1, &head)].concat()
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}
