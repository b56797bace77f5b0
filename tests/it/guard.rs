//! What stands between the internet and the proxy: doors, deadlines, one message at a time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

const LOCAL: &str = "[store]\nkind = \"local\"\n";
const HUNDRED: &str = "[policies.all]\nquota = 100\nwindow = \"1h\"\npartition = [\"ip\"]\n\
                       [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n";
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A gateway without Redis and with these keys of `[server]`.
fn guarded(server: &str, app: SocketAddr) -> Gateway {
    Gateway::start(&format!("{server}\n{LOCAL}{HUNDRED}{}", app_at(app)))
}

/// A connection from another address of this machine.
fn connect_from(own: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{own}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    connected
}

/// Whether the other end closes without a word.
fn is_turned_away(mut stream: TcpStream) -> bool {
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = stream.write_all(REQUEST);
    let _ = stream.read_to_end(&mut answer);
    answer.is_empty()
}

fn is_served(stream: &mut TcpStream) -> bool {
    stream.write_all(REQUEST).expect("the gateway reads");
    raw::read_answer(stream).0.starts_with("HTTP/1.1 200")
}

#[test]
fn there_are_so_many_connections_and_no_more_and_a_place_is_free_again() {
    let app = App::start();
    let gateway = guarded("max_connections = 3", app.address());
    wait_until("no connection", || gateway.metric("sluicegate_connections", &[]) == 0.0);
    let mut open: Vec<TcpStream> = (0..3).map(|_| raw::connect(gateway.public())).collect();
    assert!(open.iter_mut().all(is_served));
    assert!(is_turned_away(raw::connect(gateway.public())));
    let refused = || gateway.metric("sluicegate_connections_refused_total", &["reason=\"total\""]);
    assert!(refused() >= 1.0);
    open.pop();
    wait_until("a free place", || {
        let mut next = raw::connect(gateway.public());
        next.write_all(REQUEST).is_ok() && matches!(next.read(&mut [0]), Ok(1))
    });
}

#[test]
fn one_client_does_not_take_the_places_of_the_others() {
    let app = App::start();
    let gateway = guarded("max_connections_per_address = 2", app.address());
    let mut open: Vec<TcpStream> =
        (0..2).map(|_| connect_from("127.0.0.2", gateway.public())).collect();
    assert!(open.iter_mut().all(is_served));
    assert!(is_turned_away(connect_from("127.0.0.2", gateway.public())));
    assert!(is_served(&mut connect_from("127.0.0.3", gateway.public())));
}

/// Whom a connection with this preamble is taken for by the application.
fn owner(gateway: &Gateway, app: &App, from: &str, preamble: &[u8]) -> Option<String> {
    let before = app.seen().len();
    let mut stream = connect_from(from, gateway.public());
    stream
        .write_all(&[preamble, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"].concat())
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (app.seen().len() > before).then(|| app.last().header("x-forwarded-for").unwrap().to_owned())
}

#[test]
fn a_trusted_proxy_says_whose_a_connection_is() {
    let app = App::start();
    let server = "proxy_protocol = true\n[client]\ntrusted_proxies = [\"127.0.0.2\"]";
    let gateway = guarded(server, app.address());
    let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    binary.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    binary.extend([0; 16]);
    binary.extend([0x13, 0x88, 1, 187]);
    let from = |own: &str, preamble: &[u8]| owner(&gateway, &app, own, preamble);
    assert_eq!(from("127.0.0.2", text).as_deref(), Some("192.0.2.7"));
    assert_eq!(from("127.0.0.2", &binary).as_deref(), Some("2001:db8::7"));
    let own = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(from("127.0.0.2", own).as_deref(), Some("127.0.0.2"), "the proxy's own question");
    // Somebody's words are not the proxy's, though it does not say whose they are.
    let forged = b"PROXY UNKNOWN\r\nGET / HTTP/1.0\r\nx-forwarded-for: 192.0.2.9\r\n\r\n";
    assert_eq!(from("127.0.0.2", forged).as_deref(), Some("0.0.0.0"));
    assert_eq!(from("127.0.0.2", b""), None, "it has to say so");
    assert_eq!(from("127.0.0.2", b"PROXY TCP4 a b 1 2\r\n"), None);
    assert_eq!(from("127.0.0.3", text), None, "anybody else may not");
    assert_eq!(from("127.0.0.3", b"").as_deref(), Some("127.0.0.3"));
    let refused = "sluicegate_connections_refused_total";
    assert_eq!(gateway.metric(refused, &["reason=\"proxy-protocol\""]), 2.0);
    assert_eq!(gateway.metric("sluicegate_requests_malformed_total", &["reason=\"version\""]), 1.0);
}

#[test]
fn requests_that_come_at_once_are_answered_one_after_the_other_and_each_is_charged() {
    let app = App::answering(|seen| response("200 OK", "", seen.target.as_bytes()));
    let gateway = guarded("", app.address());
    let requests = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
        POST /3 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
        GET /4 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for pieces in [requests.len(), 40, 1] {
        let mut stream = raw::connect(gateway.public());
        stream.set_nodelay(true).unwrap();
        for piece in requests.chunks(pieces) {
            stream.write_all(piece).unwrap();
        }
        for expected in ["/1", "/2", "/3", "/4"] {
            let (head, body) = raw::read_answer(&mut stream);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(String::from_utf8(body).unwrap(), expected);
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the last one asked for the end");
    }
    assert_eq!(app.seen().len(), 12);
    let allowed = ["policy=\"all\"", "decision=\"allow\""];
    assert_eq!(gateway.metric("sluicegate_decisions_total", &allowed), 12.0);
}

/// An application that answers when it is told to.
fn slow_app() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer_and_is_gone_after_a_while() {
    let (address, listener) = slow_app();
    let gateway = guarded("half_close_timeout = \"1s\"", address);
    let half_closed = || {
        let mut stream = raw::connect(gateway.public());
        stream.write_all(REQUEST).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let (mut asked, _) = listener.accept().unwrap();
        assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
        (stream, asked)
    };
    let (mut stream, mut asked) = half_closed();
    asked
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        .unwrap();
    let (head, body) = raw::read_answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200") && body == b"hi", "{head}");
    let (_stream, mut asked) = half_closed();
    // What is under way for a client that is gone is given up.
    assert!(matches!(asked.read(&mut [0; 1024]), Ok(0) | Err(_)));
}

#[test]
fn what_follows_an_upgrade_waits_for_the_application_to_agree() {
    let (address, listener) = slow_app();
    let gateway = guarded("", address);
    let upgrade = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\nfrom me";
    for agrees in [true, false] {
        let mut stream = raw::connect(gateway.public());
        stream.write_all(upgrade).unwrap();
        let (mut asked, _) = listener.accept().unwrap();
        asked.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            asked.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        if agrees {
            asked.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").unwrap();
            let mut said = [0; 7];
            asked.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"from me");
            asked.write_all(b"from you").unwrap();
            assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 101"));
            let mut back = [0; 8];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"from you");
        } else {
            asked
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            let mut rest = Vec::new();
            asked.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"", "what was meant for a socket is no request");
            assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
        }
    }
}

#[test]
fn a_slow_head_ends_at_its_deadline_and_a_silent_connection_without_a_word() {
    let app = App::start();
    let gateway = guarded("header_timeout = \"500ms\"", app.address());
    let mut slow = raw::connect(gateway.public());
    let mut writer = slow.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        // Each byte would begin a wait anew, where waits are for the next bytes alone.
        for byte in REQUEST.iter().cycle() {
            if writer.write_all(&[*byte]).is_err() || *byte == b'\n' {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    trickle.join().unwrap();
    let mut silent = raw::connect(gateway.public());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let timeouts =
        || gateway.metric("sluicegate_requests_malformed_total", &["reason=\"header-timeout\""]);
    assert_eq!(timeouts(), 1.0);
    wait_until("all to be gone", || gateway.metric("sluicegate_connections", &[]) == 0.0);
}

/// Heads, refusals and redirects have no body whose writing Pingora would bound.
#[test]
fn who_takes_nothing_is_given_up_whatever_waits_for_him() {
    let app = App::answering(|_| {
        let field = format!("x-large: {}\r\n", "x".repeat(20_000));
        response("200 OK", &field, b"")
    });
    let app_at = app_at(app.address());
    let gateway = Gateway::start(&format!("write_timeout = \"500ms\"\n{LOCAL}{app_at}"));
    let requests = b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2_000);
    let mut unread = raw::connect(gateway.public());
    // What does not fit waits until the gateway has closed.
    let _ = unread.write_all(&requests);
    wait_until("it to be given up", || {
        gateway.metric("sluicegate_connections", &[]) == 0.0
            && gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0
    });
    assert!(app.seen().len() < 2_000, "it would have been answered in full");
}

#[test]
fn a_client_that_is_gone_is_seen_behind_a_next_request() {
    let (address, listener) = slow_app();
    let gateway = guarded("half_close_timeout = \"0s\"", address);
    let mut stream = raw::connect(gateway.public());
    stream.write_all(&[REQUEST, b"\r\nGET"].concat()).unwrap();
    let (mut asked, _) = listener.accept().unwrap();
    asked.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
    drop(stream);
    assert!(matches!(asked.read(&mut [0; 1024]), Ok(0)), "what is under way is given up");
}

#[test]
fn an_empty_line_behind_a_request_begins_no_other() {
    let app = App::start();
    let gateway = guarded("header_timeout = \"100ms\"\nkeepalive_timeout = \"1s\"", app.address());
    let mut stream = raw::connect(gateway.public());
    stream.write_all(&[REQUEST, b"\r\n"].concat()).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8(rest).unwrap(), "", "nobody has asked");
    let malformed = "sluicegate_requests_malformed_total";
    assert!(
        !gateway.metrics().contains(malformed) || !gateway.metrics().contains("header-timeout")
    );
}

#[test]
fn http2_is_told_from_http1_by_the_first_byte_that_differs() {
    let app = App::start();
    let gateway = guarded("h2c = true\nheader_timeout = \"500ms\"", app.address());
    let answer = raw::exchange(gateway.public(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "shorter than the preface of HTTP/2");
    let answer = raw::exchange(gateway.public(), b"PUT / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "a letter in common");
    let mut half = raw::connect(gateway.public());
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").unwrap();
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "half a preface has the time of a head");
    let mut whole = raw::connect(gateway.public());
    whole.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    whole.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "settings");
}

#[test]
fn a_large_body_is_refused_before_it_is_charged_or_broken_off_where_it_becomes_so() {
    let app = App::start();
    let config = "max_body = \"1KiB\"";
    let gateway = guarded(config, app.address());
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n").unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 413"));
    let decisions =
        || gateway.metric("sluicegate_decisions_total", &["policy=\"all\"", "decision=\"allow\""]);
    assert_eq!((decisions(), app.seen().len()), (0.0, 0));
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat();
    stream.write_all(&chunk).unwrap();
    // The answer may come before all of it is taken.
    let _ = stream.write_all(b"1\r\nx\r\n");
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 413"));
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1024\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 1024]).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    assert_eq!(app.last().body.len(), 1024);
}
