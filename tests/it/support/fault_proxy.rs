//! A TCP proxy that misbehaves on demand: between a gateway and its Redis, or anything else.
//!
//! One behaviour holds for all connections, those that are open and those to come, or for those from
//! one address: so that some clients lose a server that others still reach. A stream that
//! lost bytes in a black hole never goes on: TCP delivers everything in order or nothing, and a
//! stream with a hole in it would be a fault that no network has. A reset is seen within one
//! `TICK`, since both directions have to let go of the sockets first.
//!
//! Not promised: dropped packets. The kernel at the other end always gets its acknowledgements.

mod tests;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use redis::io::tcp::socket2::SockRef;

/// How often a waiting thread looks whether anything has changed.
const TICK: Duration = Duration::from_millis(10);
/// Who does not take bytes, or a connection, for so long is cut off.
const STUCK: Duration = Duration::from_secs(2);
/// Connections open at once; more are closed at once.
const OPEN_MAX: usize = 256;
const CHUNK: usize = 16 * 1024;
const SEED: u64 = 7;

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// They pass.
    Pass,
    /// Each chunk of a reply waits so long before it passes; the next waits behind it. Requests
    /// are not delayed.
    Delay(Duration),
    /// Connections are accepted, bytes and ends swallowed, and nothing is ever answered.
    BlackHole,
    /// In place of so many chunks of a hundred, the connection is reset.
    Reset { percent: u8 },
    /// The client reads an end at once, and may go on writing.
    HalfClose,
    /// In so many chunks of a hundred of the replies, one byte is another one.
    Corrupt { percent: u8 },
    /// So many chunks of a hundred of the replies come twice.
    Repeat { percent: u8 },
    /// Nothing passes for as long as this lasts, then everything does: a network that is parted,
    /// and whose streams go on when it is whole again.
    Hold,
    /// Connections are closed at once, open ones reset.
    Refuse,
}

/// A running proxy; it and its connections end when it is dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    behaviour: Mutex<Behaviour>,
    /// The behaviour towards the clients of one address, in place of the other.
    apart: Mutex<Option<(IpAddr, Behaviour)>>,
    random: Mutex<fastrand::Rng>,
    open: Mutex<Vec<Weak<Pair>>>,
    ended: AtomicBool,
}

/// The two sockets of a connection. Whoever drops it last closes them.
struct Pair {
    from: IpAddr,
    client: TcpStream,
    server: TcpStream,
    /// Bytes were lost: nothing passes any more.
    holed: AtomicBool,
    /// To be reset.
    cut: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// A proxy to `target` on a free port, which lets everything pass.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            target,
            behaviour: Mutex::new(Behaviour::Pass),
            apart: Mutex::default(),
            random: Mutex::new(fastrand::Rng::with_seed(SEED)),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = Some(spawn(move || accepting.accept(&listener)));
        Self { address, shared, acceptor }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as that of a Redis.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Switches all connections, open ones and those to come.
    pub(crate) fn set(&self, behaviour: Behaviour) {
        *lock(&self.shared.apart) = None;
        *lock(&self.shared.behaviour) = behaviour;
        self.apply();
    }

    /// Switches the connections from this address alone, until all are switched again.
    pub(crate) fn set_for(&self, from: IpAddr, behaviour: Behaviour) {
        *lock(&self.shared.apart) = Some((from, behaviour));
        self.apply();
    }

    /// Does to open connections what is done once.
    fn apply(&self) {
        for pair in self.shared.pairs() {
            match self.shared.behaviour(pair.from) {
                Behaviour::HalfClose => pair.half_close(),
                Behaviour::Refuse => pair.reset(),
                _ => {}
            }
        }
        self.wait_for_resets();
    }

    /// Resets every open connection, and returns when that is done.
    pub(crate) fn cut(&self) {
        for pair in self.shared.pairs() {
            pair.reset();
        }
        self.wait_for_resets();
    }

    fn wait_for_resets(&self) {
        let is_cut =
            |pair: Weak<Pair>| pair.upgrade().is_none_or(|pair| !pair.cut.load(Ordering::Relaxed));
        while !lock(&self.shared.open).iter().cloned().all(is_cut) {
            sleep(TICK);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let full = self.pairs().len() >= OPEN_MAX;
            let Ok(peer) = client.peer_addr() else { continue };
            if !full && self.behaviour(peer.ip()) != Behaviour::Refuse {
                self.join(client, peer.ip());
            }
        }
    }

    /// Connects the client to the target, or resets it.
    fn join(self: &Arc<Self>, client: TcpStream, from: IpAddr) {
        let Ok(server) = TcpStream::connect_timeout(&self.target, STUCK) else {
            return linger_not(&client);
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("an open socket");
            stream.set_write_timeout(Some(STUCK)).expect("a valid time");
            stream.set_read_timeout(Some(TICK)).expect("a valid time");
        }
        let [holed, cut] = [AtomicBool::new(false), AtomicBool::new(false)];
        let pair = Arc::new(Pair { from, client, server, holed, cut });
        let mut open = lock(&self.open);
        open.retain(|pair| pair.strong_count() > 0);
        open.push(Arc::downgrade(&pair));
        drop(open);
        // Looked at only now: a switch in between has met this connection in the list.
        match self.behaviour(from) {
            Behaviour::HalfClose => pair.half_close(),
            Behaviour::Refuse => pair.reset(),
            _ => {}
        }
        for direction in [Direction::Requests, Direction::Replies] {
            let (shared, pair) = (Arc::clone(self), Arc::clone(&pair));
            spawn(move || shared.pump(&pair, direction));
        }
    }

    fn pump(&self, pair: &Pair, direction: Direction) {
        let (mut from, mut to) = (&pair.client, &pair.server);
        if direction == Direction::Replies {
            (from, to) = (to, from);
        }
        let mut chunk = vec![0; CHUNK];
        while !self.is_over(pair) {
            let read = from.read(&mut chunk);
            self.hold(pair);
            let length = match read {
                Ok(0) => return self.end(pair, to, direction),
                Ok(length) => length,
                Err(error) if is_pause(error.kind()) => continue,
                Err(_) => return pair.reset(),
            };
            let passes = self.treat(pair, &mut chunk[..length], direction);
            for _ in 0..passes {
                if !self.is_over(pair) && to.write_all(&chunk[..length]).is_err() {
                    return pair.reset();
                }
            }
        }
    }

    /// Does to a chunk what the behaviour says; how often it passes.
    fn treat(&self, pair: &Pair, chunk: &mut [u8], direction: Direction) -> u32 {
        let reply = direction == Direction::Replies;
        match self.behaviour(pair.from) {
            Behaviour::Delay(time) if reply => self.wait(pair, time),
            Behaviour::BlackHole => pair.holed.store(true, Ordering::Relaxed),
            Behaviour::Reset { percent } if self.chance(percent) => pair.reset(),
            Behaviour::Corrupt { percent } if reply && self.chance(percent) => {
                let mut random = lock(&self.random);
                let at = random.usize(..chunk.len());
                chunk[at] ^= random.u8(1..);
            }
            // Replies have nowhere to go.
            Behaviour::HalfClose if reply => return 0,
            Behaviour::Repeat { percent } if reply && self.chance(percent) => return 2,
            _ => {}
        }
        u32::from(!pair.holed.load(Ordering::Relaxed))
    }

    /// One side has said that nothing more comes.
    fn end(&self, pair: &Pair, to: &TcpStream, direction: Direction) {
        let swallowed = self.behaviour(pair.from) == Behaviour::BlackHole;
        if swallowed && direction == Direction::Replies {
            pair.holed.store(true, Ordering::Relaxed);
            // Both sockets stay open for as long as the client keeps its own.
        } else if !swallowed && !pair.holed.load(Ordering::Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
        } else if direction == Direction::Requests {
            // The client has gone for good: nobody is left to be kept waiting.
            pair.reset();
        }
    }

    fn hold(&self, pair: &Pair) {
        while self.behaviour(pair.from) == Behaviour::Hold && !self.is_over(pair) {
            sleep(TICK);
        }
    }

    fn wait(&self, pair: &Pair, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.is_over(pair) {
            sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn is_over(&self, pair: &Pair) -> bool {
        self.ended.load(Ordering::Relaxed) || pair.cut.load(Ordering::Relaxed)
    }

    fn behaviour(&self, from: IpAddr) -> Behaviour {
        let apart = lock(&self.apart).filter(|(address, _)| *address == from);
        apart.map_or_else(|| *lock(&self.behaviour), |(_, behaviour)| behaviour)
    }

    fn chance(&self, percent: u8) -> bool {
        lock(&self.random).u8(..100) < percent
    }

    fn pairs(&self) -> Vec<Arc<Pair>> {
        lock(&self.open).iter().filter_map(Weak::upgrade).collect()
    }
}

// === impl Pair ===

impl Pair {
    /// Both directions let go of it, and the sockets close with a reset.
    fn reset(&self) {
        linger_not(&self.client);
        linger_not(&self.server);
        self.cut.store(true, Ordering::Relaxed);
    }

    fn half_close(&self) {
        let _ = self.client.shutdown(Shutdown::Write);
    }
}

/// Closing the socket sends a reset.
fn linger_not(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
