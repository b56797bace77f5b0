//! An application that notes every request it gets and answers as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as the application saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What to answer: everything after the status line's `HTTP/1.1 `, head and body.
type Answer = dyn Fn(&Seen) -> Vec<u8> + Send + Sync;

/// A running application.
pub(crate) struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "`{name}` came more than once: {self:?}");
        value
    }
}

impl App {
    /// An application that answers 200 and `hello`.
    pub(crate) fn start() -> Self {
        Self::answering(|_| response("200 OK", "", b"hello"))
    }

    pub(crate) fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notes, answer) = (Arc::clone(&notes), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream, &notes, &*answer));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics while holding it").clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request has come")
    }
}

/// An answer with a length.
pub(crate) fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn serve(stream: &TcpStream, notes: &Mutex<Vec<Seen>>, answer: &Answer) {
    // Head and body leave in two writes: without this the second waits for the first's receipt.
    stream.set_nodelay(true).expect("an open socket");
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader) {
        let answer = answer(&seen);
        notes.lock().expect("no test panics while holding it").push(seen);
        let mut writer = stream;
        if writer.write_all(b"HTTP/1.1 ").and_then(|()| writer.write_all(&answer)).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Seen> {
    let start = read_line(reader)?;
    let target = start.split(' ').nth(1)?.to_owned();
    let mut seen = Seen { target, ..Seen::default() };
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        seen.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if seen.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return Some(seen);
            }
            seen.body.extend_from_slice(&chunk[..size]);
        }
    }
    let length =
        seen.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    seen.body.resize(length, 0);
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
