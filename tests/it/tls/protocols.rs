//! HTTP/1.1 and HTTP/2, TLS 1.2 and 1.3, and nothing older.

use super::scene::Scene;
use crate::support::app::{App, response};
use crate::support::certificates::Authority;

const BY_ADDRESS: &str = "[policies.p]\nquota = 2\nwindow = \"1h\"\n\
    [[rules]]\npath = \"/limited\"\npolicies = [\"p\"]\n";

#[test]
fn both_versions_of_http_by_alpn() {
    let scene = Scene::start("", "");
    for (argument, line) in [("--http1.1", "HTTP/1.1 200 OK"), ("--http2", "HTTP/2 200")] {
        let said = scene.curl(&[argument], "/");
        assert!(said.has(line) && said.out.ends_with("hello"), "{argument}: {said:?}");
        assert_eq!(scene.app.last().header("x-forwarded-proto"), Some("https"), "{argument}");
    }
    assert_eq!(scene.gateway.get("/").status(), 200);
    assert_eq!(scene.app.last().header("x-forwarded-proto"), Some("http"));
    for argument in ["--http1.1", "--http1.0"] {
        let without_alpn = scene.curl(&["--no-alpn", argument], "/");
        assert!(without_alpn.has("HTTP/1.1 200 OK"), "{without_alpn:?}");
    }
    let other = scene.python(
        "context.set_alpn_protocols(['spdy/3'])\n\
         plain = socket.create_connection(('127.0.0.1', port))\n\
         context.wrap_socket(plain, server_hostname='localhost')\n",
    );
    assert!(!other.ok && other.err.contains("alert no application protocol"), "{other:?}");
}

#[test]
fn what_a_client_says_of_its_protocol_is_not_believed() {
    let scene = Scene::start("", "");
    scene.curl(&["-H", "X-Forwarded-Proto: http", "-H", "X-Forwarded-Port: 80"], "/").fine();
    let seen = scene.app.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-port"), None);
}

#[test]
fn tls_1_2_and_1_3_and_nothing_older() {
    let scene = Scene::start("", "");
    let asked = |least: &str, most: &str| {
        scene.python(&format!(
            "context.set_ciphers('ALL:@SECLEVEL=0')\n\
             context.minimum_version = ssl.TLSVersion.{least}\n\
             context.maximum_version = ssl.TLSVersion.{most}\n\
             plain = socket.create_connection(('127.0.0.1', port))\n\
             print(context.wrap_socket(plain, server_hostname='localhost').version())\n"
        ))
    };
    assert_eq!(asked("TLSv1_2", "TLSv1_2").fine(), "TLSv1.2\n");
    assert_eq!(asked("TLSv1_3", "TLSv1_3").fine(), "TLSv1.3\n");
    assert_eq!(asked("TLSv1", "MAXIMUM_SUPPORTED").fine(), "TLSv1.3\n");
    let old = asked("TLSv1", "TLSv1_1");
    // The alert of the gateway, not a scruple of the client.
    assert!(!old.ok && old.err.contains("_ALERT_"), "{old:?}");
    assert!(scene.curl(&["--tls-max", "1.2"], "/").ok);
}

#[test]
fn one_limit_counts_with_tls_and_without() {
    let scene = Scene::start("", BY_ADDRESS);
    assert!(scene.curl(&["--http2"], "/limited").has("HTTP/2 200"));
    assert_eq!(scene.gateway.get("/limited").status(), 200);
    let denied = scene.curl(&["--http2"], "/limited");
    assert!(denied.has("HTTP/2 429") && denied.out.contains("retry-after: "), "{denied:?}");
    let denied = scene.curl(&["--http1.1"], "/limited");
    assert!(denied.has("HTTP/1.1 429 Too Many Requests"), "{denied:?}");
    assert_eq!(scene.gateway.get("/limited").status(), 429);
}

#[test]
fn many_requests_on_one_connection() {
    let scene = Scene::start("", "");
    let said = scene.python(
        "connection = http.client.HTTPSConnection('localhost', port, context=context)\n\
         own = set()\n\
         for number in range(50):\n    \
             connection.request('POST', '/', body=b'x' * number * 100)\n    \
             answer = connection.getresponse()\n    \
             assert (answer.status, answer.read()) == (200, b'hello')\n    \
             own.add(connection.sock.getsockname())\n\
         print(len(own))\n",
    );
    assert_eq!(said.fine(), "1\n");
    let lengths: Vec<_> = scene.app.seen().iter().map(|seen| seen.body.len()).collect();
    assert_eq!(lengths, (0..50).map(|number| number * 100).collect::<Vec<_>>());
}

#[test]
fn large_bodies_go_both_ways_unharmed() {
    let body: Vec<u8> =
        (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let app = App::answering(|seen| response("200 OK", "", &seen.body));
    let scene = Scene::with(app, Authority::new(), "", "");
    let [sent, got] = ["sent", "got"].map(|file| scene.authority.path(file));
    std::fs::write(&sent, &body).expect("it is written");
    for version in ["--http1.1", "--http2"] {
        let data = format!("@{sent}");
        scene.curl(&[version, "--no-include", "-o", &got, "--data-binary", &data], "/").fine();
        assert!(std::fs::read(&got).expect("an answer") == body, "{version}");
    }
}
