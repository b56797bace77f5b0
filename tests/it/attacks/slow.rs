//! C-14: clients that are slow on purpose hold a connection for as long as they may and no longer,
//! and are in nobody's way.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::framing::gateway;
use super::recorder::{Recorder, tunnel};
use crate::support::gateway::Gateway;
use crate::support::raw;
use crate::support::redis::wait_until;

/// Slow clients of an ordinary run, and of a long one.
const CLIENTS: usize = 300;
const CLIENTS_SOAK: usize = 2000;
/// A byte of each comes so often.
const PACE: Duration = Duration::from_millis(250);
/// Of heads, of writing and of being idle; in a long run, where thousands have to get in before the
/// first is out, the other one.
const DEADLINE: Duration = Duration::from_secs(2);
const DEADLINE_SOAK: Duration = Duration::from_secs(10);
/// How long a body may be slow before its rate counts (`min_body_rate`).
const GRACE: Duration = Duration::from_secs(10);
/// Who is not slow: an address of their own, and so many at once.
const OTHERS: [Ipv4Addr; 4] = [Ipv4Addr::new(127, 0, 0, 2); 4];

/// `[server]` with this deadline for everything.
fn server(deadline: Duration) -> String {
    let keys = ["header_timeout", "keepalive_timeout", "read_timeout", "write_timeout"];
    let lines = keys.map(|key| format!("{key} = \"{}s\"\n", deadline.as_secs()));
    format!("{}max_connections_per_address = 4000\n", lines.concat())
}

/// Tells the others to stop, however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Header,
    Body,
    Read,
}

/// When connections were closed by the gateway, since they were opened.
type Ends = Arc<Mutex<Vec<(Slow, Duration)>>>;

fn open_connections(gateway: &Gateway) -> usize {
    gateway.metric("sluicegate_connections", &[]) as usize
}

async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    // A slow reader's own buffer would take what it does not read.
    socket.set_recv_buffer_size(4096).expect("a valid size");
    socket.connect(address).await.expect("the gateway listens")
}

/// Says a little from time to time until the gateway has had enough of it.
async fn be_slow(address: SocketAddr, slow: Slow, inside: Arc<AtomicUsize>, ends: Ends) {
    let mut stream = connect(address).await;
    let began = Instant::now();
    let head: &[u8] = match slow {
        Slow::Header => b"GET /a HTTP/1.1\r\nHost: a\r\nX: a",
        Slow::Body => b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        Slow::Read => b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    stream.write_all(head).await.expect("it is read");
    inside.fetch_add(1, Ordering::Relaxed);
    let mut space = [0; 64];
    loop {
        tokio::time::sleep(PACE).await;
        let over = match slow {
            Slow::Read => !matches!(stream.read(&mut space).await, Ok(1..)),
            Slow::Header | Slow::Body => {
                let said = stream.write_all(b"a").await;
                // An answer may come first: the connection is over when its end does.
                let answer = stream.try_read(&mut [0; 4096]);
                said.is_err() || matches!(answer, Ok(0))
            }
        };
        if over {
            ends.lock().expect("no client panics here").push((slow, began.elapsed()));
            return;
        }
    }
}

/// Asks until told to stop, and on a new connection every other time. Says how often it was
/// answered, and the longest wait.
fn ask_as_ever(gateway: SocketAddr, from: Ipv4Addr, stop: &AtomicBool) -> (usize, Duration) {
    let (mut answered, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let mut stream = raw::connect_from(IpAddr::V4(from), gateway);
        for close in ["", "connection: close\r\n"] {
            let began = Instant::now();
            let request = format!("GET /a HTTP/1.1\r\nhost: a\r\n{close}\r\n");
            stream.write_all(request.as_bytes()).expect("it is read");
            let (head, body) = raw::read_answer(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200") && body == b"ok", "{head}");
            longest = longest.max(began.elapsed());
            answered += 1;
        }
    }
    (answered, longest)
}

#[test]
fn c14_slow_clients_are_in_nobodys_way() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let (clients, deadline) =
        if soak { (CLIENTS_SOAK, DEADLINE_SOAK) } else { (CLIENTS, DEADLINE) };
    let app = Recorder::start();
    // The others ask as often as they can: their policy must not be what stops them.
    let gateway = super::framing::gateway_with(&app, &server(deadline), 10_000_000);
    let public = gateway.public();
    let (base, before) = (open_connections(&gateway), gateway.resident());
    let (stop, ends) = (AtomicBool::new(false), Ends::default());
    let inside = Arc::new(AtomicUsize::new(0));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    std::thread::scope(|scope| {
        let ask = |from| {
            scope.spawn({
                let stop = &stop;
                move || ask_as_ever(public, from, stop)
            })
        };
        let others = OTHERS.map(ask);
        let told = Stop(&stop);
        let began = Instant::now();
        for number in 0..clients {
            let slow = [Slow::Header, Slow::Body, Slow::Read][number % 3];
            runtime.spawn(be_slow(public, slow, Arc::clone(&inside), Arc::clone(&ends)));
        }
        // All at once, unless the machine is so busy that the first are out before the last is in.
        let all_at_once = || open_connections(&gateway) >= base + clients;
        let too_late = || !ends.lock().expect("no client panics here").is_empty();
        wait_until("the slow ones to be in", || {
            inside.load(Ordering::Relaxed) == clients && (all_at_once() || too_late())
        });
        let each = gateway.resident().saturating_sub(before) / clients as u64;
        let open = open_connections(&gateway);
        let after = began.elapsed();
        eprintln!("{clients} slow clients are in after {after:?}: {open} open, {each} bytes each");
        wait_until("all of them to be out", || {
            open_connections(&gateway) <= base + 2 * OTHERS.len()
        });
        eprintln!("all out after {:?}", began.elapsed());
        drop(told);
        for other in others {
            let (answered, longest) = other.join().expect("every one is answered");
            eprintln!("one of the others: {answered} answers, the longest after {longest:?}");
            assert!(answered > 10, "only {answered} answers");
        }
    });
    wait_until("the connections to be as before", || open_connections(&gateway) <= base);
    for (slow, deadline) in [(Slow::Header, deadline), (Slow::Body, GRACE)] {
        let ends = ends.lock().expect("no client panicked");
        let of = ends.iter().filter(|(known, _)| *known == slow).map(|(_, end)| *end);
        let (first, last) = (of.clone().min().expect("some"), of.max().expect("some"));
        eprintln!("{slow:?}: closed after {first:?} to {last:?}, of {deadline:?}");
        assert!(first >= deadline, "closed too early");
    }
    runtime.shutdown_background();
}

/// What was said before the end, and how long that took.
fn until_closed(gateway: &Gateway, said: &[u8]) -> (String, Duration) {
    let mut stream = raw::connect(gateway.public());
    let began = Instant::now();
    stream.write_all(said).expect("it is read");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it ends");
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn c14_who_says_nothing_is_closed_in_time() {
    let app = Recorder::start();
    let plain = gateway(&app, &server(DEADLINE));
    let h2c = gateway(&app, &format!("h2c = true\n{}", server(DEADLINE)));
    let post = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel";
    let chunked = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    let whole = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    for (name, gateway, said, expected) in [
        ("nothing", &plain, &b""[..], ""),
        ("nothing to a gateway with HTTP/2", &h2c, b"", ""),
        ("a line end, which begins nothing", &plain, b"\r\n", ""),
        ("half a head", &plain, b"GET /a HTTP/1.1\r\nHost", "HTTP/1.1 408"),
        ("half a preface", &h2c, b"PRI * HTTP", "HTTP/1.1 408"),
        ("half a preface to a gateway without HTTP/2", &plain, b"PRI * HTTP", "HTTP/1.1 408"),
        ("half a body", &plain, post, "HTTP/1.1 408"),
        ("half a chunk", &plain, chunked, "HTTP/1.1 408"),
        ("one request and no other", &plain, whole, "HTTP/1.1 200"),
        (
            "one request and half of another",
            &plain,
            b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGE",
            "HTTP/1.1 200",
        ),
    ] {
        let (answer, after) = until_closed(gateway, said);
        eprintln!("{name}: closed after {after:?}");
        assert!(answer.starts_with(expected), "{name}: {answer}");
        assert!(!expected.is_empty() || answer.is_empty(), "{name}: {answer}");
        assert!(after >= DEADLINE, "{name}: closed too early, after {after:?}");
    }
    for gateway in [&plain, &h2c] {
        wait_until("all to be closed", || open_connections(gateway) == 0);
    }
}

/// A tunnel is quiet for as long as nobody has anything to say: no minimum rate holds for it.
#[test]
fn c14_an_upgrade_that_both_have_agreed_to_may_be_quiet() {
    let app = Recorder::start();
    let gateway = gateway(&app, &server(DEADLINE));
    let mut stream = tunnel(gateway.public());
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a valid timeout");
    // A byte a second, for longer than bodies may be slow.
    while began.elapsed() < GRACE + DEADLINE {
        stream.write_all(b"f").expect("it is read");
        let answer = stream.read(&mut [0; 16]);
        let after = began.elapsed();
        assert!(answer.is_err(), "closed after {after:?}: {answer:?}");
    }
}
