//! Batches by the command line: `sluicegate meters`.

use super::{VIEWS, acknowledge, counted, counts, export, gateway, meters, view};
use crate::support::app::App;
use crate::support::redis::RedisServer;

#[test]
fn a_batch_stays_as_it_is_until_it_is_acknowledged() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    assert_eq!(export(&gateway), [], "nothing seen, no batch");
    view(&gateway, "/stories/1", "ann");
    assert_eq!(counted(&gateway, 1)[0], 1);
    let first = export(&gateway);
    assert_eq!(first[0].counts, counts(&[("/stories/1", 1)]));
    view(&gateway, "/stories/1", "ben");
    assert_eq!(counted(&gateway, 2)[0], 2);
    assert_eq!(export(&gateway), first, "the same again, and nothing else");
    assert_eq!(acknowledge(&gateway, &first[0].name), "");
    let again = acknowledge(&gateway, &first[0].name);
    assert!(again.contains("was not pending"), "{again}");
    let second = export(&gateway);
    assert_eq!(second[0].counts, counts(&[("/stories/1", 1)]));
    assert!(second[0].name > first[0].name, "{second:?} after {first:?}");
    acknowledge(&gateway, &second[0].name);
    assert_eq!(export(&gateway), []);
}

#[test]
fn no_name_comes_twice_also_of_a_redis_that_has_forgotten() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    let mut names = Vec::new();
    for round in 0..4 {
        view(&gateway, "/stories/1", &format!("user-{round}"));
        assert_eq!(counted(&gateway, round + 1)[0], round + 1);
        let batches = export(&gateway);
        assert_eq!(batches.len(), 1);
        acknowledge(&gateway, &batches[0].name);
        names.push(batches[0].name.clone());
        if round % 2 == 1 {
            redis.command::<()>(&["FLUSHALL"]);
        }
    }
    assert!(names.is_sorted(), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), 4);
}

#[test]
fn what_is_open_and_pending_is_shown() {
    let (redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    for (path, user) in [("/stories/2", "ann"), ("/stories/1", "ann"), ("/stories/1", "ben")] {
        view(&gateway, path, user);
    }
    assert_eq!(counted(&gateway, 3)[0], 3);
    let shown = |words: &[&str]| String::from_utf8(meters(&gateway, words).stdout).expect("text");
    let text = shown(&[]);
    assert!(text.starts_with("meter     views\nopen      3 views of 2 items\n"), "{text}");
    let at = |item: &str| text.find(item).expect(item);
    assert!(at("2  /stories/1") < at("1  /stories/2"), "{text}");
    let batch = export(&gateway).remove(0);
    let text = shown(&["views"]);
    let line = format!("pending   {}: 3 views of 2 items\n", batch.name);
    assert!(text.contains("open      0 views of 0 items\n") && text.ends_with(&line), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&shown(&["--output", "json"])).expect("JSON");
    assert_eq!(json["pending"][0]["batch"], batch.name.as_str());
    assert_eq!((&json["meter"], &json["pending"][0]["views"]), (&"views".into(), &3.into()));
}

#[test]
fn a_mistyped_name_and_a_redis_that_is_away_are_told() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateway = gateway(&redis, &app, VIEWS);
    for words in [&["export", "veiws"][..], &["veiws"], &["ack", "veiws", "1-2"]] {
        let output = meters(&gateway, words);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said.contains("no meter `veiws`") && said.contains("`views`"), "{said}");
    }
    redis.kill();
    let output = meters(&gateway, &["export", "views"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("Redis did not answer"), "{said}");
}
