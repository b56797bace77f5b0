//! nginx: files, and what it does to them on the way.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use reqwest::Method;

use super::server::{Server, folder, free_address};
use super::wire::Wire;
use super::{Answer, LARGE, Pair, noise, sum};
use crate::support::nginx;

/// What it does with files, and what it says of connections.
const HTTP: &str = r#"
    access_log off;
    types { text/plain txt; text/html html; }
    server {
        listen ADDRESS;
        root files;
        client_max_body_size 0;
        gzip on;
        gzip_types text/plain;
        gzip_vary on;
        gzip_http_version 1.0;
        location = /answer { return 200 "answer"; }
        location = /connection { return 200 "$connection"; }
        location = /last { keepalive_requests 1; return 200 "$connection"; }
        location /kept/ { MORE }
    }
"#;

fn nginx(more: &str) -> Server {
    let folder = folder();
    fs::create_dir_all(folder.join("files/folder")).unwrap();
    let write =
        |name: &str, content: &[u8]| fs::write(folder.join("files").join(name), content).unwrap();
    write("small.html", b"<p>small</p>");
    write("empty.html", b"");
    write("words.txt", "some words and some more\n".repeat(20_000).as_bytes());
    write("gr\u{fc}n & blau.html", b"<p>colours</p>");
    let address = free_address();
    let command = nginx::command(&folder, address, &HTTP.replace("MORE", more));
    Server::start(command, address, folder)
}

#[test]
fn files_come_as_they_are() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    let small = pair.get("/small.html", &[]);
    assert_eq!(
        (small.status, small.text(), small.header("content-length")),
        (200, "<p>small</p>", Some("12"))
    );
    let empty = pair.get("/empty.html", &[]);
    assert_eq!(
        (empty.status, empty.header("content-length"), empty.body.len()),
        (200, Some("0"), 0)
    );
    assert_eq!(pair.get("/nothing.html", &[]).status, 404);
    let head = pair.ask("HEAD", &Method::HEAD, "/small.html", |request| request);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("12"), 0));
    assert_eq!(
        pair.ask("HEAD of nothing", &Method::HEAD, "/nothing.html", |request| request).status,
        404
    );
    assert_eq!(pair.ask("DELETE", &Method::DELETE, "/small.html", |request| request).status, 405);
    let folder = pair.get("/folder", &[]);
    assert_eq!((folder.status, folder.header("location").is_some()), (301, true));
}

#[test]
fn parts_and_copies_come_as_they_are() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    let whole = pair.get("/small.html", &[]);
    let part = pair.get("/small.html", &[("range", "bytes=3-7")]);
    assert_eq!((part.status, part.text()), (206, "small"));
    assert_eq!(part.header("content-range"), Some("bytes 3-7/12"));
    assert_eq!(pair.get("/small.html", &[("range", "bytes=-4")]).text(), "</p>");
    assert_eq!(pair.get("/small.html", &[("range", "bytes=12-")]).status, 416);
    let (etag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    for copy in [("if-none-match", etag), ("if-modified-since", modified)] {
        let answer = pair.get("/small.html", &[copy]);
        assert_eq!(
            (answer.status, answer.header("etag"), answer.body.len()),
            (304, Some(etag), 0),
            "{copy:?}"
        );
    }
    assert_eq!(pair.get("/small.html", &[("if-match", "\"other\"")]).status, 412);
}

#[test]
fn names_reach_the_files_they_name() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    // As a browser writes it, and the long way round.
    for target in ["/gr%C3%BCn%20&%20blau.html", "//folder/../gr%C3%BCn%20%26%20blau.html?a=/../b"]
    {
        let request = format!("GET {target} HTTP/1.1\r\nhost: example.org\r\n\r\n");
        let answer = pair.same(target, |address| exchange(address, &request));
        assert_eq!((answer.status, answer.text()), (200, "<p>colours</p>"), "{target}");
    }
}

#[test]
fn a_large_download_comes_whole() {
    let nginx = nginx("");
    let content = noise(1, LARGE);
    fs::write(nginx.folder().join("files/large.bin"), &content).unwrap();
    let pair = Pair::of(nginx.address());
    let answer = pair.get("/large.bin", &[]);
    assert_eq!(answer.header("content-length"), Some(LARGE.to_string().as_str()));
    assert_eq!(sum(&answer.body), sum(&content));
    let end = pair.get("/large.bin", &[("range", "bytes=30000000-")]);
    assert!(
        end.status == 206 && end.body == content[30_000_000..],
        "the download goes on where it broke off"
    );
}

#[test]
fn a_large_upload_comes_whole() {
    let nginx = nginx("dav_methods PUT DELETE; create_full_put_path on;");
    let content = noise(2, LARGE);
    let pair = Pair::of(nginx.address());
    for (address, name) in [(pair.app, "direct.bin"), (pair.gateway.public(), "through.bin")] {
        let path = format!("/kept/{name}");
        let answer =
            pair.send(address, &Method::PUT, &path, |request| request.body(content.clone()));
        assert_eq!((answer.status, answer.has_fields()), (201, address != pair.app), "{answer:?}");
        let kept = fs::read(nginx.folder().join("files").join(&path[1..])).unwrap();
        assert!(kept == content, "{path}: {} bytes are kept", kept.len());
        let answer = pair.send(address, &Method::DELETE, &path, |request| request);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
}

#[test]
fn what_nginx_compresses_stays_compressed() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    let plain = pair.get("/words.txt", &[]);
    assert_eq!(plain.header("content-encoding"), None);
    let small = pair.get("/words.txt", &[("accept-encoding", "gzip, br")]);
    assert_eq!(
        (small.header("content-encoding"), small.header("content-length")),
        (Some("gzip"), None)
    );
    assert_eq!(small.header("vary"), Some("Accept-Encoding"));
    assert!(small.body.starts_with(&[0x1f, 0x8b]) && small.body.len() < plain.body.len() / 10);
}

#[test]
fn an_http_1_0_client_gets_the_same() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    for (path, encoding) in
        [("/words.txt", "identity"), ("/words.txt", "gzip"), ("/empty.html", "gzip")]
    {
        let request = format!(
            "GET {path} HTTP/1.0\r\nhost: example.org\r\naccept-encoding: {encoding}\r\n\r\n"
        );
        // `rest` inside proves that the connection is closed: it waits for the end.
        let answer = pair.same(&request, |address| exchange_1_0(address, &request));
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None), "{request}");
    }
}

#[test]
fn connections_to_nginx_are_used_again() {
    let nginx = nginx("");
    let pair = Pair::of(nginx.address());
    let ask = |path: &str| {
        // A client of its own each time: what is kept is the gateway's.
        let mut wire = Wire::open(pair.gateway.public());
        wire.send(
            format!("GET {path} HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        );
        wire.answer()
    };
    let connections =
        |path: &str| -> BTreeSet<String> { (0..30).map(|_| ask(path).text().to_owned()).collect() };
    let kept = connections("/connection");
    // One that is not back in time makes room for another.
    assert!(kept.len() <= 5, "30 requests took {} connections", kept.len());
    assert_eq!(connections("/last").len(), 30, "a connection that nginx closes is not used again");
}

#[test]
fn nginx_may_be_restarted() {
    let mut nginx = nginx("");
    let pair = Pair::of(nginx.address());
    for round in 0..3 {
        let answers = [pair.get("/answer", &[]), pair.post("/answer", || "body".into())];
        assert_eq!(answers.map(|answer| answer.status), [200, 200], "round {round}");
        nginx.restart();
    }
}

fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut wire = Wire::open(address);
    wire.send(request.as_bytes());
    wire.answer()
}

fn exchange_1_0(address: SocketAddr, request: &str) -> Answer {
    let mut wire = Wire::open(address);
    wire.send(request.as_bytes());
    let mut answer = wire.head();
    assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    answer.body = wire.rest();
    answer
}
