//! What an upgrade does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{ask, line};
use crate::support::app::{App, response};
use crate::support::gateway::{BINARY, Gateway, app_at};
use crate::support::http2::{self, End};
use crate::support::line::{Line, kill, runs};
use crate::support::raw;
use crate::support::redis::{RedisServer, free_port, wait_until};

#[test]
fn the_new_process_serves_and_the_old_one_ends_with_its_last_connection() {
    let (_app, mut line) = line();
    let mut idle = raw::connect(line.public());
    assert!(!ask(&mut idle).contains("connection: close"));
    let old = line.serving();
    line.upgrade();
    assert_ne!(line.serving(), old);
    assert_eq!(line.get("/").status(), 200);
    assert_eq!(line.readiness()["status"], "ready", "the new one's own pages");
    assert!(runs(old), "a client may be about to use its connection");
    assert!(ask(&mut idle).contains("connection: close"), "it is answered and asked to go");
    wait_until("the old process to end", || !runs(old));
    assert_eq!(line.get("/").status(), 200);
    assert!(runs(line.serving()));
    assert_eq!(line.metric("sluicegate_upgrades_total", &["failed"]), 0.0, "{}", line.log());
    assert_eq!(line.said("ERROR"), 0, "{}", line.log());
}

#[test]
fn http2_is_asked_to_go_and_streams_under_way_are_answered() {
    let (gate_in, gate_out) = std::sync::mpsc::channel::<()>();
    let gate_out = std::sync::Mutex::new(gate_out);
    let app = App::answering(move |seen| {
        if seen.target == "/slow" {
            gate_out.lock().unwrap().recv().expect("the test opens the gate");
        }
        response("200 OK", "", b"hello")
    });
    let mut line =
        Line::start(&format!("h2c = true\n[store]\nkind = \"local\"\n{}", app_at(app.address())));
    let mut connection = http2::Connection::open(line.public());
    connection.get(1, "/slow").unwrap();
    wait_until("it to be under way", || line.metric("sluicegate_requests_in_flight", &[]) == 1.0);
    let old = line.serving();
    line.upgrade();
    assert!(matches!(connection.end_of(&[1]), (0, End::GoAway(0))), "no error");
    assert!(runs(old));
    gate_in.send(()).unwrap();
    assert_eq!(connection.end_of(&[1]), (1, End::Answer(200)));
    drop(connection);
    wait_until("the old process to end", || !runs(old));
}

#[test]
fn limits_in_redis_go_on_as_they_were() {
    let (redis, app) = (RedisServer::start(), App::start());
    let policy =
        "[policies.p]\nquota = 7\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
    let store = format!("[store]\nurl = \"{}\"\ntimeout = \"1s\"\n", redis.url());
    let mut line = Line::start(&format!("{store}{}{policy}", app_at(app.address())));
    line.wait_for_store("up");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.extend([(); 2].map(|()| line.get("/").status().as_u16()));
        line.upgrade();
        line.wait_for_store("up");
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 429]);
}

#[test]
fn listeners_may_change_with_it() {
    let (_app, mut line) = line();
    let another = free_port();
    let old = line.public();
    line.edit(&format!("[\"{old}\"]"), &format!("[\"{old}\", \"127.0.0.1:{another}\"]"));
    line.upgrade();
    let mut fresh = raw::connect(([127, 0, 0, 1], another).into());
    ask(&mut fresh);
    drop(fresh);
    line.edit(&format!("[\"{old}\", "), "[");
    line.upgrade();
    ask(&mut raw::connect(([127, 0, 0, 1], another).into()));
    wait_until("the old address to be free", || TcpListener::bind(old).is_ok());
}

#[test]
fn a_new_process_can_be_started_by_hand() {
    let (_app, line) = line();
    let old = line.serving();
    let mut new = Command::new(BINARY)
        .args(["run", "--upgrade", "--config"])
        .arg(line.config())
        .spawn()
        .expect("the binary starts");
    wait_until("the old process to end", || !runs(old));
    assert_eq!(line.get("/").status(), 200);
    kill("TERM", new.id());
    assert!(new.wait().unwrap().success());
    assert!(!line.socket().exists(), "nobody answers there any more");
}

#[test]
fn the_socket_itself_may_change_with_it() {
    let (_app, mut line) = line();
    let (first, socket) = (line.serving(), line.socket());
    line.edit("run/upgrade.sock", "run/another.sock");
    line.upgrade();
    assert_eq!(line.get("/").status(), 200);
    wait_until("the old process to end", || !runs(first));
    assert!(!socket.exists(), "nobody answers there");
    line.edit("upgrade_socket", "# upgrade_socket");
    line.upgrade();
    assert_eq!(line.get("/").status(), 200);
    line.signal("USR2");
    wait_until("it to say so", || line.said("`server.upgrade_socket` is not set") == 1);
}

#[test]
fn a_stop_while_it_leaves_waits_for_requests_and_not_for_idle_connections() {
    let (gate_in, gate_out) = std::sync::mpsc::channel::<()>();
    let gate_out = std::sync::Mutex::new(gate_out);
    let app = App::answering(move |seen| {
        if seen.target == "/slow" {
            gate_out.lock().unwrap().recv().expect("the test opens the gate");
        }
        response("200 OK", "", b"hello")
    });
    let mut line = Line::start(&format!("[store]\nkind = \"local\"\n{}", app_at(app.address())));
    let mut idle = raw::connect(line.public());
    ask(&mut idle);
    let mut busy = raw::connect(line.public());
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    wait_until("it to be under way", || line.metric("sluicegate_requests_in_flight", &[]) == 1.0);
    let old = line.serving();
    line.upgrade();
    kill("TERM", old);
    gate_in.send(()).unwrap();
    assert_eq!(raw::read_answer(&mut busy).1, b"hello");
    wait_until("the old process to end", || !runs(old));
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "nothing but its end");
}

#[test]
fn connections_that_stay_are_broken_off_in_the_end() {
    let app = App::start();
    let config = format!("[store]\nkind = \"local\"\n{}", app_at(app.address()));
    let mut line = Line::start(&format!("handover_timeout = \"1s\"\n{config}"));
    let mut idle = raw::connect(line.public());
    ask(&mut idle);
    let old = line.serving();
    line.upgrade();
    wait_until("the old process to end", || !runs(old));
    assert_eq!(line.said("`handover_timeout` has passed"), 1);
}

/// What a gateway says that does not start.
fn complaint(arguments: &[&str]) -> String {
    let run = Command::new(BINARY).args(arguments).output().expect("the binary runs");
    assert_eq!(run.status.code(), Some(1));
    String::from_utf8(run.stderr).expect("text")
}

#[test]
fn nobody_to_take_over_from_is_an_error() {
    let (_app, line) = line();
    let text = fs::read_to_string(line.config()).unwrap();
    let other = line.file("other.toml");
    let other = other.to_str().unwrap();
    let upgrade = || complaint(&["run", "--upgrade", "--config", other]);
    fs::write(other, text.replace("upgrade.sock", "other.sock")).unwrap();
    assert!(upgrade().contains("no gateway to take over from listens on"));
    let without = text.lines().filter(|line| !line.contains("upgrade_socket"));
    fs::write(other, without.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(upgrade().contains("`server.upgrade_socket` is not set"));
}

#[test]
fn a_socket_is_one_gateway_s_and_its_folder_nobody_else_s() {
    let (_app, line) = line();
    let text = fs::read_to_string(line.config()).unwrap();
    let ports = [line.public(), line.admin()].map(|address| address.port().to_string());
    let text = text.replace(&ports[0], &free_port().to_string());
    let text = text.replace(&ports[1], &free_port().to_string());
    let other = line.file("other.toml");
    fs::write(&other, text).unwrap();
    let other = other.to_str().unwrap();
    let taken = complaint(&["run", "--config", other]);
    assert!(taken.contains("another gateway listens on"), "{taken}");
    assert!(taken.contains("--upgrade"), "{taken}");
    fs::set_permissions(line.socket().parent().unwrap(), fs::Permissions::from_mode(0o750))
        .unwrap();
    for arguments in [&["run", "--config", other][..], &["run", "--upgrade", "--config", other]] {
        let open = complaint(arguments);
        assert!(open.contains("others may enter") && open.contains("chmod 700"), "{open}");
    }
}

#[test]
fn without_a_socket_a_signal_changes_nothing() {
    let app = App::start();
    let gateway = Gateway::start(&format!("[store]\nkind = \"local\"\n{}", app_at(app.address())));
    gateway.signal("USR2");
    wait_until("it to say so", || gateway.log().contains("`server.upgrade_socket` is not set"));
    assert_eq!(gateway.get("/").status(), 200);
}
