//! Heads that have one reading, heads that are brought into one, and heads that have none.

use http::Method;

use super::*;

fn reading() -> Reading {
    Reading {
        deciding: ["authorization", "x-tenant"].map(str::to_owned).into(),
        once: ["authorization".to_owned()].into(),
        ..Reading::default()
    }
}

fn head(version: Version, method: &str, target: &str, lines: &[(&str, &str)]) -> Parts {
    let uri = target.find("://").map_or(target, |at| {
        let rest = &target[at + 3..];
        rest.find('/').map_or("/", |at| &rest[at..])
    });
    let mut request = http::Request::builder().version(version).method(method).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read(method: &str, target: &str, lines: &[(&str, &str)]) -> Result<Changes, Malformed> {
    reading().read(&head(Version::HTTP_11, method, target, lines), target.as_bytes())
}

/// With a host.
fn get(lines: &[(&str, &str)]) -> Result<Changes, Malformed> {
    read("GET", "/", &[&[("host", "a")], lines].concat())
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what was read")]
fn off(names: &[&'static str]) -> Result<Changes, Malformed> {
    let off = names.iter().map(|name| HeaderName::from_static(name)).collect();
    Ok(Changes { off, ..Changes::default() })
}

#[test]
fn only_plain_targets_are_taken() {
    let target = |text: &str| is_plain_target(&Method::GET, text.as_bytes());
    for plain in ["/", "/a?b", "//a", "http://a/b", "HTTPS://a"] {
        assert!(target(plain), "{plain}");
    }
    for odd in ["", "*", "a", "@a/b", "x:/a", "foo:bar", "http:/a", "a:80"] {
        assert!(!target(odd), "{odd}");
    }
    assert!(is_plain_target(&Method::OPTIONS, b"*"));
    let plain = head(Version::HTTP_11, "GET", "/", &[("host", "a")]);
    for odd in [&b"/\xff"[..], "/é".as_bytes(), b"/a#b", b"/a b", b"/a\x7f", b"/\x00"] {
        assert_eq!(reading().read(&plain, odd), Err(Malformed::Target), "{}", odd.escape_ascii());
    }
}

#[test]
fn hosts_are_compared_without_case_port_and_final_dot() {
    for (given, bare) in [
        ("Example.ORG", "example.org"),
        ("example.org:8080", "example.org"),
        ("example.org.:80", "example.org"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("127.0.0.1:80", "127.0.0.1"),
    ] {
        assert_eq!(bare_host(given), bare);
    }
}

#[test]
fn a_request_is_for_one_host() {
    let with = |hosts: &[&str]| {
        let lines: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).collect();
        read("GET", "/", &lines)
    };
    for host in ["a", "A.b.", "a:80", "a:", "127.0.0.1", "[::1]", "[::1]:65535", "a_b"] {
        assert_eq!(with(&[host]), off(&[]), "{host}");
    }
    for host in ["", ":80", "a:x", "a:80:80", "a/", "a, b", "u@a", "::1", "[::1", "[a]", "a:65536"]
    {
        assert_eq!(with(&[host]), Err(Malformed::Host), "{host}");
    }
    assert_eq!(with(&[]), Err(Malformed::Host));
    assert_eq!(with(&["a", "a"]), Err(Malformed::Host));
    let old = head(Version::HTTP_10, "GET", "/", &[]);
    assert_eq!(reading().read(&old, b"/"), off(&[]), "HTTP/1.0 has none");
}

#[test]
fn an_absolute_target_names_the_same_host() {
    let with = |target, host| read("GET", target, &[("host", host)]);
    assert_eq!(with("http://a/b", "a"), off(&[]));
    assert_eq!(with("http://A:80?q", "a:80"), off(&[]));
    for (target, host) in [("http://a/b", "b"), ("http://u@a/", "a"), ("http:///b", "a")] {
        assert_eq!(with(target, host), Err(Malformed::Host), "{target}");
    }
    let bare = head(Version::HTTP_10, "GET", "http://a/b", &[]);
    assert_eq!(reading().read(&bare, b"http://a/b"), Err(Malformed::Host), "a rule for a host");
    let mut second = head(Version::HTTP_2, "GET", "/", &[]);
    assert_eq!(reading().read(&second, b"/"), Err(Malformed::Host));
    second.uri = "http://a/".parse().unwrap();
    assert_eq!(reading().read(&second, b"/"), off(&[]));
    second.headers.insert("host", "b".parse().unwrap());
    assert_eq!(reading().read(&second, b"/"), Err(Malformed::Host));
}

#[test]
fn names_with_underscores_are_dropped_refused_or_kept() {
    let lines = [("x_tenant", "1"), ("x-tenant", "2"), ("x.y", "3")];
    let dropped = Changes { underscores: 1, ..off(&["x_tenant"]).unwrap() };
    assert_eq!(get(&lines), Ok(dropped.clone()));
    let head = head(Version::HTTP_11, "GET", "/", &[("host", "a"), ("x_tenant", "1")]);
    let with = |underscores| Reading { underscores, ..reading() }.read(&head, b"/");
    assert_eq!(with(Underscores::Reject), Err(Malformed::Underscore));
    assert_eq!(with(Underscores::Keep), off(&[]));
    let mut headers = head.headers.clone();
    dropped.apply(&mut headers);
    assert_eq!(headers.len(), 1);
}

#[test]
fn headers_of_another_method_are_taken_off() {
    let lines = [("x-http-method-override", "DELETE")];
    assert_eq!(get(&lines), off(&["x-http-method-override"]));
    let head = head(Version::HTTP_11, "GET", "/", &[("host", "a"), lines[0]]);
    let keeps = Reading { keeps_method_override: true, ..reading() };
    assert_eq!(keeps.read(&head, b"/"), off(&[]));
}

#[test]
fn connection_takes_off_nothing_that_decides() {
    let with = |value| get(&[("connection", value)]);
    for value in ["", "close", "keep-alive, TE", "x-mine", "a,b,c,d,e,f,g,h,i"] {
        assert_eq!(with(value), off(&[]), "{value}");
    }
    for value in [
        "host",
        "close, Authorization",
        "X-Tenant",
        "x_tenant",
        "x-forwarded-anything",
        "Content-Length",
        "\"cookie\"",
        ":authority",
        "a,b,c,d,e,f,g,h,i,j",
    ] {
        assert_eq!(with(value), Err(Malformed::Connection), "{value}");
    }
    let lines = [("connection", "close"), ("connection", "cookie")];
    assert_eq!(get(&lines), Err(Malformed::Connection));
}

#[test]
fn who_somebody_is_stands_there_once() {
    let twice = |name| get(&[(name, "a"), (name, "a")]);
    assert_eq!(twice("authorization"), Err(Malformed::Duplicate));
    assert_eq!(twice("x-tenant"), off(&[]));
    assert_eq!(get(&[("authorization", "a, b")]), off(&[]));
}

#[test]
fn a_body_has_one_length() {
    let with = |values: &[&str]| {
        let lines: Vec<(&str, &str)> =
            values.iter().map(|value| ("content-length", *value)).collect();
        get(&lines).map(|changes| changes.length)
    };
    assert_eq!(with(&["5"]), Ok(None));
    for values in [&["5, 5"][..], &["5", "5"], &["05"], &["5,05", " 5"]] {
        assert_eq!(with(values), Ok(Some(5)), "{values:?}");
    }
    for values in [&["5, 6"][..], &["5", "6"], &[""], &["5,"], &["+5"], &["0x5"], &["5 5"]] {
        assert_eq!(with(values), Err(Malformed::Length), "{values:?}");
    }
    // As much as 64 bits hold, and a small number, but of too many digits.
    for value in ["18446744073709551615", "00000000000000000005", "99999999999999999999"] {
        assert_eq!(with(&[value]), Err(Malformed::Length), "{value}");
    }
    let lines = [("content-length", "5"), ("transfer-encoding", "chunked")];
    assert_eq!(get(&lines), Err(Malformed::Length));
    let mut headers = HeaderMap::new();
    headers.append("content-length", HeaderValue::from_static("5"));
    headers.append("content-length", HeaderValue::from_static("5"));
    Changes { length: Some(5), ..Changes::default() }.apply(&mut headers);
    assert_eq!(headers.get_all("content-length").iter().count(), 1);
}

#[test]
fn only_a_websocket_is_an_upgrade() {
    let socket = [("connection", "Upgrade"), ("upgrade", "WebSocket")];
    assert_eq!(get(&socket), off(&[]));
    for lines in [
        &[("connection", "upgrade"), ("upgrade", "h2c")][..],
        &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
        &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "x")],
        &[("upgrade", "websocket")],
        &[("connection", "close"), ("upgrade", "websocket")],
    ] {
        assert_eq!(get(lines), off(&["upgrade"]), "{lines:?}");
    }
    let lines = [("connection", "upgrade, http2-settings"), ("http2-settings", "a")];
    assert_eq!(get(&lines), off(&["http2-settings"]));
    for body in [("content-length", "1"), ("transfer-encoding", "chunked")] {
        assert_eq!(get(&[&socket[..], &[body]].concat()), Err(Malformed::Upgrade), "{body:?}");
    }
    assert_eq!(get(&[&socket[..], &[("content-length", "0")]].concat()), off(&[]));
    let post = read("POST", "/", &[&[("host", "a")], &socket[..]].concat());
    assert_eq!(post, Err(Malformed::Upgrade));
}

#[test]
fn only_a_hundred_can_be_expected() {
    assert_eq!(get(&[("expect", "100-Continue")]), off(&[]));
    for value in ["", "200-ok", "100-continue, x", "100-continue\t100-continue"] {
        let refused = get(&[("expect", value)]).unwrap_err();
        assert_eq!((refused, refused.status().as_u16()), (Malformed::Expectation, 417), "{value}");
    }
    let old = head(Version::HTTP_10, "GET", "/", &[("expect", "100-continue")]);
    assert_eq!(reading().read(&old, b"/"), off(&["expect"]));
    assert_eq!(get(&[("te", "trailers")]), off(&[]));
    assert_eq!(get(&[("te", "trailers, deflate")]), off(&["te"]));
}

#[test]
fn the_application_gets_the_spelling_on_demand() {
    let forwards = Reading { forwards_spelling: true, ..reading() };
    assert_eq!(forwards.forwarded("/a//B/;x"), Some("/a/B/".to_owned()));
    assert_eq!(forwards.forwarded("/a"), None);
    assert_eq!(reading().forwarded("/a//b"), None);
    assert_eq!(read("GET", "/a%2fb", &[("host", "a")]), Err(Malformed::Path(Fault::Slash)));
}
