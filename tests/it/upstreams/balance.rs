//! Whose turn it is, and how much one server gets at once.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

use super::server::{Barrier, Reply, Server};
use super::{failed, gateway, listing};
use crate::support::redis::wait_until;

/// A server that holds requests for `/held` until the barrier opens.
fn holding(barrier: &Barrier) -> Server {
    let barrier = barrier.clone();
    Server::doing(move |what| {
        if what.ends_with("/held") {
            barrier.pass();
        }
        Reply::Status(200)
    })
}

#[test]
fn weights_are_exact() {
    let (light, heavy) = (Server::start(), Server::start());
    let [one, three] = [light.address(), heavy.address()];
    let gateway = listing(&format!("\"{one}\", {{ address = \"{three}\", weight = 3 }}"), "");
    for round in 1..=75 {
        for _ in 0..4 {
            assert_eq!(gateway.get("/").status(), 200);
        }
        assert_eq!((light.requests(), heavy.requests()), (round, 3 * round));
    }
}

#[test]
fn a_server_listed_twice_has_twice_the_weight() {
    let (twice, once) = (Server::start(), Server::start());
    let gateway = gateway(&[twice.address(), once.address(), twice.address()], "");
    for _ in 0..30 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!((twice.requests(), once.requests()), (20, 10));
    assert_eq!(gateway.readiness()["upstreams"]["app"]["servers"], 2);
}

#[test]
fn the_idle_server_is_preferred_to_the_busy_one() {
    let barrier = Barrier::default();
    let servers = [holding(&barrier), holding(&barrier)];
    let gateway =
        gateway(&servers.each_ref().map(Server::address), "balance = \"least-connections\"");
    thread::scope(|scope| {
        let held = scope.spawn(|| gateway.get("/held").status());
        wait_until("it to be held", || servers.iter().any(|server| server.under_way() == 1));
        for _ in 0..20 {
            assert_eq!(gateway.get("/").status(), 200);
        }
        let [busy, idle] = match servers.each_ref().map(Server::under_way) {
            [1, 0] => [&servers[0], &servers[1]],
            _ => [&servers[1], &servers[0]],
        };
        assert_eq!((busy.requests(), idle.requests()), (1, 20));
        barrier.open();
        assert_eq!(held.join().unwrap(), 200);
        let (before, after) = (busy.requests(), idle.requests());
        for _ in 0..20 {
            assert_eq!(gateway.get("/").status(), 200);
        }
        assert_eq!((busy.requests() - before, idle.requests() - after), (10, 10), "both are idle");
    });
}

/// The application counts: never more than allowed. Who finds no place is told at once.
#[test]
fn no_server_gets_more_at_once_than_allowed() {
    let barrier = Barrier::default();
    let servers = [holding(&barrier), holding(&barrier)];
    let gateway = gateway(&servers.each_ref().map(Server::address), "max_connections = 2");
    let under_way = || servers.iter().map(Server::under_way).sum::<usize>();
    thread::scope(|scope| {
        let held: Vec<_> = (0..4).map(|_| scope.spawn(|| gateway.get("/held").status())).collect();
        wait_until("all places to be taken", || under_way() == 4);
        let answer = gateway.get("/");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        assert_eq!(failed(&gateway, "full"), 1);
        barrier.open();
        for held in held {
            assert_eq!(held.join().unwrap(), 200);
        }
    });
    // Who has an answer has given the place back: the next request never finds it taken.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(gateway.get("/held").status(), 200);
                }
            });
        }
    });
    assert_eq!(servers.each_ref().map(Server::most_under_way), [2, 2]);
}

/// A request that is given up gives its place back as well, and so does a client that goes away.
#[test]
fn a_place_comes_back_however_a_request_ends() {
    let barrier = Barrier::default();
    let server = holding(&barrier);
    let gateway =
        gateway(&[server.address()], "max_connections = 1\nretries = 0\nread_timeout = \"200ms\"");
    for _ in 0..3 {
        assert_eq!(gateway.get("/held").status(), 504);
        assert_eq!(gateway.get("/").status(), 200);
    }
    let mut gone = std::net::TcpStream::connect(gateway.public()).unwrap();
    let seen = server.requests();
    std::io::Write::write_all(&mut gone, b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    wait_until("the request to arrive", || server.requests() > seen);
    drop(gone);
    wait_until("the place to be free", || gateway.get("/").status() == 200);
    barrier.open();
}

/// A tunnel is under way until it ends.
#[test]
fn a_tunnel_takes_a_place() {
    let server =
        Server::doing(
            |what| {
                if what.ends_with("/socket") { Reply::Switch } else { Reply::Status(200) }
            },
        );
    let gateway = gateway(&[server.address()], "max_connections = 1");
    let mut tunnel = BufReader::new(TcpStream::connect(gateway.public()).unwrap());
    let head =
        b"GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    tunnel.get_mut().write_all(head).unwrap();
    let mut line = String::new();
    tunnel.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 101"), "{line}");
    assert_eq!(gateway.get("/").status(), 503);
    drop(tunnel);
    wait_until("the place to be free", || gateway.get("/").status() == 200);
}
