//! What the gateway answers by itself: status, fields and bodies, for each policy its own.

mod cors;
mod templates;

use std::io::{Read, Write};

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::free_port;

/// One request a hour, for everyone together; the message is no friend of quotes and tags.
const ONE: &str = "[policies.one]\nquota = 1\nwindow = \"1h\"\npartition = []\n\
                   message = \"No \\\"more\\\" <b>today</b>, & that's that.\"\n\
                   [[rules]]\npath = \"/**\"\npolicies = [\"one\"]\n";
/// Paths with a backslash are no 400.
const BACKSLASHES: &str = "[request]\nencoded_slashes = \"keep\"\n";
/// That message.
const MESSAGE: &str = "No \"more\" <b>today</b>, & that's that.";
const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// A gateway with its own store in front of `app`.
fn local(app: &App, config: &str) -> Gateway {
    Gateway::start(&format!("[store]\nkind = \"local\"\n{}{config}", app_at(app.address())))
}

/// A gateway with `config` behind which [`ONE`] is used up.
fn used_up(app: &App, config: &str) -> Gateway {
    let gateway = local(app, &format!("{ONE}{BACKSLASHES}{config}"));
    assert_eq!(gateway.get("/").status(), 200);
    gateway
}

fn header(answer: &Response, name: &str) -> String {
    let lines = answer.headers().get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().expect("text")).collect();
    lines.join(" | ")
}

fn parsed(answer: Response) -> Value {
    serde_json::from_str(&answer.text().expect("a body")).expect("JSON")
}

#[test]
fn each_body_says_the_same_in_its_own_way() {
    let app = App::start();
    let refused = |body: &str| {
        let answer = used_up(&app, &format!("[response]\nbody = \"{body}\"\n")).get("/x");
        assert_eq!(answer.status(), 429, "{body}");
        assert_eq!(header(&answer, "vary"), "", "{body}: no header has chosen it");
        answer
    };
    let answer = refused("problem");
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!(wait > 3_500, "{wait}");
    let expected = json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Quota exceeded",
        "status": 429,
        "detail": MESSAGE,
        "violated-policies": ["one"],
        "retry-after": wait,
    });
    assert_eq!(parsed(answer), expected);

    let answer = refused("json");
    assert_eq!(header(&answer, "content-type"), "application/json");
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    let expected = json!({
        "status": 429, "message": MESSAGE, "policy": "one",
        "retry_after": wait, "limit": 1, "remaining": 0,
    });
    assert_eq!(parsed(answer), expected);

    let answer = refused("html");
    assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
    let page = answer.text().unwrap();
    let message = "<p>No &quot;more&quot; &lt;b&gt;today&lt;/b&gt;, &amp; that&#x27;s that.</p>";
    assert!(page.contains(message), "{page}");
    assert!(page.contains("<h1>Quota exceeded</h1>"), "{page}");
    assert!(page.contains("Try again in 61 minutes."), "{page}");
    assert!(!page.contains("http") && !page.contains("src="), "nothing comes from elsewhere");

    let answer = refused("text");
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.text().unwrap(), format!("{MESSAGE}\n"));
}

#[test]
fn a_client_gets_the_body_that_it_likes_best() {
    let many = format!("{}text/html", "a/b, ".repeat(31));
    let too_many = format!("{}text/html", "a/b, ".repeat(32));
    let table: &[(&str, &str)] = &[
        ("", "problem"),
        ("*/*", "problem"),
        (BROWSER, "html"),
        ("application/problem+json", "problem"),
        ("application/json", "json"),
        ("APPLICATION/JSON", "json"),
        ("text/html", "html"),
        ("text/plain", "text"),
        ("application/*", "problem"),
        ("text/*", "html"),
        ("text/*;q=0.5, text/html;q=0.4", "text"),
        ("text/html, application/json", "json"),
        ("text/html;q=0.8, application/json;q=0.7", "html"),
        ("text/html;q=0.123, text/plain;q=0.124", "text"),
        ("text/html;q=0, */*;q=0.1", "problem"),
        ("application/*;q=0, text/html;q=0, */*;q=0.1", "text"),
        ("application/json, */*", "problem"),
        ("application/json, */*;q=0.9", "json"),
        ("*/*, application/problem+json;q=0.2, application/json;q=0.3", "html"),
        ("image/png", "problem"),
        ("*/*;q=0", "problem"),
        ("text/html;level=1", "problem"),
        ("text/html;charset=utf-8", "html"),
        ("text/html; charset=\"UTF-8\" ; q=0.9 , text/plain;q=0.8", "html"),
        ("text/html;charset=latin1, text/plain;q=0.1", "text"),
        ("text/plain;x=\"a,text/html\", text/html;q=0.2", "html"),
        ("text/html;q=1.5, text/plain;q=0.1", "text"),
        ("text/html;q=0.1234, text/plain;q=0.1", "text"),
        ("text/html;q=, text/plain;q=0.1", "text"),
        ("text/html;q=1.000", "html"),
        ("text/html;Q=0.1, text/plain;q=0.2", "text"),
        ("*/html, text/plain", "text"),
        ("text, html, ;q=1, /, text/", "problem"),
        (",,, text/plain ,", "text"),
        (&many, "html"),
        (&too_many, "problem"),
    ];
    let app = App::start();
    let gateway = used_up(&app, "[response]\nbody = \"auto\"\n");
    for (accept, body) in table {
        let line = if accept.is_empty() { String::new() } else { format!("accept: {accept}\r\n") };
        let request = format!("GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{line}\r\n");
        let answer = raw::exchange(gateway.public(), request.as_bytes());
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        let kind = match *body {
            "problem" => "application/problem+json",
            "json" => "application/json",
            "html" => "text/html; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        assert!(answer.contains(&format!("content-type: {kind}\r\n")), "`{accept}`: {answer}");
        assert!(answer.contains("vary: accept\r\n"), "`{accept}`: {answer}");
    }
}

#[test]
fn several_lines_of_accept_are_one() {
    let app = App::start();
    let gateway = used_up(&app, "[response]\nbody = \"auto\"\n");
    let request = gateway.client().get(gateway.url("/")).header("accept", "text/html;q=0.5");
    let answer = request.header("accept", "text/plain").send().unwrap();
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
}

/// Two that deny: `slow`, whose wait is longer, and `quick`.
fn two(slow: &str, quick: &str) -> String {
    format!(
        "[policies.quick]\nquota = 1\nwindow = \"1m\"\nstatus = 403\nmessage = \"quick\"\n{quick}\
         [policies.slow]\nquota = 1\nwindow = \"1h\"\nstatus = 420\nmessage = \"slow\"\n{slow}\
         [policies.wide]\nquota = 100\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"quick\", \"slow\", \"wide\"]\n"
    )
}

#[test]
fn the_policy_with_the_longest_wait_gives_the_answer() {
    let app = App::start();
    let slow = "[policies.slow.response]\nbody = \"json\"\n";
    let quick = "[policies.quick.response]\nbody = \"html\"\nretry_after = false\n";
    let gateway = local(&app, &format!("{}[response]\nbody = \"text\"\n", two(slow, quick)));
    assert_eq!(gateway.get("/").status(), 200);
    let answer = gateway.get("/");
    assert_eq!(answer.status(), 420);
    assert_eq!(header(&answer, "content-type"), "application/json");
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!(wait > 3_500, "{wait}");
    let expected = json!({
        "status": 420, "message": "slow", "policy": "slow",
        "retry_after": wait, "limit": 1, "remaining": 0,
    });
    assert_eq!(parsed(answer), expected);
    assert_eq!(header(&gateway.get("/"), "ratelimit-policy").matches("q=").count(), 3);
}

#[test]
fn a_policy_may_keep_out_of_the_fields() {
    let app = App::start();
    let slow = "[policies.slow.response]\nratelimit = false\nx_ratelimit = false\n\
                retry_after = false\n";
    let gateway = local(&app, &two(slow, ""));
    let passed = gateway.get("/");
    assert_eq!(header(&passed, "ratelimit-policy"), "\"quick\";q=1;w=60, \"wide\";q=100;w=3600");
    assert!(!header(&passed, "ratelimit").contains("slow"));
    let refused = gateway.get("/");
    assert_eq!(refused.status(), 420);
    assert!(!header(&refused, "ratelimit").contains("slow"));
    assert_eq!(header(&refused, "x-ratelimit-limit"), "1");
    let reset: u64 = header(&refused, "x-ratelimit-reset").parse().unwrap();
    assert!(reset <= 61, "of `quick`, not of `slow`: {reset}");
    assert_eq!(header(&refused, "retry-after"), "");
    let body = parsed(refused);
    assert_eq!(body["violated-policies"], json!(["quick", "slow"]));
    assert_eq!(body.get("retry-after"), None, "{body}");

    let silent = local(
        &app,
        &format!(
            "{}[response]\nratelimit = false\nx_ratelimit = false\n",
            two("[policies.slow.response]\nx_ratelimit = true\n", "")
        ),
    );
    let passed = silent.get("/");
    assert_eq!(header(&passed, "ratelimit-policy"), "");
    assert_eq!(header(&passed, "ratelimit"), "");
    assert_eq!(header(&passed, "x-ratelimit-limit"), "1");
    let reset: u64 = header(&passed, "x-ratelimit-reset").parse().unwrap();
    assert!(reset > 3_500, "of `slow` alone: {reset}");
}

#[test]
fn answers_that_no_policy_gives_obey_the_body_for_all() {
    let config = |body: &str| {
        format!(
            "[store]\nkind = \"local\"\n[upstreams.away]\nservers = [\"127.0.0.1:{}\"]\n\
             [[routes]]\npath = \"/away\"\nupstream = \"away\"\n{ONE_OF_TEXT}\
             [response]\nbody = \"{body}\"\n",
            free_port()
        )
    };
    let gateway = Gateway::start(&config("json"));
    for (path, status) in [("/away", 503), ("/nowhere", 404)] {
        let answer = gateway.get(path);
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "content-type"), "application/json");
        let body = parsed(answer);
        assert_eq!(body["status"], status);
        let names: Vec<_> = body.as_object().unwrap().keys().collect();
        let known = if status == 503 {
            vec!["status", "message", "retry_after"]
        } else {
            vec!["status", "message"]
        };
        assert_eq!(names, known, "what says nothing is left out");
    }
    let gateway = Gateway::start(&config("auto"));
    for target in ["/away", "/nowhere", "@odd"] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\naccept: {BROWSER}\r\n\r\n"
        );
        let answer =
            String::from_utf8(raw::exchange(gateway.public(), request.as_bytes())).unwrap();
        assert!(answer.to_ascii_lowercase().contains("content-type: text/html"), "{answer}");
        assert!(answer.ends_with("</html>\n"), "{answer}");
    }
}

/// A policy with a body of its own that is never used up.
const ONE_OF_TEXT: &str = "[policies.wide]\nquota = 100\nwindow = \"1h\"\n\
                           [policies.wide.response]\nbody = \"text\"\n\
                           [[rules]]\npath = \"/**\"\npolicies = [\"wide\"]\n";

#[test]
fn head_gets_the_head_of_get_and_nothing_else() {
    let app = App::start();
    for body in ["problem", "html"] {
        let gateway = used_up(&app, &format!("[response]\nbody = \"{body}\"\n"));
        let mut stream = raw::connect(gateway.public());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let (got, text) = raw::read_answer(&mut stream);
        stream.write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        let (head, after) = rest.split_once("\r\n\r\n").expect("a whole head");
        assert_eq!(after, "", "{body}: no body");
        assert!(head.starts_with("HTTP/1.1 429"), "{head}");
        for name in ["content-type", "content-length", "ratelimit-policy"] {
            let line = |head: &str| {
                let find = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
                head.lines().find(find).map(str::to_owned)
            };
            assert!(line(head).is_some(), "{body}: {name}: {head}");
            assert_eq!(line(head), line(&got), "{body}: {name}");
        }
        assert!(!text.is_empty());
    }
}

#[test]
fn a_grpc_call_is_refused_as_ever() {
    let app = App::start();
    let gateway = used_up(&app, "[response]\nbody = \"html\"\n");
    let call =
        gateway.client().post(gateway.url("/s/M")).header("content-type", "application/grpc");
    let answer = call.body("").send().unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "grpc-status").as_str()), (200, "8"));
    assert_eq!(header(&answer, "content-type"), "application/grpc");
    assert_eq!(answer.text().unwrap(), "");
}

#[test]
fn without_redis_a_closed_policy_says_so_in_its_own_body() {
    let config = |body: &str| {
        format!(
            "[store]\nurl = \"redis://127.0.0.1:{}\"\n{}[policies.closed]\nquota = 1\n\
             window = \"1h\"\nstatus = 420\non_store_error = \"deny\"\n\
             [[rules]]\npath = \"/**\"\npolicies = [\"closed\"]\n\
             [policies.closed.response]\nbody = \"{body}\"\n",
            free_port(),
            app_at(App::start().address())
        )
    };
    let answer = Gateway::start(&config("json")).get("/");
    assert_eq!(answer.status(), 503);
    let message = "Limits cannot be checked at present; try again later.";
    let expected = json!({"status": 503, "message": message, "policy": "closed", "retry_after": 1});
    assert_eq!(parsed(answer), expected, "no count stands behind it");
    let page = Gateway::start(&config("html")).get("/").text().unwrap();
    assert!(page.contains("<h1>Temporarily reduced capacity</h1>"), "{page}");
    assert!(page.contains("Try again in 1 second."), "{page}");
}

/// A frame of HTTP/2 on stream 1 or 0.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Nothing but the gateway itself keeps a body from a HEAD over HTTP/2.
#[test]
fn head_gets_no_body_over_http_2_either() {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let app = App::start();
    let gateway = Gateway::start(&format!(
        "h2c = true\n[store]\nkind = \"local\"\n{}{ONE}",
        app_at(app.address())
    ));
    assert_eq!(gateway.get("/").status(), 200);
    // `:method` HEAD, `:scheme` http, `:path` / and `:authority` a, by RFC 7541's static table.
    let head = b"\x02\x04HEAD\x86\x84\x01\x01a";
    let mut stream = raw::connect(gateway.public());
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&frame(4, 0, 0, b"")).unwrap();
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, head)).unwrap();
    let mut answered = false;
    loop {
        let mut start = [0; 9];
        stream.read_exact(&mut start).expect("a frame comes");
        let [high, middle, low, kind, flags, .., of] = start;
        let mut payload =
            vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        stream.read_exact(&mut payload).expect("a whole frame");
        if of == 1 {
            assert!(kind == HEADERS || payload.is_empty(), "the head is all there is");
            answered |= kind == HEADERS;
        }
        if of == 1 && flags & END_STREAM != 0 {
            assert!(answered);
            return;
        }
    }
}
