//! C-42: connections to the application and to Redis are kept, so that ports do not run out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::CLIENTS;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

const REQUESTS: usize = 20_000;
/// Connections that may be opened to the application: some for each client at a time.
const CONNECTIONS_MAX: usize = 4 * CLIENTS;

/// An application that counts connections.
fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    (address, count)
}

/// Answers each request on the connection, until somebody closes it.
fn answer(stream: &mut TcpStream) {
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        head.extend_from_slice(&bytes[..read]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

#[test]
fn c42_ports_do_not_run_out() {
    let (redis, (app, connections)) = (RedisServer::start(), counting());
    let policy = "[policies.all]\nquota = 1000000\nwindow = \"1h\"\n\
                  [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n";
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"", &(app_at(app) + policy));
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (asked, gateway) = (&asked, &gateway);
            scope.spawn(move || {
                let mut caller = Caller::new(gateway.public());
                while asked.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                    // Every other client comes on a connection of its own each time.
                    let lines = if client % 2 == 0 { "" } else { "connection: close\r\n" };
                    assert_eq!(caller.get("/", lines).expect("an answer"), 200);
                }
            });
        }
    });
    let opened = connections.load(Ordering::SeqCst);
    let info: String = redis.command(&["INFO", "stats"]);
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    let to_redis: usize = line.and_then(|count| count.trim().parse().ok()).expect("a number");
    println!("{REQUESTS} requests: {opened} connections to the application, {to_redis} to Redis");
    assert!(opened <= CONNECTIONS_MAX, "{opened}");
    assert!(to_redis < 20, "{to_redis}");
    assert_eq!(gateway.metric("sluicegate_upstream_errors_total", &[]), 0.0, "{}", gateway.log());
    assert!(!gateway.log().contains("Cannot assign requested address"), "{}", gateway.log());
}
