//! The traffic of the tests themselves: it finds nothing where nothing is wrong, and what is wrong
//! it finds.

use std::time::Instant;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::wait_until;
use crate::support::traffic::report::Fault;
use crate::support::traffic::{Application, Kind, Traffic};

/// A gateway that counts nothing in front of `app`.
fn gateway(app: &Application) -> Gateway {
    Gateway::start(&format!("h2c = true\n[store]\nkind = \"local\"\n{}", app_at(app.address())))
}

#[test]
fn nothing_fails_where_nothing_changes() {
    let app = Application::start();
    let gateway = gateway(&app);
    let traffic = Traffic::start(gateway.public(), &Kind::ALL);
    let large = [Kind::Download, Kind::Upload];
    wait_until("some of everything", || {
        let report = traffic.report();
        large.iter().all(|kind| report.answered(*kind, 200) >= 8)
    });
    let report = traffic.stop();
    report.assert_clean();
    for kind in [Kind::KeepAlive, Kind::Http2] {
        assert!(report.answered(kind, 200) > 100, "{report}");
    }
    let http = Kind::ALL.iter().map(|kind| report.answered(*kind, 200)).sum::<u64>();
    let sockets = report.of(Kind::WebSocket);
    assert_eq!(app.requests(), http + sockets.connections, "each request came once: {report}");
    assert_eq!(app.messages(), report.answered(Kind::WebSocket, 101), "{report}");
}

#[test]
fn a_gateway_that_is_killed_fails_every_kind() {
    let app = Application::start();
    let mut gateway = gateway(&app);
    let traffic = Traffic::start(gateway.public(), &Kind::ALL);
    traffic.wait_for_progress();
    assert_eq!(traffic.report().failed(), 0, "{}", traffic.report());
    let killed = Instant::now();
    gateway.kill_and_restart();
    traffic.wait_for_progress();
    let report = traffic.stop();
    for kind in Kind::ALL {
        assert!(report.of(kind).failed > 0, "{kind:?} did not notice: {report}");
    }
    for failure in report.failures() {
        assert!(failure.at > killed, "before anything was wrong: {report}");
        let fault = failure.fault;
        assert!([Fault::Refused, Fault::Reset, Fault::Ended].contains(&fault), "{report}");
    }
    assert!(report.failures().any(|failure| failure.fault == Fault::Refused), "{report}");
}

#[test]
fn an_application_that_ends_fails_and_another_one_serves_on() {
    let app = Application::start();
    let gateway = gateway(&app);
    let traffic = Traffic::start(gateway.public(), &[Kind::KeepAlive, Kind::Http2]);
    traffic.wait_for_progress();
    let address = app.address();
    drop(app);
    wait_until("502s", || {
        let report = traffic.report();
        let faults: Vec<Fault> = report.failures().map(|failure| failure.fault).collect();
        faults.contains(&Fault::Status(502))
    });
    let app = Application::start_at(address);
    let before = app.requests();
    wait_until("the other one to be asked", || app.requests() > before + 50);
    let report = traffic.stop();
    assert!(report.answered(Kind::KeepAlive, 200) > 0, "{report}");
}

#[test]
fn what_is_not_what_was_ordered_is_noticed() {
    let app = App::answering(|_| response("200 OK", "", b"hello"));
    let config = format!("h2c = true\n[store]\nkind = \"local\"\n{}", app_at(app.address()));
    let gateway = Gateway::start(&config);
    let kinds = [Kind::KeepAlive, Kind::Http2, Kind::WebSocket, Kind::Download, Kind::Upload];
    let traffic = Traffic::start(gateway.public(), &kinds);
    wait_until("every kind to complain", || {
        let report = traffic.report();
        kinds.iter().all(|kind| report.of(*kind).failed > 0)
    });
    let report = traffic.stop();
    for failure in report.failures() {
        assert_eq!(failure.fault, Fault::Wrong, "{failure:?}");
    }
    let right = kinds.iter().map(|kind| report.of(*kind).answers.len()).sum::<usize>();
    assert_eq!(right, 0, "{report}");
}
