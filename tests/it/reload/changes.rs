//! Every key that a reload may change acts from then on, also where connections are open.

mod beside;
mod bounds;
mod waits;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::gateway::{Gateway, app_at};

/// A plain request.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A gateway without Redis and with these keys of `[server]`.
fn gateway(server: &str, app: SocketAddr) -> Gateway {
    Gateway::start(&format!("{server}\n[store]\nkind = \"local\"\n{}", app_at(app)))
}

/// Waits for the end of a connection, and gives what came before. That it stays open instead ends
/// the test.
fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is as good as an end, and running into the timeout is not.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it stays open");
    }
    String::from_utf8(answer).expect("text")
}

/// An application that the test itself is.
fn slow_app() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// Waits until a request has come to the application.
fn asked(listener: &TcpListener) -> TcpStream {
    let (mut asked, _) = listener.accept().unwrap();
    assert!(asked.read(&mut [0; 4096]).unwrap() > 0);
    asked
}
