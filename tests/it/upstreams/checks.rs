//! Checks of servers, over all that a server may speak.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use super::server::{Reply, Server};
use super::{gateway, listing, upstream};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::wait_until;

fn checks(gateway: &Gateway, result: &str) -> u64 {
    upstream(gateway, "health_checks_total", &[&format!("result=\"{result}\"")])
}

#[test]
fn a_check_asks_as_it_is_told() {
    let server = Server::doing(|what| match what {
        "GET /healthz?deep=1" => Reply::Status(418),
        _ => Reply::Status(500),
    });
    for (status, result) in [("status = [418]", "ok"), ("", "failed")] {
        let health = format!(
            "[upstreams.app.health]\npath = \"/healthz?deep=1\"\nhost = \"a.internal\"\n\
             interval = \"100ms\"\ntimeout = \"100ms\"\n{status}"
        );
        let gateway = gateway(&[server.address()], &health);
        wait_until("checks", || checks(&gateway, result) >= 3);
        let up = u64::from(result == "ok");
        assert_eq!(upstream(&gateway, "servers_up", &[]), up, "{status}");
    }
}

#[test]
fn without_a_path_a_connection_is_enough() {
    let (server, dead) = (Server::start(), Server::dead(|_| Reply::Break));
    let gateway = gateway(
        &[server.address(), dead.address()],
        "[upstreams.app.health]\ninterval = \"100ms\"\ntimeout = \"100ms\"",
    );
    wait_until("checks", || checks(&gateway, "ok") >= 3 && checks(&gateway, "failed") >= 3);
    assert_eq!((server.requests(), upstream(&gateway, "servers_up", &[])), (0, 1));
}

#[test]
fn a_server_that_hangs_is_down() {
    let barrier = super::server::Barrier::default();
    let held = barrier.clone();
    let server = Server::doing(move |_| {
        held.pass();
        Reply::Status(200)
    });
    let gateway = gateway(
        &[server.address()],
        "[upstreams.app.health]\npath = \"/\"\ninterval = \"100ms\"\ntimeout = \"100ms\"",
    );
    wait_until("checks", || checks(&gateway, "failed") >= 3);
    assert_eq!(gateway.get("/").status(), 503);
    assert!(gateway.log().contains("it did not answer in time"), "{}", gateway.log());
    barrier.open();
    wait_until("the return", || gateway.get("/").status() == 200);
}

#[test]
fn unix_sockets_are_checked() {
    let path = std::env::temp_dir().join(format!("sluicegate-check-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).unwrap_or(0);
                assert!(head[..read].starts_with(b"GET /up HTTP/1.1\r\n"));
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            });
        }
    });
    let gateway = listing(
        &format!("\"unix:{}\"", path.display()),
        "[upstreams.app.health]\npath = \"/up\"\ninterval = \"100ms\"\ntimeout = \"100ms\"",
    );
    wait_until("checks", || checks(&gateway, "ok") >= 2);
    std::fs::remove_file(path).unwrap();
    wait_until("the server to be down", || upstream(&gateway, "servers_up", &[]) == 0);
    assert_eq!(gateway.get("/").status(), 503);
}

/// The application speaks nothing but HTTP/2 here: it is a gateway itself.
#[test]
fn http_2_without_tls_is_checked() {
    let server = Server::start();
    let app = Gateway::start(&format!(
        "h2c = true\n[store]\nkind = \"local\"\n{}",
        app_at(server.address())
    ));
    let gateway = gateway(
        &[app.public()],
        "protocol = \"h2c\"\n[upstreams.app.health]\npath = \"/healthz\"\ninterval = \"100ms\"\n\
         timeout = \"100ms\"",
    );
    wait_until("checks", || checks(&gateway, "ok") >= 3);
    assert!(server.requests_for("GET /healthz") >= 3);
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn another_check_begins_at_once_and_decides_by_itself() {
    let server = Server::doing(|what| match what {
        "GET /wrong" => Reply::Status(404),
        _ => Reply::Status(200),
    });
    // The next check of the same kind would be an hour away.
    let health =
        "[upstreams.app.health]\npath = \"/wrong\"\ninterval = \"1h\"\nunhealthy_after = 3";
    let gateway = gateway(&[server.address()], health);
    assert_eq!(gateway.get("/").status(), 503);
    let reload = |times: f64| {
        gateway.signal("HUP");
        wait_until("the reload", || {
            gateway.metric("sluicegate_config_reloads_total", &["applied"]) >= times
        });
    };
    gateway.edit("/wrong", "/right");
    reload(1.0);
    assert_eq!(gateway.get("/").status(), 200);
    gateway.edit("/right", "/wrong");
    reload(2.0);
    assert_eq!(gateway.get("/").status(), 503);
    gateway.edit("[upstreams.app.health]", "[upstreams.app.ejection]");
    gateway.edit("path = \"/wrong\"\ninterval = \"1h\"\nunhealthy_after = 3", "");
    reload(3.0);
    assert_eq!(gateway.get("/").status(), 200, "without checks nobody is down");
    gateway.edit("[upstreams.app.ejection]", "[upstreams.app.health]\npath = \"/right\"");
    reload(4.0);
    assert_eq!(gateway.get("/").status(), 200, "what was found long ago is forgotten");
}
