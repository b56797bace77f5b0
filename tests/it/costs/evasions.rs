//! Ways to pay less than a request has cost.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::costs::{everyone, local, told};
use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::{RedisServer, wait_until};

/// A policy that allows one failure an hour.
const ONE_GUESS: &str = "[policies.login]\nquota = 1\nwindow = \"1h\"\npartition = []\n\
     count = \"failures\"\nfailure_status = [401, 404]\n\
     [[rules]]\npath = \"/**\"\npolicies = [\"login\"]\n";

/// An application that does with its connections, which are numbered, as the test says.
fn serving(serve: impl Fn(usize, TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            serve(number, stream);
        }
    });
    address
}

fn alone(app: SocketAddr, limits: &str) -> Gateway {
    Gateway::start(&format!("[store]\nkind = \"local\"\n{}{limits}", app_at(app)))
}

/// Reads up to `end` and not a byte further.
fn read_to(mut stream: &TcpStream, end: &[u8]) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(end) {
        stream.read_exact(&mut byte).expect("all of it comes");
        seen.push(byte[0]);
    }
}

/// The client has seen something, but no answer: the guess counts.
#[test]
fn a_provisional_answer_is_no_answer() {
    let app = serving(|_, mut stream| {
        read_to(&stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").expect("the gateway reads");
        // Until the gateway goes.
        let _ = stream.read(&mut [0]);
    });
    let gateway = alone(app, ONE_GUESS);
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    assert!(raw::read_answer(&mut stream).0.starts_with("HTTP/1.1 103"));
    drop(stream);
    wait_until("the guess to end", || gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0);
    assert_eq!(gateway.client().post(gateway.url("/")).send().unwrap().status(), 429);
}

/// To a gRPC client every answer of the gateway has the status 200.
#[test]
fn a_scan_in_the_name_of_grpc_is_a_scan() {
    let app = App::start();
    let config = format!("[store]\nkind = \"local\"\n{}{ONE_GUESS}", app_at(app.address()));
    let gateway = Gateway::start(&config.replacen("path = \"/**\"", "path = \"/app/**\"", 1));
    let scan = || {
        let request = gateway.client().get(gateway.url("/nothing"));
        let answer = request.header("content-type", "application/grpc").send().expect("an answer");
        answer.headers()["grpc-status"].to_str().expect("text").to_owned()
    };
    assert_eq!([scan(), scan()], ["12", "8"], "not found, and then too many");
}

/// The client spoils its own request when the application has it: that is as going away.
#[test]
fn who_spoils_the_request_has_guessed() {
    let app = serving(|_, mut stream| {
        // Until the gateway goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = alone(app, ONE_GUESS);
    let guess =
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nguess\r\nzz\r\n";
    let answer = raw::exchange(gateway.public(), guess.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
    wait_until("the guess to end", || gateway.metric("sluicegate_requests_in_flight", &[]) == 0.0);
    assert_eq!(gateway.client().post(gateway.url("/")).send().unwrap().status(), 429);
}

/// A body that is sent again, because a kept connection turned out to be closed, was one body.
#[test]
fn a_body_that_is_sent_again_is_paid_once() {
    let body_end = b"\r\n0\r\n\r\n";
    let app = serving(|number, mut stream| {
        read_to(&stream, b"\r\n\r\n");
        if number == 1 {
            read_to(&stream, body_end);
        }
        let kept = if number == 0 { "" } else { "connection: close\r\n" };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{kept}\r\nok");
        stream.write_all(answer.as_bytes()).expect("the gateway reads");
        if number == 0 {
            // The next request comes on this connection, and gets no answer.
            read_to(&stream, body_end);
        }
    });
    let gateway = alone(app, &everyone(100, "cost_from = \"body:1KiB\""));
    assert_eq!(told(gateway.client().get(gateway.url("/"))), (200, 99, false));
    let chunk = format!("1000\r\n{}", "x".repeat(4_096));
    let request = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {chunk}\r\n0\r\n\r\n"
    );
    let answer = raw::exchange(gateway.public(), request.as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    wait_until("the body to be paid", || {
        gateway.metric("sluicegate_settlements_total", &["by=\"local\""]) == 1.0
    });
    assert_eq!(told(gateway.client().get(gateway.url("/"))).1, 99 - 4 - 1);
}

/// The header in which the application says the cost is for the gateway, wherever it stands.
#[test]
fn a_cost_in_a_provisional_answer_goes_no_further() {
    let app = App::answering(|_| {
        b"103 Early Hints\r\nx-cost: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            .to_vec()
    });
    let gateway = local(&app, "", &everyone(100, "settle_from = \"header:x-cost\""));
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = raw::exchange(gateway.public(), request).escape_ascii().to_string();
    assert!(answer.contains("103 Early Hints") && answer.contains("200 OK"), "{answer}");
    assert!(!answer.contains("x-cost"), "{answer}");
}

/// Nor in the answer to a request that no limit concerns.
#[test]
fn who_is_exempt_does_not_see_the_cost_either() {
    let app = App::answering(|_| response("200 OK", "x-cost: 5\r\n", b"done"));
    let limits = everyone(100, "settle_from = \"header:x-cost\"");
    let gateway = local(&app, "", &format!("{limits}[exempt]\npaths = [\"/free\"]\n"));
    for path in ["/", "/free"] {
        assert!(!gateway.get(path).headers().contains_key("x-cost"), "{path}");
    }
}

/// A window that was made longer while a request was under way is settled as the longer one: with
/// the old one, what others have used meanwhile would be forgotten.
#[test]
fn a_request_from_before_a_reload_settles_by_what_is_in_force() {
    let hold = Arc::new(AtomicBool::new(true));
    let waiting = Arc::clone(&hold);
    let app = App::answering(move |seen| {
        if seen.header("x-slow").is_some() {
            wait_until("the test to go on", || !waiting.load(Ordering::SeqCst));
        }
        response("200 OK", "x-cost: 1\r\n", b"done")
    });
    let redis = RedisServer::start();
    let limits = everyone(100, "cost = 10\nsettle_from = \"header:x-cost\"");
    let config = format!("{}{}", app_at(app.address()), limits.replace("\"1h\"", "\"10s\""));
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"", &config);
    std::thread::scope(|scope| {
        let request = gateway.client().get(gateway.url("/")).header("x-slow", "yes");
        let slow = scope.spawn(|| request.send().expect("an answer").status().as_u16());
        let allowed = || gateway.metric("sluicegate_decisions_total", &["decision=\"allow\""]);
        wait_until("the slow one to be under way", || allowed() == 1.0);
        gateway.edit("\"10s\"", "\"1h\"");
        gateway.signal("HUP");
        let reloads = || gateway.metric("sluicegate_config_reloads_total", &["applied"]);
        wait_until("the reload", || reloads() == 1.0);
        hold.store(false, Ordering::SeqCst);
        assert_eq!(slow.join().expect("it asks"), 200);
    });
    let settled = || gateway.metric("sluicegate_settlements_total", &["by=\"redis\""]);
    wait_until("it to be settled", || settled() == 1.0);
    let keys: Vec<String> = redis.command(&["KEYS", "*:all:s"]);
    let left: u64 = redis.command(&["PTTL", &keys[0]]);
    assert!(left > 600_000, "{left} ms");
}
