//! A new binary takes over, and nobody notices; or it fails, and nobody notices either.

mod failing;
mod taking;
mod under_load;

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::app::{App, response};
use crate::support::gateway::app_at;
use crate::support::line::Line;
use crate::support::raw::read_answer;

/// A line in front of an application that says hello.
fn line() -> (App, Line) {
    let app = App::answering(|_| response("200 OK", "", b"hello"));
    let line = Line::start(&format!("[store]\nkind = \"local\"\n{}", app_at(app.address())));
    (app, line)
}

/// Asks on a connection that stays, and gives the head of the answer.
fn ask(connection: &mut TcpStream) -> String {
    connection.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("it is open");
    let (head, body) = read_answer(connection);
    assert_eq!(body, b"hello");
    head.to_ascii_lowercase()
}
