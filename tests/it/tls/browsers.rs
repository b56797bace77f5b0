//! What browsers are told of TLS, and how they get there.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use super::scene::{LOCAL, Scene, certificate};
use crate::support::app::{App, response};
use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

const HSTS: &str = "hsts = \"365d\"\n";
const PROMISE: &str = "strict-transport-security: max-age=31536000";
const REDIRECT: &str = "redirect = true\nredirect_port = 443\n";
const LIMITS: &str = "[policies.p]\nquota = 1\nwindow = \"1h\"\n\
    [[rules]]\npath = \"/limited\"\npolicies = [\"p\"]\n";

#[test]
fn every_answer_over_tls_says_to_come_back_with_tls() {
    let scene = Scene::start(HSTS, LIMITS);
    for (path, status) in [("/", "200"), ("/limited", "200"), ("/limited", "429")] {
        for version in ["--http1.1", "--http2"] {
            if (path, status, version) == ("/limited", "200", "--http2") {
                continue;
            }
            let said = scene.curl(&[version], path);
            assert!(said.out.contains(&format!(" {status} ")), "{path}: {said:?}");
            assert!(said.has(PROMISE), "{path} {version}: {said:?}");
        }
    }
    let odd = scene.curl(&["--http1.1", "-H", "Host: a:b"], "/");
    assert!(odd.has("HTTP/1.1 400 Bad Request") && odd.has(PROMISE), "{odd:?}");
    let plain = scene.gateway.get("/");
    assert!(!plain.headers().contains_key("strict-transport-security"), "{plain:?}");
}

#[test]
fn so_does_an_answer_in_place_of_the_application_s() {
    let scene = Scene::with(App::answering(|_| b"no answer".to_vec()), Authority::new(), HSTS, "");
    let said = scene.curl(&["--http1.1"], "/");
    assert!(said.has("HTTP/1.1 502 Bad Gateway") && said.has(PROMISE), "{said:?}");
}

#[test]
fn what_the_application_says_of_it_stays() {
    let own = "strict-transport-security: max-age=7; preload\r\n";
    let app = App::answering(move |_| response("200 OK", own, b""));
    let scene = Scene::with(app, Authority::new(), HSTS, "");
    let said = scene.curl(&[], "/");
    assert!(said.has(own.trim_end()) && !said.has(PROMISE), "{said:?}");
    let silent = Scene::start("", "");
    assert!(!silent.curl(&[], "/").out.contains("strict-transport"));
}

/// The status and the `Location` of what the plain listener answers to these lines.
fn sent(scene: &Scene, lines: &str) -> (String, Option<String>) {
    let request = format!("{lines}connection: close\r\n\r\n");
    let answer = raw::exchange(scene.gateway.public(), request.as_bytes());
    let answer = String::from_utf8(answer).expect("text");
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    let location = location.or(answer.lines().find_map(|line| line.strip_prefix("Location: ")));
    (answer.split(' ').nth(1).unwrap_or_default().to_owned(), location.map(str::to_owned))
}

#[test]
fn without_tls_a_client_is_sent_to_tls() {
    let scene = Scene::start(REDIRECT, LIMITS);
    for (lines, location) in [
        ("GET /a?b=c HTTP/1.1\r\nhost: example.org\r\n", "https://example.org/a?b=c"),
        ("GET / HTTP/1.1\r\nhost: Example.ORG:8080\r\n", "https://example.org/"),
        (
            "GET //evil.example/ HTTP/1.1\r\nhost: example.org\r\n",
            "https://example.org//evil.example/",
        ),
        ("POST / HTTP/1.1\r\nhost: [::1]:80\r\ncontent-length: 0\r\n", "https://[::1]/"),
        ("GET http://example.org/a HTTP/1.1\r\nhost: example.org\r\n", "https://example.org/a"),
        // No limit concerns it.
        ("GET /limited HTTP/1.1\r\nhost: example.org\r\n", "https://example.org/limited"),
        ("GET /limited HTTP/1.1\r\nhost: example.org\r\n", "https://example.org/limited"),
    ] {
        assert_eq!(sent(&scene, lines), ("308".to_owned(), Some(location.to_owned())), "{lines}");
    }
    for lines in [
        "GET / HTTP/1.1\r\nhost: a:b\r\n",
        "GET / HTTP/1.1\r\nhost: a@b\r\n",
        "GET / HTTP/1.1\r\nhost: \r\n",
        "GET / HTTP/1.0\r\n",
    ] {
        assert_eq!(sent(&scene, lines), ("400".to_owned(), None), "{lines}");
    }
    assert!(scene.app.seen().is_empty(), "{:?}", scene.app.seen());
    let labels = ["route=\"none\"", "code_class=\"3xx\""];
    assert_eq!(scene.gateway.metric("sluicegate_requests_total", &labels), 7.0);
    assert_eq!(scene.gateway.metric("sluicegate_decisions_total", &[]), 0.0);
}

#[test]
fn an_authority_that_looks_whose_host_it_is_is_not_sent_away() {
    let scene = Scene::start(REDIRECT, "");
    let path = "/.well-known/acme-challenge/token";
    let lines = format!("GET {path} HTTP/1.1\r\nhost: example.org\r\n");
    assert_eq!(sent(&scene, &lines), ("200".to_owned(), None));
    assert_eq!(scene.app.last().target, path);
    for near in ["/.well-known/acme-challenge", "/.well-known/other"] {
        let lines = format!("GET {near} HTTP/1.1\r\nhost: example.org\r\n");
        assert_eq!(sent(&scene, &lines).0, "308", "{near}");
    }
}

#[test]
fn what_came_to_a_trusted_proxy_with_tls_has_arrived() {
    let trusting = "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let scene = Scene::start(REDIRECT, trusting);
    let lines = "GET / HTTP/1.1\r\nhost: a.example\r\nx-forwarded-proto: ";
    assert_eq!(sent(&scene, &format!("{lines}https\r\n")).0, "200");
    assert_eq!(sent(&scene, &format!("{lines}http\r\n")).0, "308");
    let scene = Scene::start(REDIRECT, "");
    assert_eq!(sent(&scene, &format!("{lines}https\r\n")).0, "308", "nobody's word");
}

#[test]
fn the_connection_stays_and_the_port_is_that_of_the_listener() {
    let scene = Scene::start("redirect = true\n", "");
    let mut stream = raw::connect(scene.gateway.public());
    let location = format!("location: https://example.org:{}/x", scene.tls.port());
    for _ in 0..3 {
        stream
            .write_all(b"POST /x HTTP/1.1\r\nhost: example.org\r\ncontent-length: 3\r\n\r\nabc")
            .unwrap();
        let (head, body) = raw::read_answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 308 ") && body.is_empty(), "{head}");
        assert!(head.to_ascii_lowercase().contains(&location), "{head}");
    }
}

#[test]
fn a_gateway_may_listen_with_tls_alone() {
    let app = App::start();
    let authority = Authority::new();
    authority.sign("localhost", &["localhost"]);
    let shown = certificate(&authority, "localhost");
    let text = format!(
        "[server]\nlisten = []\n[tls]\nlisten = [\"${{LISTEN}}\"]\n{shown}\
         [admin]\nlisten = \"${{ADMIN}}\"\n{}{}",
        LOCAL,
        app_at(app.address())
    );
    let gateway = Gateway::start_whole(&text, &[]);
    let tls = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.public().port()));
    let mut scene = Scene { gateway, authority, app, tls };
    assert!(scene.curl(&["--http2"], "/").has("HTTP/2 200"));
    let said = scene.python(
        "connection = http.client.HTTPSConnection('localhost', port, context=context)\n\
         own = set()\n\
         for _ in range(5):\n    \
             connection.request('GET', '/')\n    \
             answer = connection.getresponse()\n    \
             assert (answer.status, answer.read()) == (200, b'hello')\n    \
             own.add(connection.sock.getsockname())\n\
         print(len(own))\n",
    );
    assert_eq!(said.fine(), "1\n", "its connection stays");
    scene.gateway.signal("TERM");
    assert_eq!(scene.gateway.wait(), Some(0));
}

#[test]
fn nobody_is_sent_to_a_listener_that_is_not_there() {
    let app = App::start();
    let authority = Authority::new();
    authority.sign("localhost", &["localhost"]);
    let gateway = Gateway::start(&format!("{LOCAL}{}", app_at(app.address())));
    let tls = format!(
        "[tls]\nlisten = [\"127.0.0.1:1\"]\nredirect = true\n{}",
        certificate(&authority, "localhost")
    );
    gateway.edit("[store]", &format!("{tls}[store]"));
    gateway.signal("HUP");
    wait_until("the reload", || {
        gateway.metric("sluicegate_config_reloads_total", &["applied"]) == 1.0
    });
    assert_eq!(gateway.get("/").status(), 200);
    assert!(gateway.log().contains("keys=\"tls.listen\""), "{}", gateway.log());
}
