//! The same requests, however they are logged.

use std::io::Write as _;
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::requests::{Request, log, requests};
use super::{Scene, essence, said};

const LIMITS: &str = "
[policies.per-ip]
quota = 10
window = \"1m\"
[policies.paths]
quota = 5
window = \"1m\"
algorithm = \"token-bucket\"
partition = [\"ip\", \"path\", \"method\"]
[[rules]]
path = \"/**\"
policies = [\"per-ip\"]
[[rules]]
path = \"/api/**\"
policies = [\"paths\"]
";

/// Requests at whole seconds, as far as the common format tells of them.
fn plain() -> Vec<Request> {
    let mut requests = requests(5_000);
    for request in &mut requests {
        request.at_ms = request.at_ms / 1_000 * 1_000;
    }
    requests
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("it takes everything");
    encoder.finish().expect("it ends")
}

/// As Caddy writes them.
fn caddy(request: &Request) -> String {
    serde_json::json!({
        "level": "info",
        "ts": request.at_ms as f64 / 1e3,
        "logger": "http.log.access",
        "request": {
            "remote_ip": request.client.to_string(),
            "remote_port": "4711",
            "client_ip": "10.9.9.9",
            "proto": "HTTP/2.0",
            "method": request.method,
            "host": request.host,
            "uri": request.target,
            "headers": { "User-Agent": [request.agent], "Accept": ["a", "b"] },
            "tls": { "resumed": false },
        },
        "user_id": "",
        "duration": 0.001,
        "status": 200,
        "resp_headers": { "Content-Type": ["text/html"] },
    })
    .to_string()
}

/// Named after what they are, since nothing says how.
fn terse(request: &Request) -> String {
    serde_json::json!({
        "ip": request.client.to_string(),
        "timestamp": request.at_ms,
        "method": request.method,
        "path": request.target,
    })
    .to_string()
}

#[test]
fn every_format_gives_the_same_report() {
    let scene = Scene::new(LIMITS);
    let requests = plain();
    let common = log(&requests, Request::common);
    let expected = {
        scene.write("common", &common);
        essence(scene.report(&["common"]))
    };
    assert!(expected["denied"].as_u64() > Some(100), "{expected:#}");
    scene.write("combined", log(&requests, Request::combined));
    scene.write("nginx", log(&requests, Request::json));
    scene.write("caddy", log(&requests, caddy));
    scene.write("terse", log(&requests, terse));
    scene.write("packed", gzip(&common));
    let (first, second) = common.split_at(
        common
            .find("203.0.113")
            .map_or(common.len() / 2, |at| common[..at].rfind('\n').map_or(0, |end| end + 1)),
    );
    scene.write("members", [gzip(first), gzip(second)].concat());
    for (name, format) in [
        ("combined", "combined"),
        ("nginx", "json"),
        ("caddy", "json"),
        ("terse", "json"),
        ("packed", "common"),
        ("members", "common"),
    ] {
        let report = scene.report(&[name]);
        assert_eq!(report["files"][0]["format"], format, "{name}");
        assert_eq!(essence(report), expected, "{name}");
        assert_eq!(essence(scene.report(&[name, "--format", format])), expected, "{name}");
    }
    for name in ["common", "packed"] {
        assert_eq!(essence(piped(&scene, name)), expected, "{name} by standard input");
    }
}

#[test]
fn blank_lines_and_the_ends_of_windows_are_nothing() {
    let scene = Scene::new(LIMITS);
    let common = log(&plain(), Request::common);
    scene.write("unix", &common);
    scene.write("windows", format!("\u{feff}{}", common.replace('\n', "\r\n\r\n")));
    assert_eq!(essence(scene.report(&["windows"])), essence(scene.report(&["unix"])));
}

fn piped(scene: &Scene, name: &str) -> Value {
    let mut command = scene.command(&["--output", "json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let content = std::fs::read(scene.path(name)).expect("the log");
    let mut input = child.stdin.take().expect("a pipe");
    // The first byte alone: what gzip begins with comes in two reads.
    input.write_all(&content[..1]).expect("it reads");
    input.flush().expect("it reads");
    input.write_all(&content[1..]).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_str(&said(&output)).expect("JSON")
}

#[test]
fn several_files_are_one_stream() {
    let scene = Scene::new(LIMITS);
    let requests = plain();
    let (first, second) = requests.split_at(2_000);
    scene.write("all", log(&requests, Request::common));
    scene.write("1", log(first, Request::common));
    scene.write("2.gz", gzip(&log(second, Request::json)));
    scene.write("empty", "");
    let report = scene.report(&["1", "empty", "2.gz"]);
    let files = report["files"].as_array().expect("a list");
    let formats: Vec<&Value> = files.iter().map(|file| &file["format"]).collect();
    assert_eq!(formats, ["common", "auto", "json"]);
    assert_eq!(essence(report), essence(scene.report(&["all"])));
    // The other way round all of the first file is late, and its clients get no new minutes.
    let turned = scene.report(&["2.gz", "1"]);
    assert!(turned["late"]["requests"].as_u64() >= Some(1_900), "{}", turned["late"]);
    assert!(turned["denied"].as_u64() > scene.report(&["all"])["denied"].as_u64());
}
