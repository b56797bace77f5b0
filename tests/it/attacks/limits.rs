//! What is too large: heads (C-15), bodies (C-36), and what is not asked for (C-37).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::framing::gateway;
use super::recorder::{End, Recorder, tunnel};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

const KIB: usize = 1024;
/// Connections that hold a head as large as it may be.
const HOLDERS: usize = 200;
/// What one of them may cost: the head is there twice, in the reader of Pingora's stream and in the
/// guard's own buffer.
const HELD_MAX: u64 = 96 * 1024;

/// Sends as much as is taken and says what came back until the end.
fn send(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut stream = raw::connect(gateway.public());
    let mut writer = stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        // The answer may come before all is sent, and nothing more is taken then.
        scope.spawn(move || writer.write_all(bytes));
        read_to_the_end(&mut stream)
    })
}

fn read_to_the_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut space = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut space) {
        answer.extend_from_slice(&space[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

#[test]
fn c15_a_head_that_is_too_large_is_refused_before_it_is_read() {
    let app = Recorder::start();
    let gateway = gateway(&app, "");
    let head = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let one = head(&format!("X: {}\r\n", "a".repeat(KIB * KIB)));
    let value = head(&format!("X: {}\r\n", "a".repeat(64 * KIB)));
    let endless = format!("GET /a HTTP/1.1\r\nX: {}", "a".repeat(KIB * KIB));
    let nameless = format!("GET /a HTTP/1.1\r\n{}", "a".repeat(KIB * KIB));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(KIB * KIB));
    let many =
        (0..10_000).fold(String::new(), |lines, number| lines + &format!("X-{number}: a\r\n"));
    let short = head(&"A:\r\n".repeat(150));
    for (name, bytes, expected) in [
        ("1 MiB in a field", one.as_str(), "431"),
        ("64 KiB in a field", &value, "431"),
        ("a value without an end", &endless, "431"),
        ("a name without an end", &nameless, "431"),
        ("10,000 fields", &head(&many), "431"),
        ("150 short fields", &short, "431"),
        ("a target of 1 MiB", &target, "414"),
    ] {
        let answer = send(&gateway, bytes.as_bytes());
        assert_eq!(status(&answer), expected, "{name}: {answer}");
    }
    assert!(app.notes().is_empty(), "{:?}", app.notes());
    // What is as large as it may be passes.
    let fine = head(&"A: bcd\r\n".repeat(90)).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert_eq!(status(&send(&gateway, fine.as_bytes())), "200");
}

/// What has come to connections of this port and has not been read.
fn unread_bytes(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let own = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Local address and port, and after the state what is queued to go out and what has come in.
    let of = rows.filter(|row| row.len() > 4 && row[1].ends_with(&own));
    let queued = of.filter_map(|row| row[4].split_once(':').map(|(_, read)| read.to_owned()));
    queued.map(|bytes| u64::from_str_radix(&bytes, 16).expect("a number")).sum()
}

#[test]
fn c15_a_head_that_is_held_costs_little() {
    let app = Recorder::start();
    let gateway = gateway(&app, "header_timeout = \"60s\"\n");
    let first = raw::exchange(gateway.public(), b"GET / HTTP/1.0\r\n\r\n");
    assert!(first.starts_with(b"HTTP/1.1 200"), "{first:?}");
    let before = gateway.resident();
    let head = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(31 * KIB));
    let mut holders: Vec<TcpStream> =
        (0..HOLDERS).map(|_| raw::connect(gateway.public())).collect();
    for holder in &mut holders {
        holder.write_all(head.as_bytes()).expect("it is read");
    }
    let is_held = || gateway.metric("sluicegate_connections", &[]) >= HOLDERS as f64;
    wait_until("all to be held", || is_held() && unread_bytes(gateway.public().port()) == 0);
    let each = gateway.resident().saturating_sub(before) / HOLDERS as u64;
    eprintln!("a connection with a head of 31 KiB: {each} bytes");
    assert!(each <= HELD_MAX, "{each} bytes for each connection");
    for holder in &mut holders {
        holder.write_all(b"\r\n\r\n").expect("it is read");
        let (head, _) = raw::read_answer(holder);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
}

#[test]
fn c36_a_body_that_is_announced_too_large_is_refused_at_once() {
    let app = Recorder::start();
    let gateway = gateway(&app, "max_body = \"100KiB\"\n");
    for length in ["102401", "10000000000", "9223372036854775808", "9999999999999999999"] {
        // Not a byte of the body is sent: nothing is waited for.
        let head = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let answer = send(&gateway, head.as_bytes());
        assert_eq!(status(&answer), "413", "{length}: {answer}");
    }
    assert!(app.notes().is_empty(), "{:?}", app.notes());
    let body = "b".repeat(100 * KIB);
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 102400";
    let answer = send(&gateway, format!("{head}\r\n\r\n{body}").as_bytes());
    assert_eq!(status(&answer), "200", "{answer}");
    assert_eq!(app.notes()[0].body.len(), 100 * KIB);
}

#[test]
fn c36_a_body_without_an_end_is_cut_at_the_cap() {
    let app = Recorder::start();
    let gateway = gateway(&app, "max_body = \"100KiB\"\n");
    let chunk = format!("1000\r\n{}\r\n", "b".repeat(4 * KIB));
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = send(&gateway, format!("{head}{}", chunk.repeat(1000)).as_bytes());
    assert_eq!(status(&answer), "413", "{answer}");
    wait_until("the request to end", || app.is_idle());
    let notes = app.notes();
    assert_eq!((notes.len(), &notes[0].end), (1, &End::Cut), "{:?}", notes[0].brief());
    // One read of the gateway is at most 64 KiB.
    let reached = notes[0].body.len();
    eprintln!("of an endless body the application has seen {reached} bytes of 102400");
    assert!(reached <= (100 + 64) * KIB, "{reached} bytes");
    // The cap is for bytes of the body and not for what chunks add to them.
    let body = "1\r\nb\r\n".repeat(50 * KIB);
    let head = head.replace("Host", "Connection: close\r\nHost");
    let answer = send(&gateway, format!("{head}{body}0\r\n\r\n").as_bytes());
    assert_eq!(status(&answer), "200", "{answer}");
}

#[test]
fn c37_who_is_denied_is_not_told_to_go_on() {
    let app = Recorder::start();
    let gateway = Gateway::start(&format!(
        "max_body = \"1KiB\"\n[store]\nkind = \"local\"\n{}[policies.one]\nquota = 1\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"one\"]\n",
        app_at(app.address())
    ));
    let head = |length: usize| {
        format!(
            "POST /continue HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    // Too large: refused before anything is charged.
    let answer = send(&gateway, head(2000).as_bytes());
    assert_eq!(status(&answer), "413", "{answer}");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(head(5).as_bytes()).expect("it is read");
    let (interim, _) = raw::read_answer(&mut stream);
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    stream.write_all(b"hello").expect("it is read");
    let (answer, _) = raw::read_answer(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Denied: no 100, no body waited for, and the connection closed.
    let mut stream = raw::connect(gateway.public());
    stream.write_all(head(5).as_bytes()).expect("it is read");
    let denied = read_to_the_end(&mut stream);
    assert_eq!(status(&denied), "429", "{denied}");
    // Nor is its body a request, if it is sent all the same.
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = send(&gateway, format!("{}{smuggled}", head(smuggled.len())).as_bytes());
    assert_eq!(status(&answers), "429", "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    let notes = app.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].body, b"hello");
}

/// What both sides have agreed upon is no body of a request, however much of it there is.
#[test]
fn c36_what_goes_through_an_upgrade_is_no_body() {
    let app = Recorder::start();
    let gateway = gateway(&app, "max_body = \"100KiB\"\n");
    let mut stream = tunnel(gateway.public());
    let sent = stream.write_all(&vec![b'f'; 300 * KIB]);
    let _ = stream.shutdown(Shutdown::Write);
    read_to_the_end(&mut stream);
    // It notes what has come when the connection ends, perhaps after ours has.
    wait_until("the application to note it", || !app.notes()[0].body.is_empty());
    let reached = app.notes()[0].body.len();
    assert!(sent.is_ok() && reached == 300 * KIB, "{reached} bytes, {sent:?}");
}
