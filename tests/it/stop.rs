//! A stop breaks nothing off: who is being answered gets his answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::endurance::tell;
use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::http2::{self, End};
use crate::support::raw;
use crate::support::redis::wait_until;

/// Requests under way when the gateway is told to stop.
const UNDER_WAY: usize = 100;

/// An application that answers when it is let.
struct Held {
    app: App,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Held {
    fn start() -> Self {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let held = Arc::clone(&gate);
        let app = App::answering(move |_| {
            let (open, opened) = &*held;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            response("200 OK", "", b"late")
        });
        Self { app, gate }
    }

    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn gateway(&self, server: &str) -> Gateway {
        let app = app_at(self.app.address());
        Gateway::start(&format!("{server}[store]\nkind = \"local\"\n{app}"))
    }
}

fn wait_for(count: usize, gateway: &Gateway) {
    wait_until("the requests to be under way", || {
        gateway.metric("sluicegate_requests_in_flight", &[]) == count as f64
    });
}

fn send(gateway: &Gateway) -> TcpStream {
    let mut client = raw::connect(gateway.public());
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    client
}

#[test]
fn a_hundred_requests_under_way_all_end_and_then_the_process_does() {
    let app = Held::start();
    let mut gateway = app.gateway("");
    let mut clients: Vec<_> = (0..UNDER_WAY).map(|_| send(&gateway)).collect();
    wait_for(UNDER_WAY, &gateway);
    gateway.signal("TERM");
    wait_until("the listener to close", || TcpStream::connect(gateway.public()).is_err());
    app.open();
    for client in &mut clients {
        let (head, body) = raw::read_answer(client);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        assert_eq!(body, b"late");
    }
    let last = Instant::now();
    assert_eq!(gateway.wait(), Some(0));
    let after = last.elapsed().as_millis();
    tell(
        "stop",
        &format!(
            "{UNDER_WAY} requests under way at SIGTERM: all answered, ended {after} ms after the last"
        ),
    );
}

#[test]
fn http2_streams_under_way_end_too_and_large_answers_whole() {
    let app = Held::start();
    let mut gateway = app.gateway("h2c = true\n");
    let mut connection = http2::Connection::open(gateway.public());
    for stream in [1, 3, 5] {
        connection.get(stream, "/").unwrap();
    }
    wait_for(3, &gateway);
    gateway.signal("TERM");
    assert_eq!(connection.end_of(&[1, 3, 5]), (0, End::GoAway(0)));
    app.open();
    let mut ends: Vec<_> = (0..3).map(|_| connection.end_of(&[1, 3, 5])).collect();
    ends.sort_unstable();
    assert_eq!(ends, [1, 3, 5].map(|stream| (stream, End::Answer(200))));
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_lame_duck_says_so_and_still_takes_requests() {
    let app = App::start();
    let config = format!("[store]\nkind = \"local\"\n{}", app_at(app.address()));
    let mut gateway = Gateway::start(&format!("lame_duck = \"1h\"\n{config}"));
    let mut old = raw::connect(gateway.public());
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] == "draining");
    let page = gateway.client().get(gateway.admin_url("/livez")).send().unwrap();
    assert_eq!(page.status(), 200, "it lives");
    for client in [&mut old, &mut raw::connect(gateway.public())] {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let (head, body) = raw::read_answer(client);
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        assert_eq!(body, b"hello");
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "and it closes");
    }
    gateway.signal("INT");
    assert_eq!(gateway.wait(), Some(1), "the second one ends it at once");
    assert!(gateway.log().contains("ended by a second signal: 0 requests"), "{}", gateway.log());
}

#[test]
fn what_does_not_end_is_broken_off_in_the_end() {
    let app = Held::start();
    let mut gateway = app.gateway("lame_duck = \"0s\"\ndrain_timeout = \"500ms\"\n");
    let mut client = send(&gateway);
    wait_for(1, &gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    let log = gateway.log();
    assert!(log.contains("`drain_timeout` has passed") && log.contains("requests=1"), "{log}");
    app.open();
}

#[test]
fn a_head_that_has_begun_to_come_is_waited_for() {
    let app = App::start();
    let config = format!("[store]\nkind = \"local\"\n{}", app_at(app.address()));
    let mut gateway = Gateway::start(&format!("lame_duck = \"0s\"\n{config}"));
    let mut client = raw::connect(gateway.public());
    client.write_all(b"GET / HTT").unwrap();
    // Behind it a whole request: so the first bytes of the other have been read as well.
    let mut other = raw::connect(gateway.public());
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    raw::read_answer(&mut other);
    gateway.signal("TERM");
    wait_until("the listener to close", || TcpStream::connect(gateway.public()).is_err());
    client.write_all(b"P/1.1\r\nhost: a\r\n\r\n").unwrap();
    let (head, body) = raw::read_answer(&mut client);
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    assert_eq!(body, b"hello");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn refusals_say_as_well_that_the_connection_closes() {
    let app = App::start();
    let policy =
        "[policies.p]\nquota = 1\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
    let config = format!("[store]\nkind = \"local\"\n{}{policy}", app_at(app.address()));
    let gateway = Gateway::start(&format!("lame_duck = \"1h\"\n{config}"));
    assert_eq!(gateway.get("/").status(), 200);
    let mut client = raw::connect(gateway.public());
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nha").unwrap();
    wait_for(1, &gateway);
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] == "draining");
    client.write_all(b"lf").unwrap();
    let (head, _) = raw::read_answer(&mut client);
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
}

#[test]
fn signals_are_heard_while_a_reload_takes_its_time() {
    let app = Held::start();
    let mut gateway = app.gateway("");
    let mut client = send(&gateway);
    wait_for(1, &gateway);
    // A name that nobody knows holds a reload up for two seconds.
    gateway.edit(
        "[upstreams.app]",
        "[upstreams.b]\nservers = [\"nowhere.invalid:1\"]\n[upstreams.app]",
    );
    gateway.signal("HUP");
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] == "draining");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(1), "{}", gateway.log());
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    app.open();
}
