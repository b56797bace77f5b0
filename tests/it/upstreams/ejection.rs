//! A server that fails gets no requests for a while, but never the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::server::{Reply, Server};
use super::{gateway, upstream};
use crate::support::redis::wait_until;

/// A server that breaks every answer for as long as it is told to.
fn fragile() -> (Server, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let server = Server::doing(move |_| {
        if is_broken.load(Ordering::SeqCst) { Reply::Break } else { Reply::Status(200) }
    });
    (server, broken)
}

#[test]
fn who_breaks_every_answer_is_ejected() {
    let ((bad, broken), good) = (fragile(), Server::start());
    let gateway = gateway(
        &[bad.address(), good.address()],
        "[upstreams.app.ejection]\nfailures = 5\nfor = \"1h\"",
    );
    for _ in 0..50 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!((bad.requests(), good.requests()), (5, 50), "five in a row, and no more");
    assert_eq!(upstream(&gateway, "ejections_total", &[]), 1);
    assert_eq!(upstream(&gateway, "servers_up", &[]), 1);
    assert_eq!(gateway.readiness()["upstreams"]["app"]["up"], 1);
    let log = gateway.log();
    let about = |line: &&str| line.contains("ejected") && line.contains(&bad.address().to_string());
    assert_eq!(log.lines().filter(about).count(), 1, "{log}");
    drop(broken);
}

#[test]
fn the_last_server_is_never_ejected() {
    let (server, broken) = fragile();
    let gateway =
        gateway(&[server.address()], "[upstreams.app.ejection]\nfailures = 1\nfor = \"1h\"");
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status(), 502);
    }
    broken.store(false, Ordering::SeqCst);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(upstream(&gateway, "ejections_total", &[]), 0);
}

/// The one that goes on may die as well: then the ejected one is better than none.
#[test]
fn an_ejected_server_is_asked_when_the_others_are_gone() {
    let ((bad, broken), mut good) = (fragile(), Server::start());
    let gateway = gateway(
        &[bad.address(), good.address()],
        "[upstreams.app.ejection]\nfailures = 1\nfor = \"1h\"",
    );
    for _ in 0..4 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!(bad.requests(), 1, "it is ejected");
    broken.store(false, Ordering::SeqCst);
    good.kill();
    for _ in 0..20 {
        let request = gateway.client().post(gateway.url("/")).body("x");
        assert_eq!(request.send().unwrap().status(), 200, "nothing was sent to the dead one");
    }
    assert!(bad.requests() >= 21);
    let log = gateway.log();
    let about = |line: &&str| line.contains("is back") && line.contains(&bad.address().to_string());
    assert_eq!(log.lines().filter(about).count(), 1, "{log}");
}

#[test]
fn an_ejection_ends_by_itself() {
    let ((bad, broken), good) = (fragile(), Server::start());
    let gateway = gateway(
        &[bad.address(), good.address()],
        "[upstreams.app.ejection]\nfailures = 2\nfor = \"100ms\"",
    );
    wait_until("an ejection", || {
        assert_eq!(gateway.get("/").status(), 200);
        upstream(&gateway, "ejections_total", &[]) > 0
    });
    broken.store(false, Ordering::SeqCst);
    let before = bad.requests();
    wait_until("the return", || {
        assert_eq!(gateway.get("/").status(), 200);
        bad.requests() > before + 10
    });
    assert_eq!(upstream(&gateway, "servers_up", &[]), 2);
}

#[test]
fn none_is_ejected_where_that_is_off() {
    let ((bad, _broken), good) = (fragile(), Server::start());
    let gateway =
        gateway(&[bad.address(), good.address()], "[upstreams.app.ejection]\nfailures = 0");
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert_eq!((bad.requests(), upstream(&gateway, "ejections_total", &[])), (10, 0));
}

#[test]
fn a_failure_of_the_application_s_own_is_an_answer() {
    let (bad, good) = (Server::doing(|_| Reply::Status(500)), Server::start());
    let gateway = gateway(
        &[bad.address(), good.address()],
        "[upstreams.app.ejection]\nfailures = 1\nfor = \"1h\"",
    );
    for _ in 0..50 {
        gateway.get("/");
    }
    assert_eq!((bad.requests(), good.requests()), (25, 25));
    assert_eq!(upstream(&gateway, "ejections_total", &[]), 0);
}
