//! Tunnels (WebSocket), requests that hold something, and connections that run out.

mod handshakes;
mod ports;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::concurrency::abrupt::clients::ask;
use crate::concurrency::abrupt::rough::RoughApp;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

pub(super) const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
const INSIDE: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
const OPEN_MAX: usize = 5;
const ABORTS: usize = 600;
const CLIENTS: usize = 8;

/// An application that notes every byte. It opens a tunnel to `/socket`, in which it sends back
/// what it gets, and to `/always`, whoever asks; anybody else is refused.
struct Tunnels {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    open: Arc<AtomicUsize>,
}

impl Tunnels {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (heard, open) = (Arc::default(), Arc::default());
        let own = Self { address, heard: Arc::clone(&heard), open: Arc::clone(&open) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, open) = (Arc::clone(&heard), Arc::clone(&open));
                std::thread::spawn(move || {
                    open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, &heard);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        own
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().expect("nobody panics")).into_owned()
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) {
    let (mut request, mut bytes, mut tunnel) = (Vec::new(), [0; 4096], false);
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        heard.lock().expect("nobody panics").extend_from_slice(&bytes[..read]);
        if tunnel {
            if bytes[..read].starts_with(b"bye") || stream.write_all(&bytes[..read]).is_err() {
                return;
            }
            continue;
        }
        request.extend_from_slice(&bytes[..read]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        tunnel = text.starts_with("get /always")
            || text.starts_with("get /socket") && text.contains("upgrade: websocket");
        let answer = if tunnel { SWITCH } else { REFUSAL };
        if stream.write_all(answer).is_err() {
            return;
        }
        request.clear();
    }
}

fn start(app: SocketAddr, policy: &str) -> Gateway {
    start_with(app, "", policy)
}

/// The same with a further key of the upstream.
fn start_with(app: SocketAddr, upstream: &str, policy: &str) -> Gateway {
    let app = app_at(app).replace("[[routes]]", &format!("{upstream}\n[[routes]]"));
    Gateway::start(&format!(
        "[store]\nkind = \"local\"\n{app}[policies.sockets]\n{policy}\npartition = []\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"sockets\"]\n"
    ))
}

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Asks for a tunnel; the socket, and the status.
pub(super) fn open(address: SocketAddr, path: &str) -> (TcpStream, u16) {
    let mut stream = raw::connect(address);
    stream.write_all(upgrade(path).as_bytes()).expect("the gateway reads");
    let (head, _) = raw::read_answer(&mut stream);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (stream, status.expect("a status"))
}

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"there?").expect("the tunnel is open");
    let mut echo = [0; 6];
    stream.read_exact(&mut echo).expect("it answers");
    assert_eq!(&echo, b"there?");
}

/// C-38: each handshake is charged as any request.
#[test]
fn c38_handshakes_are_charged() {
    let app = Tunnels::start();
    let gateway = start(app.address, "quota = 3\nwindow = \"1h\"");
    let statuses: Vec<u16> = (0..5).map(|_| open(gateway.public(), "/socket").1).collect();
    assert_eq!(statuses, [101, 101, 101, 429, 429]);
    assert_eq!(app.heard().matches("/socket").count(), 3);
}

/// C-38: an open socket is a request under way, until it ends, in whatever way.
#[test]
fn c38_open_sockets_are_limited() {
    let app = Tunnels::start();
    let keys = format!("algorithm = \"concurrency\"\nquota = {OPEN_MAX}");
    let gateway = start(app.address, &keys);
    let held = || gateway.metric("sluicegate_permits_held", &[]) as usize;
    let mut sockets: Vec<TcpStream> = Vec::new();
    for ending in ["the client", "the application", "the client, with bytes unread"] {
        while sockets.len() < OPEN_MAX {
            let (socket, status) = open(gateway.public(), "/socket");
            assert_eq!(status, 101, "before {ending} ends one");
            sockets.push(socket);
        }
        assert_eq!(open(gateway.public(), "/socket").1, 429);
        sockets.iter_mut().for_each(echoes);
        assert_eq!(held(), OPEN_MAX, "sockets in use are held");
        let mut last = sockets.pop().expect("one");
        match ending {
            "the application" => last.write_all(b"bye").expect("the tunnel is open"),
            "the client" => {}
            // The system resets a connection that is closed with something left to read.
            _ => last.write_all(&[b'x'; 1000]).expect("the tunnel is open"),
        }
        if ending == "the application" {
            assert_eq!(last.read(&mut [0; 16]).expect("it closes"), 0);
        }
        drop(last);
        wait_until("the permit to be back", || held() == OPEN_MAX - 1);
    }
    drop(sockets);
    wait_until("all of them to be back", || held() == 0);
    wait_until("the application to be rid of them", || app.open.load(Ordering::SeqCst) <= 1);
}

/// C-38, CVE-2026-2833: what comes behind a handshake is the application's only once it has agreed.
#[test]
fn c38_nothing_behind_a_refused_handshake_reaches_the_application() {
    let app = Tunnels::start();
    let gateway = start(app.address, "quota = 100000\nwindow = \"1h\"");
    for _ in 0..50 {
        let mut stream = raw::connect(gateway.public());
        stream.write_all((upgrade("/refused") + INSIDE).as_bytes()).expect("the gateway reads");
        let (head, body) = raw::read_answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 403") && body == b"no", "{head}");
        let _ = stream.write_all(INSIDE.as_bytes());
        // Whether what is behind is a request of its own or nothing: never bytes in a tunnel.
        let mut rest = Vec::new();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut rest);
    }
    let smuggled = app.heard().matches("GET /smuggled").count();
    let charged = gateway.metric("sluicegate_decisions_total", &["allow"]) as usize;
    let asked = app.heard().matches("HTTP/1.1\r\n").count();
    println!("{asked} requests at the application, {smuggled} of them behind, {charged} charged");
    assert_eq!(asked, charged, "each that came was charged");
}

/// Asks for what answers 101 to everybody; what comes of it is a failure and no tunnel.
fn is_no_tunnel(lines: &str) {
    let app = Tunnels::start();
    let gateway = start(app.address, "quota = 100000\nwindow = \"1h\"");
    let mut stream = raw::connect(gateway.public());
    let request = format!("GET /always HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    // Were there a tunnel, this would come back.
    let _ = stream.write_all(b"through the tunnel");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("101 Switching") && !answer.contains("through"), "{lines}: {answer}");
    assert!(answer.starts_with("HTTP/1.1 502"), "{lines}: {answer}");
    assert!(!app.heard().contains("through the tunnel"), "{}", app.heard());
}

/// C-38: a 101 that nobody has asked for is no tunnel.
#[test]
fn c38_a_101_to_a_plain_request_is_a_failure() {
    is_no_tunnel("");
    is_no_tunnel("connection: upgrade\r\n");
}

/// C-38: nor is one that half a handshake gets.
#[test]
fn c38_a_101_to_half_a_handshake_is_a_failure() {
    is_no_tunnel("upgrade: websocket\r\n");
    is_no_tunnel("connection: close\r\nupgrade: websocket\r\n");
}

/// C-38: half a handshake is none. The application does not see it as one.
#[test]
fn c38_half_a_handshake_is_none() {
    let app = Tunnels::start();
    let gateway = start(app.address, "quota = 100000\nwindow = \"1h\"");
    let halves = [
        "connection: close\r\nupgrade: websocket\r\n",
        "connection: keep-alive\r\nupgrade: websocket\r\n",
        "upgrade: websocket\r\n",
        "connection: Upgrade\r\n",
        "connection: Upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: Upgrade\r\nupgrade: tls/1.0\r\n",
        "connection: Upgrade\r\nupgrade: \r\n",
    ];
    for lines in halves {
        let request = format!("GET /socket HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        let mut stream = raw::connect(gateway.public());
        stream.write_all(request.as_bytes()).expect("the gateway reads");
        let (head, _) = raw::read_answer(&mut stream);
        println!("{lines:?}: {}", head.lines().next().unwrap_or_default());
        assert!(!head.starts_with("HTTP/1.1 101"), "{lines:?}: {head}");
    }
    let old = upgrade("/socket").replace("HTTP/1.1", "HTTP/1.0");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(old.as_bytes()).expect("the gateway reads");
    assert!(!raw::read_answer(&mut stream).0.contains(" 101 "), "HTTP/1.0 knows no upgrades");
    let heard = app.heard().to_ascii_lowercase();
    assert!(!heard.contains("upgrade: "), "{heard}");
}

/// C-39: clients that go away at every moment. The long form, with gateways that are killed and
/// 100,000 requests, is `concurrency::abrupt`.
#[test]
fn c39_aborts_leave_no_permit_behind() {
    let app = RoughApp::start();
    let keys = format!("algorithm = \"concurrency\"\nquota = {OPEN_MAX}");
    // An application that keeps silent is given up soon.
    let gateway = start_with(app.address(), "read_timeout = \"200ms\"", &keys);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while asked.fetch_add(1, Ordering::Relaxed) < ABORTS {
                    ask(gateway.public(), "alive");
                }
            });
        }
    });
    let denied = gateway.metric("sluicegate_decisions_total", &["deny"]);
    println!("{denied} of {ABORTS} were denied");
    assert!(denied > 0.0, "some met the limit, so permits were held");
    wait_until("all permits to be back", || gateway.metric("sluicegate_permits_held", &[]) == 0.0);
}
