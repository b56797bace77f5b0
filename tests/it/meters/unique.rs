//! Which requests are views, and which views count.

use super::{IDENTITY, VIEWS, counted, counts, export, gateway, view};
use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// Answers with the status that the path ends in.
fn app_of_statuses() -> App {
    App::answering(|seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        match path.rsplit('/').next() {
            Some("404") => response("404 Not Found", "", b"no"),
            Some("302") => response("302 Found", "location: /\r\n", b""),
            Some("304") => b"304 Not Modified\r\n\r\n".to_vec(),
            Some("500") => response("500 Internal Server Error", "", b"no"),
            _ => response("200 OK", "", b"hello"),
        }
    })
}

#[test]
fn a_view_counts_once_for_a_user_and_for_whoever_is_none_by_the_address() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    for round in 1..=3 {
        for user in ["ann", "ben"] {
            view(&gateway, "/stories/1", user);
        }
        view(&gateway, "/stories/2", "ann");
        view(&gateway, "/about", "ann");
        // Nobody's address is nobody's name: three requests by none, one view.
        let nobody = gateway.client().get(gateway.url("/stories/1"));
        nobody.header("x-forwarded-for", "192.0.2.7").send().expect("an answer");
        view(&gateway, "/stories/1", "192.0.2.7");
        assert_eq!(counted(&gateway, 5 * round)[..2], [5, 5 * (round - 1)]);
    }
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, counts(&[("/stories/1", 4), ("/stories/2", 1)]));
    let keys: Vec<String> = redis.command(&["KEYS", "sg:{meter:views}:*"]);
    assert!(!keys.is_empty());
    for key in keys {
        let left: i64 = redis.command(&["PTTL", &key]);
        assert!(left > 0, "{key} lives for ever");
    }
}

#[test]
fn only_what_the_application_gave_to_a_counted_method_is_a_view() {
    let (redis, app) = (RedisServer::start(), app_of_statuses());
    let limits = "[policies.few]\nquota = 5\nwindow = \"1h\"\npartition = [\"user\"]\n\
                  [[rules]]\npath = \"/stories/7\"\npolicies = [\"few\"]\n";
    let every = VIEWS.replace("\"user\"", "\"none\"").replace("unique_for = \"24h\"\n", "");
    let gateway = gateway(&redis, &app, &format!("{every}{limits}"));
    for status in ["404", "302", "500"] {
        let path = gateway.url(&format!("/stories/{status}"));
        gateway.client().get(path).send().expect("an answer");
    }
    for method in [reqwest::Method::HEAD, reqwest::Method::POST] {
        gateway.client().request(method, gateway.url("/stories/1")).send().expect("an answer");
    }
    for (path, times) in [("/stories/1?page=2", 3), ("/stories/304", 2), ("/stories/7", 9)] {
        for _ in 0..times {
            gateway.client().get(gateway.url(path)).send().expect("an answer");
        }
    }
    assert_eq!(counted(&gateway, 10), [10, 0, 0, 0]);
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    let expected = [("/stories/1", 3), ("/stories/304", 2), ("/stories/7", 5)];
    assert_eq!(batch.counts, counts(&expected), "what a limit refused is no view");
}

/// Limits off, or for whom they are not: who the user is matters to the meter.
#[test]
fn users_are_told_apart_where_no_limit_asks_for_them() {
    let (redis, app) = (RedisServer::start(), App::start());
    for more in ["[rollout]\nmode = \"off\"\n", "[exempt]\npaths = [\"/stories/*\"]\n"] {
        redis.command::<()>(&["FLUSHALL"]);
        let gateway = gateway(&redis, &app, &format!("{VIEWS}{more}"));
        for user in ["ann", "ben", "ann"] {
            view(&gateway, "/stories/1", user);
        }
        assert_eq!(counted(&gateway, 3)[..2], [2, 1], "{more}");
    }
}

#[test]
fn a_view_counts_again_when_the_span_is_over() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, &VIEWS.replace("24h", "1s"));
    let span = std::time::Instant::now();
    view(&gateway, "/stories/1", "ann");
    assert_eq!(counted(&gateway, 1)[0], 1);
    let mut seen = 1;
    wait_until("the span to be over", || {
        view(&gateway, "/stories/1", "ann");
        seen += 1;
        counted(&gateway, seen)[0] == 2
    });
    assert!(span.elapsed().as_secs() >= 1, "not before");
}

#[test]
fn meters_come_change_and_go_by_a_reload() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, &VIEWS.replace("/stories", "/old"));
    view(&gateway, "/stories/1", "ann");
    view(&gateway, "/old/1", "ann");
    assert_eq!(counted(&gateway, 1)[0], 1);
    let reload = |from: &str, to: &str, times: f64| {
        gateway.edit(from, to);
        gateway.signal("HUP");
        wait_until("the reload", || {
            gateway.metric("sluicegate_config_reloads_total", &["applied"]) == times
        });
    };
    reload("/old", "/stories", 1.0);
    view(&gateway, "/stories/1", "ann");
    view(&gateway, "/old/1", "ann");
    assert_eq!(counted(&gateway, 2)[0], 2);
    // What a meter that is gone has counted is there for the command line.
    reload("meters.views", "meters.others", 2.0);
    view(&gateway, "/stories/1", "ann");
    wait_until("the other meter to count", || {
        gateway.metric("sluicegate_meter_views_total", &["others", "counted"]) == 1.0
    });
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, counts(&[("/old/1", 1), ("/stories/1", 1)]));
}

/// A request that ends last: nothing holds the process any more but its view.
#[test]
fn the_last_views_are_counted_before_the_gateway_stops() {
    let redis = RedisServer::start();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let app = App::answering(move |_| {
        held.lock().expect("one at a time").recv().expect("the test goes on");
        response("200 OK", "connection: close\r\n", b"hello")
    });
    let config = format!("{IDENTITY}{}{VIEWS}", app_at(app.address()));
    let mut gateway = Gateway::with_redis(&redis, "timeout = \"1s\"\n", &config);
    let url = gateway.url("/stories/1");
    let client = gateway.client().clone();
    let last = std::thread::spawn(move || client.get(url).send().expect("an answer").status());
    wait_until("the request", || gateway.metric("sluicegate_requests_in_flight", &[]) >= 1.0);
    gateway.signal("TERM");
    wait_until("the listener to close", || std::net::TcpStream::connect(gateway.public()).is_err());
    release.send(()).expect("the application waits");
    assert_eq!(last.join().expect("no panic"), 200);
    assert_eq!(gateway.wait(), Some(0));
    let count: Option<u64> = redis.command(&["HGET", "sg:{meter:views}:open", "/stories/1"]);
    assert_eq!(count, Some(1));
}
