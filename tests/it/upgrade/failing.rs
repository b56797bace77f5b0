//! Upgrades that fail, at every point where one can: the old process serves on.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{ask, line};
use crate::support::app::App;
use crate::support::gateway::{BINARY, app_at};
use crate::support::line::{Line, kill, runs};
use crate::support::raw;
use crate::support::redis::wait_until;

fn failed(line: &Line) -> f64 {
    line.metric("sluicegate_upgrades_total", &["failed"])
}

/// The old one serves as before, on connections that are there and on new ones, and can be upgraded.
fn serves_on(line: &mut Line, connection: &mut std::net::TcpStream) {
    assert!(!ask(connection).contains("connection: close"), "nobody is asked to go");
    assert_eq!(line.get("/").status(), 200);
    let old = line.serving();
    assert!(runs(old));
    line.upgrade();
    assert_ne!(line.serving(), old);
    assert_eq!(line.get("/").status(), 200);
}

#[test]
fn a_binary_that_is_none_changes_nothing() {
    let (_app, mut line) = line();
    let mut connection = raw::connect(line.public());
    let script = |name: &str, text: &str| {
        let path = line.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    };
    let bad = [
        line.file("missing"),
        line.file("run"),
        script("text", "nonsense --"),
        script("false", "#!/bin/sh\nexit 3\n"),
        script("crash", "#!/bin/sh\nkill -SEGV $$\n"),
    ];
    for (number, binary) in bad.iter().enumerate() {
        line.replace_binary(binary);
        line.signal("USR2");
        wait_until("it to fail", || failed(&line) == (number + 1) as f64);
    }
    line.replace_binary(Path::new(BINARY));
    serves_on(&mut line, &mut connection);
}

#[test]
fn a_configuration_that_is_none_changes_nothing() {
    let (_app, mut line) = line();
    let mut connection = raw::connect(line.public());
    let good = fs::read_to_string(line.config()).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let in_use = TcpListener::bind(taken).unwrap();
    let listen = format!("[\"{}\"]", line.public());
    let bad = [
        "nonsense".to_owned(),
        String::new(),
        good.replace("[store]", "[stor]"),
        good.replace(&listen, &format!("[\"{}\", \"{taken}\"]", line.public())),
        good.replace(&listen, "[\"192.0.2.1:80\"]"),
        good.replace("run/upgrade.sock", "upgrade.sock"),
    ];
    for (number, text) in bad.iter().enumerate() {
        fs::write(line.config(), text).unwrap();
        line.signal("USR2");
        wait_until("it to fail", || failed(&line) == (number + 1) as f64);
        assert!(!ask(&mut connection).contains("connection: close"));
    }
    drop(in_use);
    fs::write(line.config(), good).unwrap();
    serves_on(&mut line, &mut connection);
}

#[test]
fn a_process_that_is_killed_on_the_way_changes_nothing() {
    // A Redis that accepts and never answers: it takes the new process a second to give up on it.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = App::start();
    let store = format!("[store]\nurl = \"redis://{}\"\n", mute.local_addr().unwrap());
    let mut line = Line::start(&format!("{store}{}", app_at(app.address())));
    let mut connection = raw::connect(line.public());
    for round in 1..=5 {
        let takes = "a new process takes the sockets over";
        let before = line.said(takes);
        let new = line.begin();
        wait_until("it to have the sockets", || line.said(takes) > before);
        kill("KILL", new);
        wait_until("it to fail", || failed(&line) == f64::from(round));
        assert!(!ask(&mut connection).contains("connection: close"));
    }
    assert_eq!(line.said("this process goes on") + line.said("this one goes on"), 5, "once each");
    serves_on(&mut line, &mut connection);
}

/// Says these lines at the socket, reading an answer behind each, and goes.
fn say(line: &Line, words: &[&str]) {
    let mut stream = UnixStream::connect(line.socket()).expect("the gateway hears of upgrades");
    for word in words {
        let _ = stream.write_all(word.as_bytes());
        let _ = stream.read(&mut [0; 4096]);
    }
}

#[test]
fn whoever_breaks_off_the_conversation_changes_nothing() {
    let (_app, mut line) = line();
    let mut connection = raw::connect(line.public());
    let take_over = "sluicegate take-over 1\n";
    let long = "x".repeat(100_000);
    // Who says nothing has only looked.
    say(&line, &[]);
    let conversations: [&[&str]; 8] = [
        &["GET / HTTP/1.1\r\n\r\n"],
        &["sluicegate take-over 2\n"],
        &[&long],
        &["\u{1}\u{0}\n"],
        &[take_over],
        &[take_over, "serving\n"],
        &[take_over, "ready\n"],
        &[take_over, "ready\n", "leaving\n"],
    ];
    for (number, words) in conversations.iter().enumerate() {
        say(&line, words);
        wait_until("it to be given up", || failed(&line) == (number + 1) as f64);
        assert!(!ask(&mut connection).contains("connection: close"));
    }
    serves_on(&mut line, &mut connection);
}

#[test]
fn one_upgrade_at_a_time() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = App::start();
    let store = format!("[store]\nurl = \"redis://{}\"\n", mute.local_addr().unwrap());
    let mut line = Line::start(&format!("{store}{}", app_at(app.address())));
    let old = line.serving();
    let new = line.begin();
    line.signal("USR2");
    wait_until("it to say so", || line.said("no upgrade: one is under way") == 1);
    wait_until("the old one to end", || !runs(old));
    assert!(runs(new));
    assert_eq!(line.get("/").status(), 200);
}
