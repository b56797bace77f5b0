//! Upgrades, good and bad, while clients of every kind are served.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::endurance::tell;
use crate::support::gateway::{BINARY, app_at};
use crate::support::line::{Line, kill, runs};
use crate::support::redis::{RedisServer, wait_until};
use crate::support::traffic::{Application, Kind, Traffic};

const UPGRADES: usize = 20;
const FAILURES: usize = 20;
/// So large that nobody is refused.
const QUOTA: u64 = 100_000_000;

/// One counter for everybody, so that a request which is not counted, or counted anew, is missing.
fn counting() -> String {
    format!(
        "[policies.all]\nquota = {QUOTA}\nwindow = \"365d\"\npartition = []\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n"
    )
}

/// What is left of the quota, before this question.
fn left(line: &Line) -> u64 {
    let answer = line.get("/left");
    let left = answer.headers()["x-ratelimit-remaining"].to_str().expect("text");
    left.parse::<u64>().expect("a number") + 1
}

#[test]
fn twenty_upgrades_lose_no_request_and_no_count() {
    let (redis, app) = (RedisServer::start(), Application::start());
    // Patient: what is charged to this gateway alone while Redis is slow would be told later.
    let store = format!("[store]\nurl = \"{}\"\ntimeout = \"2s\"\n", redis.url());
    let config = format!("h2c = true\n{store}{}{}", app_at(app.address()), counting());
    let mut line = Line::start(&config);
    line.wait_for_store("up");
    let traffic = Traffic::start(line.public(), &Kind::ALL);
    let mut old = Vec::new();
    for _ in 0..UPGRADES {
        traffic.wait_for_progress();
        old.push(line.serving());
        line.upgrade();
    }
    traffic.wait_for_progress();
    let report = traffic.stop();
    report.assert_clean();
    wait_until("the old processes to end", || old.iter().all(|pid| !runs(*pid)));
    assert!(runs(line.serving()));
    let served = app.requests();
    assert_eq!(QUOTA - left(&line), served, "every request is charged once: {report}");
    tell("upgrades", &format!("{UPGRADES} upgrades under load: {report}"));
}

#[test]
fn twenty_failed_upgrades_lose_no_request() {
    // A Redis that accepts and never answers: it takes a new process a second to give up on it.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = Application::start();
    let store = format!("[store]\nurl = \"redis://{}\"\n", mute.local_addr().unwrap());
    let mut line = Line::start(&format!("h2c = true\n{store}{}", app_at(app.address())));
    let (old, good) = (line.serving(), fs::read_to_string(line.config()).unwrap());
    let traffic = Traffic::start(line.public(), &Kind::ALL);
    for round in 0..FAILURES {
        traffic.wait_for_progress();
        let missing = line.file("missing");
        match round % 4 {
            0 => line.replace_binary(&missing),
            1 => line.replace_binary(Path::new("/bin/false")),
            2 => fs::write(line.config(), good.replace("[store]", "[stor]")).unwrap(),
            _ => {}
        }
        if round % 4 < 3 {
            // Some end before they are noted to have begun.
            line.signal("USR2");
        } else {
            let new = line.begin();
            let takes = format!("a new process takes the sockets over pid={new}");
            wait_until("it to have the sockets", || line.said(&takes) == 1);
            kill("KILL", new);
        }
        wait_until("it to fail", || {
            line.said("this process goes on") + line.said("this one goes on") == round + 1
        });
        line.replace_binary(Path::new(BINARY));
        fs::write(line.config(), &good).unwrap();
    }
    traffic.wait_for_progress();
    let report = traffic.stop();
    report.assert_clean();
    assert_eq!(line.serving(), old);
    assert_eq!(line.metric("sluicegate_upgrades_total", &["failed"]), FAILURES as f64);
    tell("failed-upgrades", &format!("{FAILURES} failed upgrades under load: {report}"));
}
