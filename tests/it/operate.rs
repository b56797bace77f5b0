//! What an operator does: look, reload, stop, and read errors.

use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::app::{App, response};
use crate::support::gateway::{BINARY, Gateway, app_at};
use crate::support::redis::{RedisServer, free_port, wait_until};

fn sluicegate(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

const POLICY: &str =
    "[policies.p]\nquota = 2\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";

#[test]
fn the_admin_listener_shows_series_life_and_readiness() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = Gateway::with_redis(
        &redis,
        "timeout = \"1s\"",
        &format!("{}{POLICY}", app_at(app.address())),
    );
    for _ in 0..3 {
        gateway.get("/");
    }
    let series = [
        "sluicegate_decisions_total{decision=\"allow\",policy=\"p\",provenance=\"redis\"} 2",
        "sluicegate_decisions_total{decision=\"deny\",policy=\"p\",provenance=\"redis\"} 1",
        "sluicegate_requests_total{code_class=\"2xx\",route=\"/**\"} 2",
        "sluicegate_requests_total{code_class=\"4xx\",route=\"/**\"} 1",
        "sluicegate_request_duration_seconds_count 3",
        "sluicegate_added_latency_seconds_count 3",
        "sluicegate_store_duration_seconds_count 3",
        "sluicegate_store_up 1",
        "sluicegate_breaker_state 0",
        "sluicegate_store_errors_total{kind=\"timeout\"} 0",
        "sluicegate_config_reloads_total{result=\"applied\"} 0",
        "sluicegate_config_reloads_total{result=\"rejected\"} 0",
        "sluicegate_build_info{version=\"0.1.0\"} 1",
        "sluicegate_requests_in_flight 0",
    ];
    // A request is recorded after its answer has left.
    wait_until("the last request to be recorded", || gateway.metrics().contains(series[4]));
    let metrics = gateway.metrics();
    for line in series {
        assert!(metrics.lines().any(|found| found == line), "`{line}` is not in:\n{metrics}");
    }
    let ready = gateway.readiness();
    assert_eq!((&ready["status"], &ready["store"]["kind"]), (&"ready".into(), &"redis".into()));
    assert_eq!(
        (&ready["store"]["state"], &ready["store"]["breaker"]),
        (&"up".into(), &"closed".into())
    );
    assert!(ready["store"]["latency_seconds"].as_f64().unwrap() > 0.0);
    let page = |path: &str| {
        gateway.client().get(gateway.admin_url(path)).send().unwrap().status().as_u16()
    };
    assert_eq!([page("/livez"), page("/readyz"), page("/secrets")], [200, 200, 404]);
    let post = gateway.client().post(gateway.admin_url("/metrics")).send().unwrap();
    assert_eq!(post.status(), 405);
    assert_eq!(gateway.get("/metrics").status(), 429, "the public port has no such page of ours");
}

#[test]
fn clients_cannot_add_series() {
    let app = App::start();
    let gateway =
        Gateway::start(&format!("[store]\nkind = \"local\"\n{}{POLICY}", app_at(app.address())));
    let lines = |gateway: &Gateway| gateway.metrics().lines().count();
    for _ in 0..3 {
        gateway.get("/");
    }
    wait_until("both classes to be recorded", || gateway.metrics().contains("4xx"));
    let before = lines(&gateway);
    for number in 0..50 {
        let method = reqwest::Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        let url = gateway.url(&format!("/{number}?a={number}"));
        gateway.client().request(method, url).header("host", format!("h{number}")).send().unwrap();
    }
    assert_eq!(lines(&gateway), before);
}

#[test]
fn sighup_puts_a_changed_file_in_force_and_keeps_the_counts() {
    let app = App::start();
    let gateway =
        Gateway::start(&format!("[store]\nkind = \"local\"\n{}{POLICY}", app_at(app.address())));
    let get = || gateway.get("/").status().as_u16();
    assert_eq!([get(), get(), get()], [200, 200, 429]);
    gateway.edit("quota = 2", "quota = 3");
    gateway.signal("HUP");
    let reloads = |result: &str| {
        let result = format!("result=\"{result}\"");
        gateway.metric("sluicegate_config_reloads_total", &[&result])
    };
    wait_until("the reload", || reloads("applied") == 1.0);
    assert_eq!([get(), get()], [200, 429], "one more unit, no fresh quota");
    gateway.edit("quota = 3", "quota = -3");
    gateway.signal("HUP");
    wait_until("the refusal", || reloads("rejected") == 1.0);
    assert_eq!(get(), 429, "the old configuration stays");
    assert!(gateway.log().contains("gateway.toml:"), "it says where: {}", gateway.log());
    gateway.edit("quota = -3", "quota = 3\nalgorithm = \"token-bucket\"");
    gateway.signal("HUP");
    wait_until("the reload", || reloads("applied") == 2.0);
    assert!(gateway.log().contains("start anew"), "{}", gateway.log());
    assert_eq!(get(), 200);
}

#[test]
fn sigterm_lets_requests_end_and_then_ends() {
    let (gate_in, gate_out) = std::sync::mpsc::channel::<()>();
    let gate_out = std::sync::Mutex::new(gate_out);
    let app = App::answering(move |_| {
        gate_out.lock().unwrap().recv().expect("the test opens the gate");
        response("200 OK", "", b"late")
    });
    let mut gateway =
        Gateway::start(&format!("[store]\nkind = \"local\"\n{}", app_at(app.address())));
    let (url, client) = (gateway.url("/"), gateway.client().clone());
    let request = std::thread::spawn(move || client.get(url).send().unwrap().text().unwrap());
    wait_until("the request to be under way", || {
        gateway.metric("sluicegate_requests_in_flight", &[]) == 1.0
    });
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] == "draining");
    gate_in.send(()).unwrap();
    assert_eq!(request.join().unwrap(), "late");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn access_lines_are_json_when_asked_for_and_hold_no_secret() {
    let app = App::start();
    let log = "[log]\nformat = \"json\"\naccess = true\n";
    let gateway = Gateway::start(&format!(
        "{log}[store]\nkind = \"local\"\n{}{POLICY}",
        app_at(app.address())
    ));
    for _ in 0..3 {
        let request =
            gateway.client().get(gateway.url("/a?token=s3cret")).header("cookie", "sid=s3cret");
        request.header("authorization", "Bearer s3cret").send().unwrap();
    }
    wait_until("three lines", || gateway.log().matches("\"request\"").count() == 3);
    let log = gateway.log();
    assert!(!log.contains("s3cret"), "{log}");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = lines.iter().rfind(|line| line["message"] == "request").unwrap();
    assert_eq!(
        (&last["status"], &last["path"], &last["denied_by"]),
        (&429.into(), &"/a".into(), &"p".into())
    );
    assert_eq!((&last["client"], &last["method"]), (&"127.0.0.1".into(), &"GET".into()));
}

#[test]
fn check_says_that_the_annotated_configuration_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.toml");
    let checked = sluicegate(&["check", "--config", file]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()));
    assert!(text(&checked.stdout).contains("is valid: 3 policies, 3 rules, 1 route, 1 upstream"));
}

#[test]
fn wrong_use_and_failures_have_their_exit_codes() {
    assert_eq!(sluicegate(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(sluicegate(&["--version"]).status.code(), Some(0));
    let missing = sluicegate(&["run", "--config", "/nonexistent/gateway.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).contains("cannot read `/nonexistent/gateway.toml`"),
        "{}",
        text(&missing.stderr)
    );
}

#[test]
fn an_address_in_use_is_an_error_with_a_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("sluicegate-taken-{}.toml", std::process::id()));
    let config = format!("[server]\nlisten = [\"{address}\"]\n{}", app_at(address));
    std::fs::write(&path, config).unwrap();
    let run = sluicegate(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run.status.code(), Some(1));
    let stderr = text(&run.stderr);
    assert!(stderr.contains(&format!("cannot listen on {address}")), "{stderr}");
    assert!(stderr.contains("server.listen"), "{stderr}");
}

#[test]
fn addresses_that_overlap_are_an_error() {
    let path = std::env::temp_dir().join(format!("sluicegate-overlap-{}.toml", std::process::id()));
    let port = free_port();
    let app = app_at(([127, 0, 0, 1], 1).into());
    let config = format!("[server]\nlisten = [\"0.0.0.0:{port}\", \"127.0.0.1:{port}\"]\n{app}");
    std::fs::write(&path, config).unwrap();
    let run = sluicegate(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains(&format!("cannot listen on 127.0.0.1:{port}")));
}

#[test]
fn names_are_resolved_whatever_redis_does_and_stay_so_over_a_reload() {
    // It accepts and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = App::start();
    let store = format!("[store]\nurl = \"redis://{}\"\n", mute.local_addr().unwrap());
    let upstream = app_at(app.address()).replace("127.0.0.1", "localhost");
    let gateway = Gateway::start(&format!("{store}{upstream}{POLICY}"));
    assert_eq!(gateway.get("/").status(), 200);
    for reload in 1..=10 {
        gateway.edit("quota", &format!("# {reload}\nquota"));
        gateway.signal("HUP");
        while gateway.metric("sluicegate_config_reloads_total", &["applied"]) < f64::from(reload) {
            assert_ne!(gateway.get("/").status(), 503, "during reload {reload}");
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (gate_in, gate_out) = std::sync::mpsc::channel::<()>();
    let gate_out = std::sync::Mutex::new(gate_out);
    let app = App::answering(move |_| {
        let _ = gate_out.lock().unwrap().recv();
        response("200 OK", "", b"never")
    });
    let mut gateway =
        Gateway::start(&format!("[store]\nkind = \"local\"\n{}", app_at(app.address())));
    let (url, client) = (gateway.url("/"), gateway.client().clone());
    let request = std::thread::spawn(move || client.get(url).send().is_err());
    wait_until("the request to be under way", || {
        gateway.metric("sluicegate_requests_in_flight", &[]) == 1.0
    });
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] == "draining");
    gateway.signal("TERM");
    gateway.wait();
    assert!(request.join().unwrap(), "the request was broken off");
    drop(gate_in);
}
