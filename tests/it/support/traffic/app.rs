//! The application behind the traffic: gives what was ordered, echoes messages, takes uploads.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};

use super::order::Order;
use super::sockets::{ACCEPT, CLOSE, read_frame, write_frame};
use super::wire::{self, Head, differs};

/// A running application. It ends with the value: all at once, like a process that is killed.
pub(crate) struct Application {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What its threads share.
#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    connections: Mutex<BTreeMap<u64, TcpStream>>,
    opened: AtomicU64,
    requests: AtomicU64,
    messages: AtomicU64,
}

// === impl Application ===

impl Application {
    pub(crate) fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The same where the test knows the address before, as that of one that has ended.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free address");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let held = Arc::clone(&shared);
        let accepting = Some(spawn(move || accept(&listener, &held)));
        Self { address, shared, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that it has got, with the openings of web sockets.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Messages of web sockets that it has echoed.
    pub(crate) fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Relaxed)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // So that the listener's thread wakes up and sees it.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.shared.connections().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let number = shared.opened.fetch_add(1, Ordering::Relaxed);
        let Ok(second) = stream.try_clone() else { continue };
        shared.connections().insert(number, second);
        let shared = Arc::clone(shared);
        spawn(move || {
            // What is wrong with a connection, its client sees and tells.
            let _ = serve(&stream, &shared);
            shared.connections().remove(&number);
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(head) = Head::read(&mut reader)? {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        if head.header("upgrade").is_some() {
            return converse(&mut reader, &mut writer, shared);
        }
        let body = head.body(&mut reader, &mut || ())?;
        let Some(order) = head.start.split(' ').nth(1).and_then(Order::of) else {
            writer.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        };
        answer(&mut writer, &head, &body, order)?;
    }
    Ok(())
}

/// An upload is answered with a little of what came, if it was right; all else with what was
/// ordered.
fn answer(writer: &mut impl Write, head: &Head, body: &[u8], order: Order) -> io::Result<()> {
    let ok = "HTTP/1.1 200 OK\r\n";
    if head.start.starts_with("POST ") {
        if differs(body, &order.content()).is_some() {
            return writer
                .write_all(b"HTTP/1.1 500 Not What Was Sent\r\ncontent-length: 0\r\n\r\n");
        }
        return wire::send(writer, ok, &order.receipt());
    }
    if !order.is_slow() {
        sleep(order.over);
    }
    wire::send(writer, ok, &order)
}

fn converse(reader: &mut impl BufRead, writer: &mut impl Write, shared: &Shared) -> io::Result<()> {
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept";
    let head = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}: {ACCEPT}\r\n\r\n");
    writer.write_all(head.as_bytes())?;
    loop {
        let (kind, content) = read_frame(reader)?;
        write_frame(writer, kind, &content, None)?;
        if kind == CLOSE {
            return Ok(());
        }
        shared.messages.fetch_add(1, Ordering::Relaxed);
    }
}
