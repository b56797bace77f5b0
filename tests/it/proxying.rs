//! What passes between a client and the application, and what does not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::free_port;

const LOCAL: &str = "[store]\nkind = \"local\"\n";

fn local(app: SocketAddr, more: &str) -> Gateway {
    Gateway::start(&format!("{LOCAL}{}{more}", app_at(app)))
}

/// One request a hour, for everyone together.
const ONE: &str = "[policies.one]\nquota = 1\nwindow = \"1h\"\npartition = []\n\
                   [[rules]]\npath = \"/**\"\npolicies = [\"one\"]\n";

#[test]
fn an_untrusted_client_claims_no_address_and_no_user() {
    let app = App::start();
    let config =
        "[client]\ntrusted_proxies = [\"192.0.2.0/24\"]\n[identity.header]\nuser = \"x-user-id\"\n";
    let gateway = local(app.address(), config);
    let claims = [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "true-client-ip",
        "x-user-id",
        "cf-connecting-ip",
    ];
    let mut request = gateway.client().get(gateway.url("/a?b=c")).header("host", "example.org");
    for claim in claims {
        request = request.header(claim, "198.51.100.1");
    }
    assert_eq!(request.header("x-request-id", "mine").send().unwrap().status(), 200);
    let seen = app.last();
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.header("host"), Some("example.org"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("example.org"));
    for claim in &claims[1..] {
        assert_eq!(seen.header(claim), None, "{claim}");
    }
    let id = seen.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn a_trusted_proxy_is_believed_and_added_to() {
    let app = App::start();
    let config =
        "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n[identity.header]\nuser = \"x-user-id\"\n";
    let gateway = local(app.address(), config);
    let request = gateway.client().get(gateway.url("/")).header("x-forwarded-for", "203.0.113.9");
    let request = request.header("x-forwarded-proto", "https").header("x-user-id", "ada");
    let request = request.header("x-forwarded-host", "example.org").header("x-request-id", "mine");
    assert_eq!(request.send().unwrap().status(), 200);
    let seen = app.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("example.org"));
    assert_eq!(seen.header("x-user-id"), Some("ada"));
    assert_eq!(seen.header("x-request-id"), Some("mine"));
}

#[test]
fn hop_by_hop_headers_end_here() {
    let app = App::answering(|_| {
        response(
            "200 OK",
            "connection: x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=9\r\n",
            b"hi",
        )
    });
    let gateway = local(app.address(), "");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close, x-mine\r\nx-mine: 1\r\n\
                    keep-alive: timeout=5\r\nproxy-authorization: secret\r\nte: trailers\r\n\r\n";
    let answer = String::from_utf8(raw::exchange(gateway.public(), request)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("keep-alive: timeout"), "{answer}");
    let seen = app.last();
    for name in ["x-mine", "keep-alive", "proxy-authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[test]
fn a_route_can_name_the_application_s_own_host() {
    let app = App::start();
    let address = app.address();
    let config = format!(
        "{LOCAL}[upstreams.app]\nservers = [\"{address}\"]\n\
        [[routes]]\npath = \"/**\"\nupstream = \"app\"\npreserve_host = false\n"
    );
    assert_eq!(Gateway::start(&config).get("/").status(), 200);
    assert_eq!(app.last().header("host"), Some(address.to_string().as_str()));
}

#[test]
fn an_application_that_is_away_is_a_503_and_a_silent_one_a_504() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    // It accepts into its backlog and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let config = format!(
        "{LOCAL}[upstreams.away]\nservers = [\"{nobody}\"]\n\
         [upstreams.silent]\nservers = [\"{}\"]\nread_timeout = \"200ms\"\n\
         [[routes]]\npath = \"/away\"\nupstream = \"away\"\n[[routes]]\npath = \"/silent\"\nupstream = \"silent\"\n",
        silent.local_addr().unwrap()
    );
    let gateway = Gateway::start(&config);
    for (path, status) in [("/away", 503), ("/silent", 504), ("/elsewhere", 404)] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body: serde_json::Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        assert_eq!((&body["status"], &body["type"]), (&status.into(), &"about:blank".into()));
    }
    assert_eq!(
        gateway
            .metric("sluicegate_upstream_errors_total", &["upstream=\"away\"", "kind=\"connect\""]),
        1.0
    );
    assert_eq!(
        gateway.metric(
            "sluicegate_upstream_errors_total",
            &["upstream=\"silent\"", "kind=\"timeout\""]
        ),
        1.0
    );
    assert_eq!(
        gateway.metric("sluicegate_requests_total", &["route=\"none\"", "code_class=\"4xx\""]),
        1.0
    );
}

#[test]
fn servers_take_turns_and_a_dead_one_is_passed_over() {
    let apps = [App::start(), App::start()];
    let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = format!(
        "{LOCAL}[upstreams.app]\nservers = [\"{}\", \"{}\", \"{dead}\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
        apps[0].address(),
        apps[1].address()
    );
    let gateway = Gateway::start(&config);
    // A POST too: a connection that could not be made has carried nothing.
    for request in 0..30 {
        let url = gateway.url("/");
        let request = if request % 2 == 0 {
            gateway.client().get(url)
        } else {
            gateway.client().post(url).body("x")
        };
        assert_eq!(request.send().unwrap().status(), 200);
    }
    let counts = apps.each_ref().map(|app| app.seen().len());
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
}

#[test]
fn an_application_may_listen_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("sluicegate-app-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix").unwrap();
    });
    let config = format!(
        "{LOCAL}[upstreams.app]\nservers = [\"unix:{}\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
        path.display()
    );
    assert_eq!(Gateway::start(&config).get("/").text().unwrap(), "unix");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_http_1_0_client_is_answered_in_its_own_language() {
    let app = App::answering(|_| {
        b"200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n yo\r\n0\r\n\r\n".to_vec()
    });
    let gateway = local(app.address(), "");
    let answer =
        String::from_utf8(raw::exchange(gateway.public(), b"GET / HTTP/1.0\r\n\r\n")).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body, "hi yo", "the end of the connection is the end of the body");
    assert!(app.last().header("host").is_some(), "the application is spoken to in HTTP/1.1");
}

#[test]
fn chunks_and_answers_without_body_pass() {
    let app = App::answering(|seen| match seen.target.as_str() {
        "/old" => b"304 Not Modified\r\netag: \"a\"\r\n\r\n".to_vec(),
        "/head" => b"200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec(),
        _ => response("200 OK", "", &seen.body),
    });
    let gateway = local(app.address(), "");
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap();
    assert_eq!(raw::read_answer(&mut stream).1, b"abcde");
    let head = gateway.client().head(gateway.url("/head")).send().unwrap();
    assert_eq!(head.headers()["content-length"], "1234");
    let old = gateway.get("/old");
    assert_eq!((old.status().as_u16(), &old.headers()["etag"]), (304, &"\"a\"".parse().unwrap()));
}

#[test]
fn a_refusal_keeps_the_connection_where_the_body_is_small() {
    let app = App::start();
    let gateway = local(app.address(), ONE);
    assert_eq!(gateway.get("/").status(), 200);
    let mut stream = raw::connect(gateway.public());
    let small = "x".repeat(60_000);
    for _ in 0..3 {
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{small}",
            small.len()
        )
        .unwrap();
        let (head, body) = raw::read_answer(&mut stream);
        assert!(
            head.starts_with("HTTP/1.1 429")
                && head.to_ascii_lowercase().contains("connection: keep-alive"),
            "{head}"
        );
        assert!(String::from_utf8(body).unwrap().contains("quota-exceeded"));
    }
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    .unwrap();
    assert!(
        raw::read_answer(&mut stream).0.to_ascii_lowercase().contains("connection: keep-alive")
    );
    write!(stream, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60000000\r\n\r\n").unwrap();
    let (head, _) = raw::read_answer(&mut stream);
    assert!(
        head.starts_with("HTTP/1.1 429") && head.to_ascii_lowercase().contains("connection: close"),
        "{head}"
    );
    assert_eq!(app.seen().len(), 1, "no refused request reaches the application");
}

#[test]
fn who_asks_before_sending_a_body_gets_the_refusal_and_never_the_100() {
    let app = App::start();
    let gateway = local(app.address(), ONE);
    assert_eq!(gateway.get("/").status(), 200);
    let request =
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let answer = String::from_utf8(raw::exchange(gateway.public(), request)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
}

#[test]
fn a_grpc_call_is_refused_in_its_own_language() {
    let app = App::start();
    let gateway = local(app.address(), ONE);
    assert_eq!(gateway.get("/").status(), 200);
    let call = gateway
        .client()
        .post(gateway.url("/pkg.Service/Do"))
        .header("content-type", "application/grpc");
    let answer = call.body("").send().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "8");
    assert!(answer.headers().contains_key("retry-after"));
}

#[test]
fn the_application_s_own_limits_are_replaced_or_kept() {
    let app = App::answering(|_| {
        let own = "x-ratelimit-limit: 7\r\nx-ratelimit-remaining: 6\r\nratelimit: \"app\";r=6\r\nratelimit-policy: \"app\";q=7\r\n";
        response("200 OK", own, b"")
    });
    let gateway = local(app.address(), ONE);
    let answer = gateway.get("/");
    let all = |name: &str| -> Vec<&str> {
        answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    assert_eq!(all("x-ratelimit-limit"), ["1"]);
    assert_eq!(all("x-ratelimit-remaining"), ["0"]);
    assert_eq!(all("ratelimit-policy"), ["\"app\";q=7", "\"one\";q=1;w=3600"]);
    assert_eq!(all("ratelimit")[0], "\"app\";r=6");
    assert!(all("ratelimit")[1].starts_with("\"one\";r=0;t="));
}

#[test]
fn a_header_that_only_looks_like_a_claim_is_taken_off() {
    let app = App::start();
    let config = "[client]\ntrusted_proxies = [\"192.0.2.1\"]\n\
                  [request]\nunderscores = \"keep\"\n[identity.header]\nuser = \"x-user-id\"\n";
    let gateway = local(app.address(), config);
    let request = gateway.client().get(gateway.url("/")).header("x_user_id", "admin");
    let request =
        request.header("x_forwarded_for", "198.51.100.1").header("x-forwarded_host", "evil");
    assert_eq!(request.header("x_own", "kept").send().unwrap().status(), 200);
    let seen = app.last();
    for name in ["x_user_id", "x_forwarded_for", "x-forwarded_host"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x_own"), Some("kept"));
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    let app = App::start();
    let gateway = local(app.address(), "");
    for target in ["x:/login", "@a/login", "foo:bar", "*"] {
        let request = format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        let answer =
            String::from_utf8(raw::exchange(gateway.public(), request.as_bytes())).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert!(app.seen().is_empty());
}

/// An application that answers one request a connection and drops the next, as one does whose
/// keep-alive has just run out. Counts the requests that it got.
fn forgetful() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            for answer in [true, false] {
                if stream.read(&mut head).is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = answer
                        .then(|| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
                }
            }
        }
    });
    (address, requests)
}

#[test]
fn only_requests_that_do_no_harm_twice_are_sent_again() {
    let cases = [(Method::GET, 200, 3), (Method::DELETE, 200, 3), (Method::POST, 502, 2)];
    for (method, status, sent) in cases {
        let (address, requests) = forgetful();
        let gateway = local(address, "");
        let ask =
            || gateway.client().request(method.clone(), gateway.url("/")).send().unwrap().status();
        assert_eq!(ask(), 200);
        assert_eq!(ask(), status, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), sent, "{method}");
    }
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

#[test]
fn a_tunnel_that_breaks_off_carries_no_problem() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(SWITCH).unwrap();
        stream.write_all(b"HELLO").unwrap();
    });
    let gateway = local(address, "");
    let answer = String::from_utf8(raw::exchange(gateway.public(), UPGRADE)).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert_eq!(rest, "HELLO");
}

#[test]
fn a_grpc_call_to_an_absent_application_is_unavailable() {
    let gateway = local(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())), "");
    let call =
        gateway.client().post(gateway.url("/s/M")).header("content-type", "application/grpc+proto");
    let answer = call.send().unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
    let web =
        gateway.client().post(gateway.url("/s/M")).header("content-type", "application/grpc-web");
    assert_eq!(web.send().unwrap().status(), 503);
}

/// Sockets that are opened to an application whose 101 is there before the request.
const SOCKETS: usize = 60;

#[test]
fn no_tunnel_is_lost_to_a_fast_application() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.write_all(SWITCH).unwrap();
                // Echoes what comes after the request's head, a byte at a time.
                let (mut head, mut byte) = (Vec::new(), [0]);
                while stream.read(&mut byte).is_ok_and(|read| read > 0) {
                    if head.ends_with(b"\r\n\r\n") {
                        stream.write_all(&byte).unwrap();
                    } else {
                        head.push(byte[0]);
                    }
                }
            });
        }
    });
    let gateway = local(address, "");
    for socket in 0..SOCKETS {
        let mut stream = raw::connect(gateway.public());
        stream.write_all(UPGRADE).unwrap();
        assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 101"));
        stream.write_all(b"!").unwrap();
        let mut echo = [0];
        stream.read_exact(&mut echo).unwrap_or_else(|error| panic!("socket {socket}: {error}"));
        assert_eq!(&echo, b"!");
    }
}
