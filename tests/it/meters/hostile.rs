//! What clients could do to a meter, and what a Redis that hangs does to clients.

use super::{VIEWS, counted, counts, export, gateway, view};
use crate::support::app::App;
use crate::support::fault_proxy::{Behaviour, FaultProxy};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw::exchange;
use crate::support::redis::{RedisServer, wait_until};

#[test]
fn every_spelling_of_a_path_is_one_item() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    let spellings = [
        "/stories/caf%C3%A9",
        "/stories/caf%c3%a9",
        "/stories//caf%C3%A9",
        "/%73tories/./caf%C3%A9",
        "/x/../stories/%63af%c3%A9?again=1",
    ];
    for (number, path) in spellings.into_iter().enumerate() {
        let line = format!("x-user-id: user-{number}\r\nconnection: close\r\n");
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{line}\r\n");
        let answer = exchange(gateway.public(), request.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
    }
    assert_eq!(counted(&gateway, 5)[0], 5);
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, counts(&[("/stories/caf%C3%A9", 5)]));
}

/// Paths and names of users that mean something to Redis, to its keys or to JSON.
#[test]
fn odd_items_and_odd_users_are_what_they_are() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    // As they are sent, and in their one spelling.
    let items = [
        ("/stories/from", "/stories/from"),
        ("/stories/{meter:x}", "/stories/%7Bmeter:x%7D"),
        ("/stories/a\"b", "/stories/a%22b"),
        ("/stories/%e2%80%a8", "/stories/%E2%80%A8"),
        ("/stories/'", "/stories/'"),
    ];
    for (item, _) in items {
        for user in ["}:open", "{x}", "views}:seen:ann", "*"] {
            let line = format!("x-user-id: {user}\r\nconnection: close\r\n");
            let request = format!("GET {item} HTTP/1.1\r\nhost: a\r\n{line}\r\n");
            let answer = exchange(gateway.public(), request.as_bytes());
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{item}");
        }
    }
    assert_eq!(counted(&gateway, 20)[0], 20);
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, items.map(|(_, item)| (item.to_owned(), 4)).into());
    let keys: Vec<String> = redis.command(&["KEYS", "*"]);
    let odd = keys.iter().filter(|key| !key.starts_with("sg:{meter:views}:"));
    let odd: Vec<_> = odd.filter(|key| !key.starts_with("sg:{gateway}:")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn long_paths_are_dropped_and_items_and_marks_are_bounded() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, &format!("{VIEWS}max_items = 3\n"));
    view(&gateway, &format!("/stories/{}", "x".repeat(600)), "ann");
    assert_eq!(counted(&gateway, 1), [0, 0, 0, 1]);
    for story in 0..5 {
        view(&gateway, &format!("/stories/{story}"), "ann");
    }
    assert_eq!(counted(&gateway, 6), [3, 0, 2, 1], "the first three items, and no more");
    view(&gateway, "/stories/0", "ben");
    assert_eq!(counted(&gateway, 7), [4, 0, 2, 1], "what is there goes on");
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, counts(&[("/stories/0", 2), ("/stories/1", 1), ("/stories/2", 1)]));
    view(&gateway, "/stories/4", "ann");
    assert_eq!(
        counted(&gateway, 8),
        [5, 0, 2, 1],
        "the next batch has room, and it was not marked"
    );
}

/// More different views than the queue holds, while Redis is away.
#[test]
fn what_the_queue_cannot_hold_is_counted_as_dropped() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    redis.kill();
    gateway.wait_for_store("away");
    let (clients, each) = (4, 16_500);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut caller = crate::support::load::Caller::new(gateway.public());
                for user in 0..each {
                    let line = format!("x-user-id: user-{client}-{user}\r\n");
                    assert_eq!(caller.get("/stories/1", &line).expect("an answer"), 200);
                }
            });
        }
    });
    let of = |name: &str, label: &str| gateway.metric(name, &[label]) as u64;
    let waiting = || of("sluicegate_meter_waiting_views", "views");
    let dropped = || of("sluicegate_meter_views_total", "\"dropped\"");
    wait_until("all to be seen", || waiting() + dropped() == clients * each);
    let (waiting, dropped) = (waiting(), dropped());
    println!("{waiting} wait, {dropped} dropped");
    assert!(dropped > 0 && waiting >= 65_536, "{waiting} {dropped}");
    redis.restart();
    assert_eq!(counted(&gateway, clients * each), [waiting, 0, 0, dropped]);
}

/// Counting is no part of a request: while Redis hangs, answers come all the same, and the views
/// are counted when it goes on.
#[test]
fn a_redis_that_hangs_holds_no_answer_up() {
    let (redis, app) = (RedisServer::start(), App::start());
    let between = FaultProxy::start(redis.address());
    let store = format!("[store]\nurl = \"{}\"\ntimeout = \"1s\"\n", between.url());
    let gateway =
        Gateway::start(&format!("{store}{}{}{VIEWS}", super::IDENTITY, app_at(app.address())));
    gateway.wait_for_store("up");
    between.set(Behaviour::BlackHole);
    // No policy waits for Redis; nor does a view. The meter has a call under way meanwhile.
    for user in 0..500 {
        view(&gateway, "/stories/1", &format!("user-{user}"));
    }
    gateway.wait_for_store("away");
    view(&gateway, "/stories/2", "ann");
    assert_eq!(app.seen().len(), 501);
    between.set(Behaviour::Pass);
    gateway.wait_for_store("up");
    assert_eq!(counted(&gateway, 501)[0], 501);
    let [batch] = &export(&gateway)[..] else { panic!("one batch") };
    assert_eq!(batch.counts, counts(&[("/stories/1", 500), ("/stories/2", 1)]));
}

/// A key of another type: Redis refuses, says why in the log, and the other meters go on.
#[test]
fn a_meter_that_redis_refuses_holds_no_other_up() {
    let (redis, app) = (RedisServer::start(), App::start());
    redis.command::<()>(&["SET", "sg:{meter:views}:open", "1"]);
    let other = "[meters.pages]\npaths = [\"/**\"]\nunique_by = \"none\"\n";
    let gateway = gateway(&redis, &app, &format!("{VIEWS}{other}"));
    view(&gateway, "/stories/1", "ann");
    wait_until("the other meter to count", || {
        gateway.metric("sluicegate_meter_views_total", &["pages", "counted"]) == 1.0
    });
    wait_until("the log", || gateway.log().contains("Redis refuses to count views"));
    assert_eq!(gateway.readiness()["store"]["state"], "up", "limits go on");
    redis.command::<()>(&["DEL", "sg:{meter:views}:open"]);
    assert_eq!(counted(&gateway, 2)[0], 2);
}
