//! An application that fails in every way that an application can.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than a socket takes at once: who goes away in the middle has not read it.
const BIG: usize = 4 << 20;

pub(crate) struct RoughApp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl RoughApp {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&notes);
                std::thread::spawn(move || serve(stream, &notes));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come to be answered in this way.
    pub(crate) fn seen(&self, way: &str) -> usize {
        self.seen.lock().expect("nobody panics").iter().filter(|seen| *seen == way).count()
    }
}

fn serve(stream: TcpStream, notes: &Mutex<Vec<String>>) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    while let Some((way, length)) = head(&mut reader) {
        notes.lock().expect("nobody panics").push(way.clone());
        // It ends without having read the body: the connection is reset.
        if way == "reset" {
            return;
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let sent = match way.as_str() {
            "wait" => {
                // The gateway gives up first.
                let _ = reader.read(&mut [0]);
                return;
            }
            "cut" => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
                return;
            }
            "big" => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n");
                writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&vec![b'x'; BIG]))
            }
            _ => {
                std::thread::sleep(Duration::from_millis(2));
                writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The last segment of the path, and the length of the body.
fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let way = line.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let text = line.trim_end().to_ascii_lowercase();
        if text.is_empty() {
            return Some((way, length));
        }
        if let Some(number) = text.strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
    }
}
