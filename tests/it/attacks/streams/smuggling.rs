//! C-16 over HTTP/2: what HTTP/1.1 would read as another request, or as none (H2.CL, H2.TE).

use super::{decisions, start};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::http2::{
    Connection, DATA, END_HEADERS, END_STREAM, End, HEADERS, WHOLE, block, frame,
};

/// What must never be a request of its own.
const INSIDE: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// What is sent: the headers, and the body if there is one.
struct Case {
    what: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(&'static str, &'static str)>,
}

fn case(what: &'static str, method: &str, more: &[(&'static str, &str)]) -> Case {
    let mut headers = vec![
        (":method", method.to_owned()),
        (":scheme", "http".to_owned()),
        (":authority", "a".to_owned()),
        (":path", "/one".to_owned()),
    ];
    headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Case { what, headers, body: None, trailers: Vec::new() }
}

impl Case {
    fn with(mut self, name: &str, value: &str) -> Self {
        for header in self.headers.iter_mut().filter(|header| header.0 == name) {
            value.clone_into(&mut header.1);
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|header| header.0 != name);
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    fn trailers(mut self, trailers: &[(&'static str, &'static str)]) -> Self {
        self.trailers = trailers.to_vec();
        self.body.get_or_insert_default();
        self
    }

    fn frames(&self) -> Vec<u8> {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let head = block(&headers);
        let Some(body) = &self.body else { return frame(HEADERS, WHOLE, 1, &head) };
        let end = if self.trailers.is_empty() { END_STREAM } else { 0 };
        let mut frames =
            [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, end, 1, body)].concat();
        if !self.trailers.is_empty() {
            frames.extend(frame(HEADERS, WHOLE, 1, &block(&self.trailers)));
        }
        frames
    }
}

/// Lengths and framing that say something else than the frames.
fn framing() -> Vec<Case> {
    let post = |what, length: &str, body: &[u8]| {
        case(what, "POST", &[("content-length", length)]).body(body)
    };
    let inside = INSIDE.as_bytes();
    vec![
        post("H2.CL: a length of nothing", "0", inside),
        post("H2.CL: too short a length", "5", &[b"12345", inside].concat()),
        post("H2.CL: too long a length", "5000", inside),
        post("a list of lengths", "0, 40", inside),
        post("a length with a sign", "+39", inside),
        post("a length in hexadecimal", "0x27", inside),
        post("an empty length", "", inside),
        case("two lengths", "POST", &[("content-length", "0"), ("content-length", "39")])
            .body(inside),
        case("a length without a body", "GET", &[("content-length", "39")]),
        case("H2.TE", "POST", &[("transfer-encoding", "chunked")])
            .body(&[b"0\r\n\r\n", inside].concat()),
        case("H2.TE, obscured", "POST", &[("transfer-encoding", "xchunked")]).body(inside),
        case(
            "H2.TE and H2.CL",
            "POST",
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
        )
        .body(&[b"0\r\n\r\n", inside].concat()),
        case("a body of a GET", "GET", &[]).body(inside),
        case("trailers with a length", "POST", &[]).body(b"").trailers(&[("content-length", "9")]),
        case("trailers with a path", "POST", &[]).body(b"").trailers(&[(":path", "/smuggled")]),
        case("trailers with framing", "POST", &[])
            .body(inside)
            .trailers(&[("transfer-encoding", "chunked")]),
    ]
}

/// Headers that are more than one in HTTP/1.1, or that no request may have.
fn headers() -> Vec<Case> {
    let with = |what, name: &'static str, value: &str| case(what, "GET", &[(name, value)]);
    let split = format!("x\r\n\r\n{INSIDE}");
    vec![
        with("a value of two lines", "x-split", &split),
        with("a value with a line feed", "x-split", "x\ntransfer-encoding: chunked"),
        with("a value with a carriage return", "x-split", "x\rtransfer-encoding: chunked"),
        with("a value with a NUL", "x-split", "x\0y"),
        with("a name of two lines", "x\r\ntransfer-encoding: chunked\r\ny", "z"),
        with("a name with a colon", "transfer-encoding: chunked\r\nx", "y"),
        with("a name with a blank", "x y", "z"),
        with("a name with a colon alone", "content-length:", "9"),
        with("an empty name", "", "z"),
        with("a name in capitals", "X-Upper", "z"),
        with("framing in capitals", "Transfer-Encoding", "chunked"),
        with("connection", "connection", "keep-alive, x-user"),
        with("an upgrade", "upgrade", "websocket"),
        with("keep-alive", "keep-alive", "timeout=5"),
        with("proxy-connection", "proxy-connection", "keep-alive"),
        with("te", "te", "gzip, chunked"),
        with("settings", "http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ]
}

/// Pseudo-headers, of which there is one of each, in front.
fn pseudo() -> Vec<Case> {
    let plain = |what| case(what, "GET", &[]);
    let request = format!("/one HTTP/1.1\r\nhost: a\r\n\r\n{INSIDE}");
    vec![
        plain("a path with a request in it").with(":path", &request),
        plain("a path with a blank").with(":path", "/one HTTP/1.1"),
        plain("a path with a line feed").with(":path", "/one\n/smuggled"),
        plain("a path without a slash").with(":path", "smuggled"),
        plain("a path that is an address").with(":path", "http://b/smuggled"),
        plain("an empty path").with(":path", ""),
        plain("an asterisk").with(":path", "*"),
        plain("a path with a fragment").with(":path", "/one#/smuggled"),
        plain("no path").without(":path"),
        plain("no method").without(":method"),
        plain("no scheme").without(":scheme"),
        plain("no authority").without(":authority"),
        case("two paths", "GET", &[(":path", "/smuggled")]),
        case("two methods", "GET", &[(":method", "POST")]),
        case("two authorities", "GET", &[(":authority", "b")]),
        case("another pseudo-header", "GET", &[(":smuggled", "x")]),
        case("that of an answer", "GET", &[(":status", "200")]),
        case("a pseudo-header behind", "GET", &[("x-first", "y"), (":scheme", "https")]),
        case("another host", "GET", &[("host", "b")]),
        case("two hosts", "GET", &[("host", "a"), ("host", "b")]),
        case(
            "a method with a request",
            &format!("GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n{INSIDE}GET"),
            &[],
        ),
        case("a method with a blank", "GET /smuggled", &[]),
        case("an empty method", "", &[]),
        plain("an authority of two lines").with(":authority", &format!("a\r\n\r\n{INSIDE}")),
        plain("an authority with a user").with(":authority", "user@a"),
        plain("an authority with a path").with(":authority", "a/smuggled?"),
        plain("a scheme with a request").with(":scheme", "http://a/smuggled?x="),
        plain("a scheme of two lines").with(":scheme", "http\r\nx: y"),
        case("CONNECT", "CONNECT", &[]),
        case("CONNECT to a protocol", "CONNECT", &[(":protocol", "websocket")]),
    ]
}

/// What comes of a case, on a connection of its own; and one request that is fine, after it.
fn outcome(gateway: &Gateway, case: &Case) -> End {
    let mut connection = Connection::open(gateway.public());
    connection.send(&case.frames()).expect("the gateway reads");
    // A length that is not kept is found out after a while, so what comes behind is no matter.
    connection.end_of(&[1]).1
}

#[test]
fn c16_no_stream_becomes_two_requests() {
    let app = App::start();
    let gateway = start(&app, 1_000_000);
    let cases: Vec<Case> = framing().into_iter().chain(headers()).chain(pseudo()).collect();
    let mut passed = Vec::new();
    for case in &cases {
        let before = app.seen().len();
        let end = outcome(&gateway, case);
        // Whatever was left on a connection to the application would be in front of these.
        for _ in 0..2 {
            assert_eq!(gateway.get("/after").status(), 200, "{}", case.what);
        }
        let seen = app.seen().split_off(before);
        let (after, own): (Vec<_>, Vec<_>) =
            seen.into_iter().partition(|seen| seen.target == "/after");
        let targets: Vec<&str> = own.iter().map(|seen| seen.target.as_str()).collect();
        println!("{:<32} {end:?} {targets:?}", case.what);
        assert_eq!(after.len(), 2, "{}", case.what);
        assert!(own.len() <= 1, "{}: {own:?}", case.what);
        assert!(targets.iter().all(|target| target.starts_with("/one")), "{}: {own:?}", case.what);
        for seen in &own {
            let framed = (seen.header("content-length"), seen.header("transfer-encoding"));
            let honest = match framed {
                (Some(length), None) => length == seen.body.len().to_string(),
                (None, Some(coding)) => coding == "chunked",
                (None, None) => seen.body.is_empty(),
                (Some(_), Some(_)) => false,
            };
            assert!(honest, "{}: {seen:?}", case.what);
            for (name, value) in &seen.headers {
                let clean = |text: &str| !text.contains(['\r', '\n', '\0']);
                assert!(clean(name) && clean(value), "{}: {seen:?}", case.what);
            }
            for name in ["upgrade", "keep-alive", "proxy-connection", "te", "http2-settings"] {
                assert_eq!(seen.header(name), None, "{}: {seen:?}", case.what);
            }
        }
        if end == End::Answer(200) {
            passed.push(case.what);
        }
    }
    println!("{} of {} passed as one request: {passed:?}", passed.len(), cases.len());
    assert!(passed.contains(&"a body of a GET"), "what is in order passes: {passed:?}");
    assert!(cases.len() >= 60, "{}", cases.len());
}

/// The same where all is counted: as many requests as came to the application.
#[test]
fn c16_what_reaches_the_application_was_charged() {
    let app = App::start();
    let gateway = start(&app, 1_000_000);
    for case in framing().into_iter().chain(headers()).chain(pseudo()) {
        let case = if case.headers.iter().any(|(name, value)| *name == ":path" && value == "/one") {
            case.with(":path", "/attacked/one")
        } else {
            continue;
        };
        outcome(&gateway, &case);
    }
    assert_eq!(gateway.get("/after").status(), 200);
    let reached = app.seen().iter().filter(|seen| seen.target == "/attacked/one").count();
    let charged = decisions(&gateway, "allow");
    println!("{charged} charged, {reached} reached the application");
    assert!(reached > 0 && reached <= charged, "{reached} of {charged}");
}
