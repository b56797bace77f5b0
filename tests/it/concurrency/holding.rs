//! An application that keeps requests until it is told to answer, and clients that wait for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::support::raw;

/// Only a hang runs into it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The application. A request with `Upgrade` gets a 101 and then back what it sends; every other one
/// is kept until [`Self::release`].
pub(crate) struct HoldingApp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    entered: AtomicUsize,
    rounds: Mutex<usize>,
    released: Condvar,
}

/// What came of a request.
pub(crate) enum Came {
    /// It is with the application; its answer is still to come.
    In(TcpStream),
    /// It was answered by the gateway, with this head.
    Answered(String),
}

// === impl HoldingApp ===

impl HoldingApp {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers every request that is kept.
    pub(crate) fn release(&self) {
        *self.shared.rounds.lock().expect("nobody panics") += 1;
        self.shared.released.notify_all();
    }

    /// Sends a request with these further header lines and waits until it is here or answered.
    pub(crate) fn send(&self, gateway: SocketAddr, headers: &str) -> Came {
        let before = self.shared.entered.load(Ordering::SeqCst);
        let mut stream = raw::connect(gateway);
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("the gateway reads");
        let until = Instant::now() + ANSWER_TIMEOUT;
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a valid timeout");
        loop {
            assert!(Instant::now() < until, "neither let in nor answered");
            if self.shared.entered.load(Ordering::SeqCst) > before {
                stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a valid timeout");
                return Came::In(stream);
            }
            match stream.peek(&mut [0]) {
                // A socket is answered at once.
                Ok(_) if self.shared.entered.load(Ordering::SeqCst) > before => {}
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("the gateway broke off: {error}"),
            }
        }
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a valid timeout");
        Came::Answered(raw::read_answer(&mut stream).0)
    }

    /// Sends so many requests one after the other; those that are with the application.
    pub(crate) fn fill(&self, gateway: SocketAddr, count: usize) -> Vec<TcpStream> {
        self.fill_with(gateway, "", count)
    }

    /// The same with these further header lines, each ended by a line break.
    pub(crate) fn fill_with(
        &self,
        gateway: SocketAddr,
        headers: &str,
        count: usize,
    ) -> Vec<TcpStream> {
        let sent = (0..count).map(|_| self.send(gateway, headers));
        sent.filter_map(|came| match came {
            Came::In(stream) => Some(stream),
            Came::Answered(head) => {
                assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
                None
            }
        })
        .collect()
    }
}

impl Came {
    pub(crate) fn stream(self) -> TcpStream {
        match self {
            Self::In(stream) => stream,
            Self::Answered(head) => panic!("answered: {head}"),
        }
    }

    pub(crate) fn head(self) -> String {
        match self {
            Self::In(_) => panic!("it is with the application"),
            Self::Answered(head) => head,
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        loop {
            while !head.ends_with(b"\r\n\r\n") {
                if !matches!(stream.read(&mut byte), Ok(1)) {
                    return;
                }
                head.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            head.clear();
            if text.contains("\r\nupgrade:") {
                return self.echo(&mut stream);
            }
            let mut rounds = self.rounds.lock().expect("nobody panics");
            let round = *rounds;
            self.entered.fetch_add(1, Ordering::SeqCst);
            while *rounds == round {
                rounds = self.released.wait(rounds).expect("nobody panics");
            }
            drop(rounds);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }

    fn echo(&self, stream: &mut TcpStream) {
        let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                         upgrade: websocket\r\n\r\n";
        self.entered.fetch_add(1, Ordering::SeqCst);
        stream.write_all(switching.as_bytes()).expect("the gateway reads");
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..length]).is_err() {
                return;
            }
        }
    }
}
