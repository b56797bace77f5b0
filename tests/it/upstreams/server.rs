//! A server of the application that can be killed as a process is: its listener is gone, its
//! connections are closed, and whatever was under way is lost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, spawn};

use crate::support::redis::free_port;

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Closes the connection.
    Break,
    /// Makes a tunnel of it, and says nothing until the other side ends it.
    Switch,
}

type Handler = dyn Fn(&str) -> Reply + Send + Sync;

/// A server; dead when dropped.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    running: Option<Running>,
}

struct Running {
    alive: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

/// What came of all its lives.
struct Seen {
    handler: Box<Handler>,
    /// Requests by method and target.
    requests: Mutex<BTreeMap<String, usize>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// Where requests wait until a test lets them go on.
#[derive(Clone, Default)]
pub(super) struct Barrier(Arc<(Mutex<bool>, Condvar)>);

// === impl Server ===

impl Server {
    /// One that answers 200.
    pub(super) fn start() -> Self {
        Self::doing(|_| Reply::Status(200))
    }

    /// One that does with each request, given its method and target, what `handler` says.
    pub(super) fn doing(handler: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let mut server = Self::dead(handler);
        loop {
            match TcpListener::bind(server.address) {
                Ok(listener) => server.listen(listener),
                // Somebody else was faster; the port was only believed to be free.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    server.address.set_port(free_port());
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            return server;
        }
    }

    /// The same that does not listen yet.
    pub(super) fn dead(handler: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Seen {
            handler: Box::new(handler),
            requests: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self { address, seen: Arc::new(seen), running: None }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that it got, in all its lives.
    pub(super) fn requests(&self) -> usize {
        self.seen.requests.lock().unwrap().values().sum()
    }

    /// Those with this method and target.
    pub(super) fn requests_for(&self, what: &str) -> usize {
        self.seen.requests.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// Requests that it works on.
    pub(super) fn under_way(&self) -> usize {
        self.seen.under_way.load(Ordering::SeqCst)
    }

    /// The most that it ever worked on at once.
    pub(super) fn most_under_way(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    pub(super) fn revive(&mut self) {
        self.listen(TcpListener::bind(self.address).expect("its port is free"));
    }

    fn listen(&mut self, listener: TcpListener) {
        assert!(self.running.is_none(), "it lives");
        let alive = Arc::new(AtomicBool::new(true));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (life, all, seen) = (Arc::clone(&alive), Arc::clone(&connections), &self.seen);
        let seen = Arc::clone(seen);
        let accepting = spawn(move || {
            for stream in listener.incoming().flatten() {
                all.lock().unwrap().push(stream.try_clone().expect("a second handle"));
                // Looked at with the connection in the list: either it is found there, or this is.
                if !life.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, life) = (Arc::clone(&seen), Arc::clone(&life));
                spawn(move || serve(&stream, &seen, &life));
            }
        });
        self.running = Some(Running { alive, connections, accepting });
    }

    pub(super) fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.alive.store(false, Ordering::SeqCst);
        let woken = TcpStream::connect(self.address);
        running.accepting.join().expect("it does not panic");
        drop(woken);
        for connection in running.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(stream: &TcpStream, seen: &Seen, alive: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(what) = read(&mut reader) {
        *seen.requests.lock().unwrap().entry(what.clone()).or_default() += 1;
        let now = seen.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        let reply = (seen.handler)(&what);
        seen.under_way.fetch_sub(1, Ordering::SeqCst);
        if reply == Reply::Switch {
            let mut tunnel = stream;
            let _ = tunnel.write_all(SWITCH).and_then(|()| tunnel.read_to_end(&mut Vec::new()));
        }
        let Reply::Status(status) = reply else { break };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
        let mut writer = stream;
        if !alive.load(Ordering::SeqCst) || writer.write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Method and target of the next request.
fn read(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let what = line.rsplit_once(' ')?.0.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(bytes) = lower.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(what)
}

// === impl Barrier ===

impl Barrier {
    /// Waits until it is open.
    pub(super) fn pass(&self) {
        let (open, changed) = &*self.0;
        let waiting = changed.wait_while(open.lock().unwrap(), |open| !*open);
        drop(waiting.unwrap());
    }

    pub(super) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }
}
