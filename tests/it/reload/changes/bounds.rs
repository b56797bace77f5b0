//! How many connections there are, and how large requests may be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{REQUEST, gateway, until_closed};
use crate::reload::change;
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::http2::{Connection, SETTINGS};
use crate::support::raw;
use crate::support::redis::wait_until;

/// An open connection that has been served.
fn served(gateway: &Gateway) -> TcpStream {
    let mut stream = raw::connect(gateway.public());
    serve(&mut stream);
    stream
}

fn serve(stream: &mut TcpStream) {
    stream.write_all(REQUEST).unwrap();
    assert!(raw::read_answer(stream).0.starts_with("HTTP/1.1 200"));
}

fn is_turned_away(gateway: &Gateway) -> bool {
    let mut stream = raw::connect(gateway.public());
    let mut answer = Vec::new();
    let _ = stream.write_all(REQUEST);
    let _ = stream.read_to_end(&mut answer);
    answer.is_empty()
}

/// The status of an answer to `request` on an open connection.
fn status(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let head = raw::read_answer(stream).0;
    head.split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn how_many_connections_there_are() {
    let app = App::start();
    let gateway = gateway("max_connections = 100", app.address());
    wait_until("no connection", || gateway.metric("sluicegate_connections", &[]) == 0.0);
    let mut open: Vec<TcpStream> = (0..3).map(|_| served(&gateway)).collect();
    change(&gateway, "max_connections = 100", "max_connections = 2");
    assert!(is_turned_away(&gateway));
    open.iter_mut().for_each(serve);
    change(&gateway, "max_connections = 2", "max_connections = 4");
    served(&gateway);
}

#[test]
fn how_many_one_client_has() {
    let app = App::start();
    let gateway = gateway("max_connections_per_address = 0", app.address());
    wait_until("no connection", || gateway.metric("sluicegate_connections", &[]) == 0.0);
    let mut open: Vec<TcpStream> = (0..3).map(|_| served(&gateway)).collect();
    let key = |most: usize| format!("max_connections_per_address = {most}");
    change(&gateway, &key(0), &key(3));
    assert!(is_turned_away(&gateway), "those from before are counted");
    open.iter_mut().for_each(serve);
    change(&gateway, &key(3), &key(4));
    served(&gateway);
}

#[test]
fn how_large_a_head_is() {
    let app = App::start();
    let server = "max_headers = 100\nmax_header_size = \"32KiB\"\nmax_target_size = \"8KiB\"";
    let gateway = gateway(server, app.address());
    let target = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(400));
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(20));
    let bytes = format!("GET / HTTP/1.1\r\nhost: a\r\na: {}\r\n\r\n", "b".repeat(2000));
    // Each on a connection that is open over the reload.
    let mut streams = [&target, &fields, &bytes].map(|request| (request, served(&gateway)));
    for (request, stream) in &mut streams {
        assert_eq!(status(stream, request), "200");
    }
    change(&gateway, "max_headers = 100", "max_headers = 10");
    change(&gateway, "\"32KiB\"", "\"1KiB\"");
    change(&gateway, "\"8KiB\"", "\"256B\"");
    let refused = streams.map(|(request, mut stream)| status(&mut stream, request));
    assert_eq!(refused, ["414", "431", "431"]);
}

/// What a new connection of HTTP/2 is told of how large a head may be.
fn told(gateway: &Gateway) -> u32 {
    let mut connection = Connection::open(gateway.public());
    loop {
        let frame = connection.read().expect("a frame");
        if frame.kind == SETTINGS && !frame.payload.is_empty() {
            let mut settings = frame.payload.chunks_exact(6);
            let size = settings.find(|setting| setting[..2] == [0, 6]).expect("it is told");
            return u32::from_be_bytes(size[2..].try_into().expect("four bytes"));
        }
    }
}

#[test]
fn how_large_a_head_of_http2_is_on_new_connections() {
    let app = App::start();
    let gateway = gateway("h2c = true\nmax_header_size = \"32KiB\"", app.address());
    assert_eq!(told(&gateway), 32 * 1024);
    change(&gateway, "\"32KiB\"", "\"2KiB\"");
    assert_eq!(told(&gateway), 2 * 1024);
}

#[test]
fn how_large_a_body_is() {
    let app = App::start();
    let gateway = gateway("max_body = \"1MiB\"", app.address());
    let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n01234567890123456789";
    let mut stream = served(&gateway);
    assert_eq!(status(&mut stream, request), "200");
    change(&gateway, "\"1MiB\"", "\"10B\"");
    assert_eq!(status(&mut stream, request), "413");
}

/// A client that is slow on purpose: a byte every quarter of a second, until it is closed.
#[test]
fn how_slow_a_body_is() {
    let app = App::start();
    let gateway = gateway("min_body_rate = \"0B\"", app.address());
    change(&gateway, "min_body_rate = \"0B\"", "min_body_rate = \"1KiB\"");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    let mut answer = [0; 12];
    let closed = (0..900).any(|_| {
        let sent = stream.write_all(b"a");
        sent.is_err() || stream.read(&mut answer).is_ok()
    });
    assert!(closed, "all of it was waited for");
}

#[test]
fn whether_proxies_say_whose_a_connection_is() {
    let app = App::start();
    let gateway = gateway(
        "proxy_protocol = false\n[client]\ntrusted_proxies = [\"127.0.0.0/8\"]",
        app.address(),
    );
    let said = [b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n", REQUEST].concat();
    let mut stream = raw::connect(gateway.public());
    stream.write_all(&said).unwrap();
    assert!(until_closed(&mut stream).starts_with("HTTP/1.1 400"));
    change(&gateway, "proxy_protocol = false", "proxy_protocol = true");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(&said).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    assert_eq!(app.last().header("x-forwarded-for"), Some("192.0.2.7"));
}
