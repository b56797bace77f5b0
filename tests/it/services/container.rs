//! The gateway as the first process of a container: one that nobody reaps after, and for which a
//! signal that it does not listen to does nothing. Skipped where the system gives no process numbers
//! of one's own.

use std::fs;
use std::process::Command;

use crate::concurrency::holding::HoldingApp;
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

/// Processes with numbers of their own; the first is killed with `unshare`.
const OWN_NUMBERS: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// The same for who is not root.
const AS_ROOT: [&str; 2] = ["--user", "--map-root-user"];

/// How to start the first process of a container; nothing where that is forbidden.
fn wrapper() -> Option<Vec<&'static str>> {
    let ways = [OWN_NUMBERS.to_vec(), [&OWN_NUMBERS[..], &AS_ROOT].concat()];
    let works = |way: &Vec<&str>| {
        let output = Command::new(way[0]).args(&way[1..]).arg("true").output();
        output.is_ok_and(|output| output.status.success())
    };
    let way = ways.into_iter().find(works);
    if way.is_none() {
        eprintln!("skipped: this system allows no process numbers of one's own (unshare --pid)");
    }
    way
}

fn config(app: std::net::SocketAddr) -> String {
    format!("drain_timeout = \"1h\"\n[store]\nkind = \"local\"\n{}", app_at(app))
}

fn is_first(gateway: &Gateway) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process()));
    let status = status.expect("it runs");
    let line = status.lines().find(|line| line.starts_with("NSpid:")).expect("its numbers");
    line.split_whitespace().next_back() == Some("1")
}

#[test]
fn the_first_process_reloads() {
    let Some(wrapper) = wrapper() else { return };
    let app = App::start();
    let gateway = Gateway::start_through(&wrapper, &config(app.address()));
    assert!(is_first(&gateway));
    gateway.signal("HUP");
    wait_until("the reload", || {
        gateway.metric("sluicegate_config_reloads_total", &["\"applied\""]) == 1.0
    });
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn the_first_process_drains() {
    let Some(wrapper) = wrapper() else { return };
    let app = HoldingApp::start();
    let mut gateway = Gateway::start_through(&wrapper, &config(app.address()));
    assert!(is_first(&gateway));
    let mut under_way = app.send(gateway.public(), "").stream();
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] != "ready");
    app.release();
    let (head, _) = raw::read_answer(&mut under_way);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_second_signal_ends_the_first_process() {
    let Some(wrapper) = wrapper() else { return };
    let app = HoldingApp::start();
    let mut gateway = Gateway::start_through(&wrapper, &config(app.address()));
    let _under_way = app.send(gateway.public(), "").stream();
    gateway.signal("TERM");
    wait_until("it to say that it stops", || gateway.readiness()["status"] != "ready");
    gateway.signal("TERM");
    // By itself it would wait for an hour: nobody answers the request.
    assert!(gateway.wait().is_some());
}

#[test]
fn the_image_starts_the_gateway_without_a_shell() {
    let text = fs::read_to_string("Dockerfile").expect("the file");
    for line in ["ENTRYPOINT [\"sluicegate\"]", "STOPSIGNAL SIGTERM"] {
        assert!(text.lines().any(|found| found == line), "`{line}` is missing");
    }
}
