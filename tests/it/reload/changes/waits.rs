//! How long clients are waited for, and requests at the end. Each begins with an hour, which no test
//! lasts, so what ends has heard of the reload.

use std::io::Write;
use std::net::Shutdown;

use super::{REQUEST, asked, gateway, slow_app, until_closed};
use crate::reload::change;
use crate::support::app::{App, response};
use crate::support::gateway::app_at;
use crate::support::line::{Line, runs};
use crate::support::raw;
use crate::support::redis::wait_until;

#[test]
fn how_long_an_idle_connection_is_kept() {
    let app = App::start();
    let gateway = gateway("keepalive_timeout = \"1h\"", app.address());
    let mut stream = raw::connect(gateway.public());
    stream.write_all(REQUEST).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    change(&gateway, "keepalive_timeout = \"1h\"", "keepalive_timeout = \"1s\"");
    // The connection goes on, and hears of it with its next request.
    stream.write_all(REQUEST).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    assert_eq!(until_closed(&mut stream), "");
}

#[test]
fn how_long_a_head_may_take() {
    let app = App::start();
    let gateway = gateway("header_timeout = \"1h\"", app.address());
    change(&gateway, "header_timeout = \"1h\"", "header_timeout = \"200ms\"");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"GET / HTTP/1.1\r\nho").unwrap();
    assert!(until_closed(&mut stream).starts_with("HTTP/1.1 408"));
}

#[test]
fn how_long_a_body_may_rest() {
    let app = App::start();
    let gateway = gateway("read_timeout = \"1h\"", app.address());
    let mut stream = raw::connect(gateway.public());
    stream.write_all(REQUEST).unwrap();
    raw::read_answer(&mut stream);
    change(&gateway, "read_timeout = \"1h\"", "read_timeout = \"200ms\"");
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\na").unwrap();
    until_closed(&mut stream);
}

#[test]
fn how_long_an_answer_may_wait_to_be_taken() {
    let large = vec![b'x'; 64 << 20];
    let app = App::answering(move |_| response("200 OK", "", &large));
    let gateway = gateway("write_timeout = \"1h\"", app.address());
    change(&gateway, "write_timeout = \"1h\"", "write_timeout = \"200ms\"");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(REQUEST).unwrap();
    // Nothing is read, and the connection is open.
    wait_until("the answer to be given up", || {
        gateway.metric("sluicegate_requests_total", &[]) == 1.0
    });
    drop(stream);
}

#[test]
fn how_long_a_client_is_answered_that_has_closed_its_side() {
    let (address, listener) = slow_app();
    let gateway = gateway("half_close_timeout = \"1h\"", address);
    change(&gateway, "half_close_timeout = \"1h\"", "half_close_timeout = \"0s\"");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(REQUEST).unwrap();
    let application = asked(&listener);
    stream.shutdown(Shutdown::Write).unwrap();
    // The application has not answered.
    wait_until("the request to be given up", || {
        gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0
    });
    drop(application);
}

#[test]
fn how_long_requests_may_take_to_end_at_a_stop() {
    let (address, listener) = slow_app();
    let mut gateway = gateway("drain_timeout = \"1h\"", address);
    let mut stream = raw::connect(gateway.public());
    stream.write_all(REQUEST).unwrap();
    let application = asked(&listener);
    change(&gateway, "drain_timeout = \"1h\"", "drain_timeout = \"100ms\"");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    drop(application);
}

#[test]
fn how_long_new_connections_are_accepted_at_a_stop() {
    let app = App::start();
    let mut gateway = gateway("lame_duck = \"1h\"", app.address());
    change(&gateway, "lame_duck = \"1h\"", "lame_duck = \"0s\"");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn how_long_connections_may_take_to_end_when_another_process_serves() {
    let app = App::start();
    let server = "handover_timeout = \"1h\"\n[store]\nkind = \"local\"\n";
    let mut line = Line::start(&format!("{server}{}", app_at(app.address())));
    let mut stream = raw::connect(line.public());
    stream.write_all(REQUEST).unwrap();
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 200"));
    let old = line.serving();
    change(&line, "handover_timeout = \"1h\"", "handover_timeout = \"100ms\"");
    line.upgrade();
    wait_until("the old process to end", || !runs(old));
    assert_eq!(until_closed(&mut stream), "");
}
