//! TLS and HTTP/2 to upstreams: who is spoken to is proven first, or nobody is.

mod nginx;
mod sockets;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;

use crate::support::certificates::Authority;
use crate::support::gateway::Gateway;
use crate::support::raw;
use crate::support::redis::wait_until;
use nginx::Nginx;

/// Clients that do not read. What waits for them is more than Pingora's window of a connection.
const SLOW: usize = 40;
const NAME: &str = "app.internal";

/// An authority that has signed for the name, for the address and for somebody else.
fn authority() -> Authority {
    let authority = Authority::new();
    authority.sign("named", &[NAME]);
    authority.sign("address", &["127.0.0.1"]);
    authority.sign("other", &["other.internal"]);
    authority.sign("gateway", &["gateway.internal"]);
    authority
}

/// An upstream with these further keys, on its own path.
fn upstream(name: &str, address: SocketAddr, keys: &str) -> String {
    format!(
        "[upstreams.{name}]\nservers = [\"{address}\"]\n{keys}\n\
         [[routes]]\npath = \"/{name}/**\"\nupstream = \"{name}\"\n"
    )
}

fn gateway(upstreams: &[String]) -> Gateway {
    Gateway::start(&format!("[store]\nkind = \"local\"\n{}", upstreams.concat()))
}

/// One upstream that takes every request.
fn alone(address: SocketAddr, keys: &str) -> Gateway {
    gateway(&[upstream("app", address, keys).replace("/app/**", "/**")])
}

fn trusting(authority: &Authority, keys: &str) -> String {
    format!("ca = \"{}\"\n{keys}", authority.path("ca.pem"))
}

fn seen(gateway: &Gateway) -> (u16, String) {
    let answer = gateway.get("/seen");
    (answer.status().as_u16(), answer.text().expect("a body"))
}

#[test]
fn http_1_and_2_go_over_tls() {
    let authority = authority();
    let nginx = Nginx::start(&authority, "named", true);
    for (protocol, version) in [("h1\"\ntls = true\n#", "HTTP/1.1"), ("h2\"\n#", "HTTP/2.0")] {
        let keys = format!("server_name = \"{NAME}\"\nprotocol = \"{protocol}");
        let gateway = alone(nginx.address(), &trusting(&authority, &keys));
        assert_eq!(seen(&gateway), (200, format!("{version} name={NAME} client=NONE")));
    }
}

/// The host as configured is what the certificate has to be for. An address is no name to send.
#[test]
fn without_a_name_the_host_is_verified() {
    let authority = authority();
    for http2 in [false, true] {
        let nginx = Nginx::start(&authority, "address", http2);
        let keys = if http2 { "protocol = \"h2\"" } else { "tls = true" };
        let gateway = alone(nginx.address(), &trusting(&authority, keys));
        let version = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert_eq!(seen(&gateway), (200, format!("{version} name= client=NONE")));
    }
}

#[test]
fn the_gateway_shows_who_it_is() {
    let authority = authority();
    let nginx = Nginx::start(&authority, "named", true);
    let [certificate, key] = ["gateway.pem", "gateway.key"].map(|file| authority.path(file));
    for protocol in ["tls = true", "protocol = \"h2\""] {
        let keys = format!(
            "{protocol}\nserver_name = \"{NAME}\"\n\
             client_certificate = {{ certificate = \"{certificate}\", key = \"{key}\" }}"
        );
        let gateway = alone(nginx.address(), &trusting(&authority, &keys));
        assert!(seen(&gateway).1.ends_with("client=SUCCESS"), "{:?}", seen(&gateway));
    }
}

/// Nothing is sent to who cannot prove who it is: 502, and the log says why.
#[test]
fn a_wrong_certificate_is_nobody() {
    let (authority, stranger) = (authority(), authority());
    let named = Nginx::start(&authority, "named", true);
    let other = Nginx::start(&authority, "other", true);
    let name = format!("server_name = \"{NAME}\"");
    let plain = crate::support::app::App::start();
    let cases = [
        (
            "another name",
            other.address(),
            trusting(&authority, &name),
            "certificate not valid for name",
        ),
        ("no name", named.address(), trusting(&authority, ""), "certificate not valid for name"),
        ("another authority", named.address(), trusting(&stranger, &name), "UnknownIssuer"),
        ("the system's", named.address(), name.clone(), "UnknownIssuer"),
        ("no TLS at all", plain.address(), trusting(&authority, &name), "TLSHandshakeFailure"),
    ];
    for (what, address, keys, reason) in cases {
        for protocol in ["tls = true", "protocol = \"h2\""] {
            let gateway = alone(address, &format!("{protocol}\n{keys}"));
            assert_eq!(seen(&gateway).0, 502, "{what}, {protocol}");
            let failed = gateway.metric("sluicegate_upstream_errors_total", &["kind=\"tls\""]);
            assert!(failed == 1.0, "{what}, {protocol}: {failed}\n{}", gateway.metrics());
            wait_until("the log to say why", || gateway.log().contains("the upstream failed"));
            let log = gateway.log();
            assert!(log.contains(reason), "{what}, {protocol}: {log}");
        }
    }
    assert_eq!(named.requests() + other.requests() + plain.seen().len(), 0, "nothing was sent");
}

/// Checks prove and show what requests do, also where a connection is all that they ask for.
#[test]
fn checks_go_over_tls() {
    let (authority, stranger) = (authority(), authority());
    let nginx = Nginx::start(&authority, "named", true);
    let mut asked = 0;
    for protocol in ["tls = true", "protocol = \"h2\""] {
        for path in ["path = \"/seen\"", ""] {
            for (from, result) in [(&authority, "ok"), (&stranger, "failed")] {
                let keys = format!(
                    "{protocol}\nserver_name = \"{NAME}\"\nca = \"{}\"\n\
                     health = {{ {path}{}interval = \"100ms\", timeout = \"100ms\" }}",
                    from.path("ca.pem"),
                    if path.is_empty() { "" } else { ", " },
                );
                let gateway = alone(nginx.address(), &keys);
                let result = format!("result=\"{result}\"");
                wait_until("checks", || {
                    let series = "sluicegate_upstream_health_checks_total";
                    gateway.metric(series, &[&result]) >= 3.0
                });
                let up = gateway.metric("sluicegate_upstream_servers_up", &[]);
                assert_eq!(up == 1.0, result.contains("ok"), "{keys}: {}", gateway.log());
                let requests = nginx.requests();
                assert_eq!(requests > asked, up == 1.0 && !path.is_empty(), "{keys}");
                asked = requests;
            }
        }
    }
}

/// It is its own authority, for the one who names it.
#[test]
fn a_self_signed_certificate_vouches_for_itself() {
    let authority = authority();
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let key = rcgen::KeyPair::generate().expect("a key");
    authority.write("itself.pem", &params.self_signed(&key).expect("a certificate").pem());
    authority.write("itself.key", &key.serialize_pem());
    let nginx = Nginx::start(&authority, "itself", false);
    let keys = format!("tls = true\nserver_name = \"{NAME}\"\n");
    let named = format!("{keys}ca = \"{}\"", authority.path("itself.pem"));
    assert_eq!(seen(&alone(nginx.address(), &named)).0, 200);
    assert_eq!(seen(&alone(nginx.address(), &trusting(&authority, &keys))).0, 502);
}

#[test]
fn the_log_is_no_flood() {
    let authority = authority();
    let nginx = Nginx::start(&authority, "other", false);
    let keys = trusting(&authority, &format!("tls = true\nserver_name = \"{NAME}\""));
    let gateway = alone(nginx.address(), &keys);
    let began = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(gateway.get("/").status(), 502);
    }
    let seconds = began.elapsed().as_secs() as usize;
    assert_eq!(gateway.metric("sluicegate_upstream_errors_total", &["kind=\"tls\""]), 200.0);
    let lines = gateway.log().lines().filter(|line| line.contains("failed")).count();
    assert!((1..=seconds + 2).contains(&lines), "{lines} in {seconds} s: {}", gateway.log());
}

/// What was proven to one is not taken over by another who asks for more: neither of two upstreams
/// at the same address, nor after a reload.
#[test]
fn a_kept_connection_is_nobodys_elses() {
    let (authority, stranger) = (authority(), authority());
    let nginx = Nginx::start(&authority, "named", true);
    for protocol in ["tls = true", "protocol = \"h2\""] {
        let keys = format!("{protocol}\nidle_timeout = \"1h\"\nserver_name = \"{NAME}\"");
        let gateway = gateway(&[
            upstream("good", nginx.address(), &trusting(&authority, &keys)),
            upstream("bad", nginx.address(), &trusting(&stranger, &keys)),
        ]);
        for _ in 0..3 {
            assert_eq!(gateway.get("/good/small").status(), 404, "nginx has answered");
            assert_eq!(gateway.get("/bad/small").status(), 502, "{protocol}");
        }
        gateway.edit(&authority.path("ca.pem"), &stranger.path("ca.pem"));
        gateway.signal("HUP");
        wait_until("the reload", || {
            gateway.metric("sluicegate_config_reloads_total", &["applied"]) == 1.0
        });
        assert_eq!(gateway.get("/good/small").status(), 502, "{protocol}, after the reload");
    }
}

/// Requests at once share connections, and those behind one another too.
#[test]
fn streams_share_connections() {
    let authority = authority();
    let nginx = Nginx::start(&authority, "named", true);
    let keys = format!("protocol = \"h2\"\nserver_name = \"{NAME}\"\nidle_timeout = \"1h\"");
    let gateway = alone(nginx.address(), &trusting(&authority, &keys));
    // Who comes first opens it.
    gateway.get("/connection");
    let connections = std::thread::scope(|scope| {
        let client = || {
            let ask = |_| gateway.get("/connection").text().expect("a body");
            (0..50).map(ask).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<BTreeSet<_>>()
    });
    println!("{} connections for 800 requests of 16 clients", connections.len());
    // Without sharing each client would have at least one.
    assert!((1..16).contains(&connections.len()), "{connections:?}");
}

/// The answers of a connection share its window. A client that does not read holds up his own.
#[test]
fn who_reads_slowly_does_not_hold_up_others() {
    let authority = authority();
    let nginx = Nginx::start(&authority, "named", true);
    let keys = format!("protocol = \"h2\"\nserver_name = \"{NAME}\"\nidle_timeout = \"1h\"");
    let gateway = alone(nginx.address(), &trusting(&authority, &keys));
    let connection = gateway.get("/connection").text().expect("a body");
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = raw::connect(gateway.public());
        stream.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        // Its beginning is here, and nobody asks for more.
        std::io::Read::read_exact(&mut stream, &mut [0; 4096]).unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let answer = gateway.get("/connection");
        assert_eq!(answer.text().expect("a body"), connection, "the same connection");
    }
    println!("{} MiB with {SLOW} slow readers", gateway.resident() >> 20);
}
