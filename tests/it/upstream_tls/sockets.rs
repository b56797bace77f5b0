//! Tunnels (WebSocket) to a server behind TLS.

use std::process::Command;

use super::{NAME, alone, authority, trusting};
use crate::applications::server::uvicorn_with;
use crate::applications::websocket::Socket;
use crate::support::certificates::Authority;
use crate::support::gateway::Gateway;

fn arguments(authority: &Authority, command: &mut Command) {
    command.args(["--ssl-certfile", &authority.path("named.pem")]);
    command.args(["--ssl-keyfile", &authority.path("named.key")]);
}

fn messages_pass(gateway: &Gateway) {
    for _ in 0..20 {
        let (mut socket, _) = Socket::open(gateway.public());
        assert_eq!(socket.read().1, b"welcome");
        socket.send(1, b"one");
        assert_eq!(socket.read().1, b"one");
    }
}

#[test]
fn messages_pass_over_tls() {
    let authority = authority();
    let server = uvicorn_with(|command| arguments(&authority, command));
    // An upgrade needs HTTP/1.1, which the handshake finds out, whatever the upstream else speaks.
    for protocol in ["tls = true", "protocol = \"h2\""] {
        let keys = format!("{protocol}\nserver_name = \"{NAME}\"");
        messages_pass(&alone(server.address(), &trusting(&authority, &keys)));
    }
}
