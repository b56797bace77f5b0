//! Logs of real servers.

use std::fs;

use serde_json::{Value, json};

use super::{Scene, essence, policy};
use crate::applications::server::{Server, folder, free_address};
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::nginx;
use crate::support::raw::exchange;
use crate::support::redis::wait_until;

const LIMITS: &str = "
[policies.per-ip]
quota = 20
window = \"1h\"
[policies.paths]
quota = 2
window = \"1h\"
partition = [\"ip\", \"path\", \"header:user-agent\"]
[[rules]]
path = \"/**\"
policies = [\"per-ip\"]
[[rules]]
path = \"/p/**\"
policies = [\"paths\"]
";

/// nginx that logs everything twice, as the documentation shows it.
const HTTP: &str = r#"
    log_format sluicegate escape=json '{"msec":"$msec","remote_addr":"$remote_addr",'
        '"remote_user":"$remote_user","request":"$request","status":"$status",'
        '"http_host":"$http_host","request_time":"$request_time",'
        '"request_length":"$request_length","http_user_agent":"$http_user_agent",'
        '"http_referer":"$http_referer","http_x_forwarded_for":"$http_x_forwarded_for"}';
    access_log combined.log combined;
    access_log sluicegate.log sluicegate;
    server {
        listen ADDRESS;
        location / { return 200 "answer"; }
    }
"#;

fn nginx() -> Server {
    let (folder, address) = (folder(), free_address());
    Server::start(nginx::command(&folder, address, HTTP), address, folder)
}

/// Request lines and user agents that a log has to escape, or that are none.
const ASKED: [(&str, &str); 10] = [
    ("GET /p/1 HTTP/1.1", "plain"),
    ("GET /p/1?x=\"y\" HTTP/1.1", "a \"quoted\" \\ one"),
    ("GET /p/1 HTTP/1.1", "a \"quoted\" \\ one"),
    ("GET /p/1 HTTP/1.1", "a \"quoted\" \\ one"),
    ("GET /p/1 HTTP/1.1", "a \"quoted\" \\ one"),
    ("HEAD /p/%22%3Cscript%3E HTTP/1.1", "<script>alert(1)</script>"),
    ("POST /other HTTP/1.1", "gr\u{fc}n"),
    ("GET /p/\u{e9} HTTP/1.1", "\u{202e}\t"),
    ("GET / HTTP/1.0", "-"),
    ("\u{1}\u{2}binary", "x"),
];

#[test]
fn both_logs_of_nginx_say_the_same() {
    let scene = Scene::new(LIMITS);
    let nginx = nginx();
    for (line, agent) in ASKED {
        let request = format!(
            "{line}\r\nHost: example.org\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        exchange(nginx.address(), request.as_bytes());
    }
    let log = |name: &str| nginx.folder().join(name);
    wait_until("nginx to have logged", || {
        let lines = fs::read_to_string(log("sluicegate.log")).expect("a log");
        lines.lines().count() >= ASKED.len()
    });
    for name in ["combined.log", "sluicegate.log"] {
        fs::copy(log(name), scene.path(name)).expect("a log");
    }
    let combined = scene.report(&["combined.log", "--verdicts", "combined.verdicts"]);
    let json = scene.report(&["sluicegate.log", "--verdicts", "json.verdicts"]);
    assert_eq!(combined["files"][0]["format"], "combined");
    assert_eq!(json["files"][0]["format"], "json");
    assert_eq!((&json["requests"], &json["unreadable"]), (&json!(9), &json!(1)), "{json:#}");
    assert_eq!((&json["malformed"], &json["denied"]), (&json!(2), &json!(1)), "{json:#}");
    let found = policy(&json, "paths");
    let denied = "ip=127.0.0.1 path=/p/1 header:user-agent=a \\\"quoted\\\" \\\\ one";
    assert_eq!(found["most_denied"], json!([{"client": denied, "checked": 3, "denied": 1}]));
    assert_eq!(found["clients"], 3, "{found:#}");
    // The one has milliseconds, the other seconds; nothing else differs.
    let counts = |report: Value| {
        let mut report = essence(report);
        let fields = report.as_object_mut().expect("an object");
        for time in ["span", "requests_per_second", "late", "notes"] {
            fields.remove(time).expect("a field of every report");
        }
        for policy in fields["policies"].as_array_mut().expect("a list") {
            policy.as_object_mut().expect("an object").remove("over_time");
        }
        report
    };
    assert_eq!(counts(combined), counts(json));
}

#[test]
fn the_gateways_own_log_gives_its_own_verdicts() {
    let app = App::start();
    let text = format!(
        "[log]\nformat = \"json\"\naccess = true\n[store]\nkind = \"local\"\n\
         [request]\nencoded_slashes = \"keep\"\n{}{}",
        LIMITS.replace(", \"header:user-agent\"]", "]"),
        app_at(app.address())
    );
    let gateway = Gateway::start(&text);
    let targets = [
        "/p/1",
        "/p/1",
        "/p/1",
        "/p/./1",
        "/p/2?q=1",
        "/p/2",
        "/p/2?q=2",
        "/p/\u{e9}",
        "/p/%C3%A9",
        "/p/\u{e9}",
        "/p/\"'\\",
        "/p/\"'\\",
        "/p/\"'\\",
        "/p/<",
        "/p/`",
        "foo:bar",
        "//p/1",
        "/p/a|b",
        "/p/{x}",
    ];
    let mut statuses = Vec::new();
    for target in targets {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n");
        let answer = exchange(gateway.public(), request.as_bytes());
        statuses.push(String::from_utf8_lossy(&answer[9..12]).into_owned());
    }
    let logged = || {
        let lines = gateway.log();
        lines.lines().filter(|line| line.contains("\"message\":\"request\"")).count()
    };
    // What is no HTTP is answered with 400 and never becomes a request that could be logged.
    let count = |status: &str| statuses.iter().filter(|s| *s == status).count();
    let requests = statuses.len() - count("400");
    wait_until("the gateway to have logged", || logged() >= requests);
    assert!(count("429") >= 5 && count("400") >= 3 && count("200") >= 8, "{statuses:?}");
    let scene = Scene::whole(&format!("{text}\n"));
    scene.write("own.log", gateway.log());
    let report = scene.report(&["own.log", "--verdicts", "verdicts"]);
    let verdicts = scene.read("verdicts");
    let said: Vec<&str> = verdicts
        .lines()
        .filter(|line| !line.contains("malformed"))
        .map(|line| if line.contains("\"allowed\":true") { "200" } else { "429" })
        .collect();
    let given: Vec<&String> = statuses.iter().filter(|status| *status != "400").collect();
    assert_eq!(said, given, "{report:#}");
    // And what the gateway answers with 400 is malformed here, whoever has logged it.
    let lines = targets.iter().map(|target| {
        let line = json!({"ip": "192.0.2.1", "ts": 1_763_078_400, "method": "GET", "path": target, "host": "example.org"});
        format!("{line}\n")
    });
    scene.write("targets", lines.collect::<String>());
    scene.report(&["targets", "--verdicts", "verdicts"]);
    let malformed = |line: &str| line.contains("malformed");
    let said: Vec<bool> = scene.read("verdicts").lines().map(malformed).collect();
    assert_eq!(said, statuses.iter().map(|status| status == "400").collect::<Vec<bool>>());
    let _ = fs::remove_file(scene.path("verdicts"));
}
