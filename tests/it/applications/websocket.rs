//! The WebSocket protocol through the gateway, to uvicorn.

use std::net::SocketAddr;

use super::server::uvicorn;
use super::wire::Wire;
use super::{Answer, Pair, noise};

/// The example of RFC 6455, section 1.3: a key, and what only a WebSocket server answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The first bit of a length: what follows is masked.
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client that speaks just enough of the protocol.
pub(crate) struct Socket {
    wire: Wire,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr) -> (Self, Answer) {
        let (socket, answer) = Self::ask(address, "/socket");
        assert_eq!(
            (answer.status, answer.header("sec-websocket-accept")),
            (101, Some(ACCEPT)),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("upgrade").map(str::to_ascii_lowercase),
            Some("websocket".to_owned())
        );
        (socket, answer)
    }

    pub(crate) fn ask(address: SocketAddr, path: &str) -> (Self, Answer) {
        let mut wire = Wire::open(address);
        let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n";
        let key = format!("sec-websocket-key: {KEY}\r\n");
        wire.send(
            format!("GET {path} HTTP/1.1\r\nhost: example.org\r\n{upgrade}{key}\r\n").as_bytes(),
        );
        let answer = wire.head();
        (Self { wire }, answer)
    }

    /// One whole message, masked as a client has to.
    pub(crate) fn send(&mut self, kind: u8, content: &[u8]) {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![0x80 | kind];
        let length = content.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => frame.push(MASKED + short),
            (_, Ok(long)) => {
                frame.push(MASKED + 126);
                frame.extend(long.to_be_bytes());
            }
            _ => {
                frame.push(MASKED + 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.wire.send(&frame);
    }

    pub(crate) fn read(&mut self) -> (u8, Vec<u8>) {
        let head = self.wire.exactly(2);
        assert!(head[0] & 0x80 != 0, "a whole message in one frame");
        assert!(head[1] & 0x80 == 0, "a server does not mask");
        let more = match head[1] {
            126 => self.wire.exactly(2),
            127 => self.wire.exactly(8),
            short => vec![short],
        };
        let length = more.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        (head[0] & 0x0f, self.wire.exactly(length))
    }
}

#[test]
fn messages_pass_both_ways() {
    let server = uvicorn();
    let pair = Pair::of(server.address());
    pair.same("messages", |address| {
        let (mut socket, answer) = Socket::open(address);
        assert_eq!(socket.read(), (TEXT, b"welcome".to_vec()), "the server speaks first");
        for word in ["one", "", "gr\u{fc}\u{df}e \u{1f30a}", &"long".repeat(10_000)] {
            socket.send(TEXT, word.as_bytes());
            assert_eq!(socket.read(), (TEXT, word.as_bytes().to_vec()));
        }
        for length in [125, 126, 65_535, 65_536, 1 << 20] {
            let content = noise(length as u64, length);
            socket.send(BINARY, &content);
            assert!(socket.read() == (BINARY, content), "{length} bytes came back changed");
        }
        socket.send(PING, b"still there?");
        assert_eq!(socket.read(), (PONG, b"still there?".to_vec()));
        answer
    });
}

#[test]
fn either_side_ends_the_conversation() {
    let server = uvicorn();
    let pair = Pair::of(server.address());
    for (word, code) in [("bye", 4000_u16), ("", 1000)] {
        pair.same("ends", |address| {
            let (mut socket, mut answer) = Socket::open(address);
            assert_eq!(socket.read().1, b"welcome");
            if word.is_empty() {
                socket.send(CLOSE, &code.to_be_bytes());
            } else {
                socket.send(TEXT, word.as_bytes());
            }
            let (kind, content) = socket.read();
            assert_eq!((kind, &content[..2]), (CLOSE, &code.to_be_bytes()[..]));
            if !word.is_empty() {
                socket.send(CLOSE, &code.to_be_bytes());
            }
            answer.body = socket.wire.rest();
            assert!(answer.body.is_empty(), "the connection ends after it");
            answer
        });
    }
}

#[test]
fn what_is_no_place_for_websockets_says_so() {
    let server = uvicorn();
    let pair = Pair::of(server.address());
    let answer = pair.same("elsewhere", |address| Socket::ask(address, "/elsewhere").1);
    assert_eq!(answer.status, 403);
    // It is a plain page when nobody asks for more.
    assert_eq!(pair.get("/socket", &[]).status, 404);
}

/// Each has its own connection to the application, and none waits for another.
#[test]
fn sockets_are_open_side_by_side() {
    let server = uvicorn();
    let pair = Pair::of(server.address());
    let mut sockets: Vec<Socket> = (0..20).map(|_| Socket::open(pair.gateway.public()).0).collect();
    for round in 0..3 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(TEXT, format!("{number} {round}").as_bytes());
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            if round == 0 {
                assert_eq!(socket.read().1, b"welcome");
            }
            assert_eq!(socket.read(), (TEXT, format!("{number} {round}").into_bytes()));
        }
    }
}
