//! How handshakes end, and that each is counted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::l4::stream::Stream;
use sluicegate::config::Config;
use sluicegate::metrics::Metrics;
use sluicegate::tls::{Certificates, Handshakes};

use super::scene::{Scene, certificate};
use crate::support::certificates::Authority;
use crate::support::raw;
use crate::support::redis::wait_until;

const SERIES: &str = "sluicegate_tls_handshakes_total";

#[test]
fn who_speaks_no_tls_gets_no_answer_of_http() {
    let scene = Scene::start("", "");
    let failed = |count: f64| {
        let what = format!("{count} failures to be counted");
        wait_until(&what, || scene.gateway.metric(SERIES, &["\"failed\""]) == count);
    };
    // The scene looks whether the gateway listens, and goes away.
    failed(1.0);
    let mut stream = raw::connect(scene.tls);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it is read");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    failed(2.0);
    scene.curl(&[], "/").fine();
    assert_eq!(scene.gateway.metric(SERIES, &["\"ok\""]), 1.0);
    // A client that does not believe us.
    assert!(!scene.curl(&["--cacert", "/etc/ssl/certs/ca-certificates.crt"], "/").ok);
    failed(3.0);
    assert_eq!(scene.app.seen().len(), 1);
}

#[test]
fn a_client_that_says_nothing_is_not_waited_for() {
    let authority = Authority::new();
    authority.sign("localhost", &["localhost"]);
    let text = format!(
        "[tls]\nlisten = [\"127.0.0.1:8443\"]\n{}[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
        certificate(&authority, "localhost")
    );
    let (config, _) = Config::parse(&text, "gateway.toml", &|_| None, 0).expect("a valid file");
    let held = Arc::new(Certificates::new(&config.https).expect("certificates"));
    let metrics = Arc::new(Metrics::new().expect("series"));
    let handshakes = Handshakes::new(&held, Arc::clone(&metrics)).expect("TLS");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(silent.local_addr().expect("bound")).expect("it listens");
    let (accepted, _) = silent.accept().expect("it came");
    accepted.set_nonblocking(true).expect("a socket");
    let shaken = runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::from_std(accepted).expect("a socket");
        handshakes.shake(Stream::from(stream), Duration::from_millis(20)).await
    });
    assert!(shaken.is_none());
    drop(client);
    assert_eq!(metrics.handshakes(), [("ok", 0), ("failed", 0), ("timeout", 1)]);
}
