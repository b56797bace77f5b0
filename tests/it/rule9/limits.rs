//! Quota, window, burst, resolution and calendar.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Scene;

const SLIDING: &str = "algorithm = \"sliding-window\"";
const BUCKET: &str = "algorithm = \"token-bucket\"";
const CALENDAR: &str = "algorithm = \"calendar\"";

/// A policy that changes: what it was, how many units were used, what it is, and how many are left.
struct Change {
    name: &'static str,
    was: &'static str,
    used: usize,
    is: &'static str,
    left: usize,
}

const fn change(
    name: &'static str,
    was: &'static str,
    used: usize,
    is: &'static str,
    left: usize,
) -> Change {
    Change { name, was, used, is, left }
}

/// Units that were used stay used: what is left is the new quota without them.
const WINDOWS: [Change; 10] = [
    change("up", "quota = 10\nwindow = \"1h\"", 6, "quota = 15\nwindow = \"1h\"", 9),
    change("up-from-full", "quota = 10\nwindow = \"1h\"", 10, "quota = 12\nwindow = \"1h\"", 2),
    change("down", "quota = 10\nwindow = \"1h\"", 6, "quota = 8\nwindow = \"1h\"", 2),
    change("below", "quota = 10\nwindow = \"1h\"", 6, "quota = 4\nwindow = \"1h\"", 0),
    // The ticks are others now: 1350 s in place of 56.25 s, and then 14.0625 s. What was used a
    // moment ago counts for the whole of the new window, rounded up to its tick.
    change("longer", "quota = 10\nwindow = \"1h\"", 6, "quota = 10\nwindow = \"1d\"", 4),
    change("shorter", "quota = 10\nwindow = \"1h\"", 6, "quota = 10\nwindow = \"15m\"", 4),
    change("both", "quota = 10\nwindow = \"1h\"", 10, "quota = 17\nwindow = \"1d\"", 7),
    change("both-down", "quota = 10\nwindow = \"1d\"", 6, "quota = 3\nwindow = \"1h\"", 0),
    change(
        "coarse",
        "quota = 10\nwindow = \"1h\"",
        6,
        "quota = 10\nwindow = \"1h\"\nresolution = 1",
        4,
    ),
    change(
        "fine",
        "quota = 10\nwindow = \"1h\"\nresolution = 7",
        6,
        "quota = 10\nwindow = \"1h\"\nresolution = 240",
        4,
    ),
];

/// Of a bucket too it is units that were used, however long they take to come back: what is left is
/// the new burst (the quota, unless it is given) without them. In a day nine come back at most, so
/// none while the test runs; where the window is an hour, one in twelve minutes at most.
const BUCKETS: [Change; 11] = [
    change("up", "quota = 9\nwindow = \"1d\"", 6, "quota = 15\nwindow = \"1d\"", 9),
    change("up-from-full", "quota = 9\nwindow = \"1d\"", 9, "quota = 12\nwindow = \"1d\"", 3),
    change("down", "quota = 9\nwindow = \"1d\"", 6, "quota = 8\nwindow = \"1d\"", 2),
    change("below", "quota = 9\nwindow = \"1d\"", 6, "quota = 4\nwindow = \"1d\"", 0),
    // The debt of an hour is little of a day: in time, full would be next to nothing.
    change("longer", "quota = 5\nwindow = \"1h\"", 5, "quota = 5\nwindow = \"7d\"", 0),
    change("longer-half", "quota = 5\nwindow = \"1h\"", 3, "quota = 5\nwindow = \"7d\"", 2),
    change("shorter", "quota = 5\nwindow = \"7d\"", 3, "quota = 5\nwindow = \"1h\"", 2),
    change(
        "slower",
        "quota = 9\nwindow = \"1d\"\nburst = 9",
        9,
        "quota = 1\nwindow = \"1d\"\nburst = 9",
        0,
    ),
    change(
        "burst-up",
        "quota = 9\nwindow = \"1d\"\nburst = 5",
        5,
        "quota = 9\nwindow = \"1d\"\nburst = 8",
        3,
    ),
    change(
        "burst-down",
        "quota = 9\nwindow = \"1d\"\nburst = 9",
        6,
        "quota = 9\nwindow = \"1d\"\nburst = 4",
        0,
    ),
    // 9600 s a unit, and then 86400/7 s, which is no whole number of microseconds.
    change("all", "quota = 9\nwindow = \"1d\"", 4, "quota = 49\nwindow = \"7d\"\nburst = 10", 6),
];

const CALENDARS: [Change; 5] = [
    change("up", "quota = 10\nwindow = \"month\"", 6, "quota = 15\nwindow = \"month\"", 9),
    change("below", "quota = 10\nwindow = \"month\"", 6, "quota = 4\nwindow = \"month\"", 0),
    change("to-days", "quota = 10\nwindow = \"month\"", 6, "quota = 10\nwindow = \"day\"", 4),
    change("to-months", "quota = 10\nwindow = \"day\"", 10, "quota = 11\nwindow = \"month\"", 1),
    change(
        "zone",
        "quota = 10\nwindow = \"month\"",
        6,
        "quota = 10\nwindow = \"month\"\ntime_zone = \"Asia/Tokyo\"",
        4,
    ),
];

/// All of them in one file, each with a rule of its own, and one reload.
fn each(algorithm: &str, changes: &[Change]) {
    let policies = |limit: fn(&Change) -> &str| {
        let policy = |change: &Change| {
            let Change { name, .. } = change;
            format!(
                "[policies.{name}]\n{algorithm}\n{}\npartition = [\"user\"]\n[[rules]]\n\
                 path = \"/{name}\"\npolicies = [\"{name}\"]\n",
                limit(change)
            )
        };
        changes.iter().map(policy).collect::<String>()
    };
    let (was, is) = (policies(|change| change.was), policies(|change| change.is));
    Scene::on_each_store(&was, |scene| {
        for Change { name, used, .. } in changes {
            let path = format!("/{name}");
            for _ in 0..*used {
                assert!(scene.passes(&path, "ann", ""), "{name}: not used up yet");
            }
        }
        scene.reload(&was, &is);
        for Change { name, left, .. } in changes {
            let path = format!("/{name}");
            assert_eq!(scene.left(&path, "ann", ""), *left, "{name} in {}", scene.store());
        }
        assert!(!scene.gateway.log().contains("start anew"), "{}", scene.gateway.log());
    });
}

#[test]
fn a_window_counts_what_was_used() {
    each(SLIDING, &WINDOWS);
}

#[test]
fn a_bucket_has_used_as_many_units() {
    each(BUCKET, &BUCKETS);
}

#[test]
fn a_day_or_month_counts_what_was_used() {
    let hour = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after it").as_secs() / 3600;
    // A period that ends while the test runs is another matter. All of them end with an hour.
    let before = hour();
    let result = std::panic::catch_unwind(|| each(CALENDAR, &CALENDARS));
    match result {
        Err(_) if hour() != before => each(CALENDAR, &CALENDARS),
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(()) => {}
    }
}

/// Redis keeps a key for as long as whoever wrote it knew that it counts. Under a longer window it
/// counts for longer, also if nothing but denials meet it.
#[test]
fn what_counts_for_longer_is_kept_for_longer() {
    for algorithm in [SLIDING, BUCKET] {
        let (was, is) = ("quota = 3\nwindow = \"1h\"", "quota = 3\nwindow = \"7d\"");
        let policy = format!(
            "[policies.p]\n{algorithm}\n{was}\npartition = [\"user\"]\n[[rules]]\npath = \"/**\"\n\
             policies = [\"p\"]\n"
        );
        Scene::on_each_store(&policy, |scene| {
            assert_eq!(scene.left("/", "ann", ""), 3);
            scene.reload(was, is);
            assert!(!scene.passes("/", "ann", ""));
            let Some(redis) = &scene.redis else { return };
            let keys: Vec<String> = redis.command(&["KEYS", "*:p:*"]);
            let [key] = &keys[..] else { panic!("one key: {keys:?}") };
            let left: i64 = redis.command(&["TTL", key]);
            assert!(left > 86_400, "{algorithm}: {left} s of a week");
        });
    }
}

#[test]
fn a_changed_algorithm_starts_anew_and_says_so() {
    let (was, is) = (format!("{SLIDING}\nquota = 5"), format!("{BUCKET}\nquota = 3"));
    let policy = format!(
        "[policies.p]\n{was}\nwindow = \"1d\"\npartition = [\"user\"]\n[[rules]]\npath = \"/**\"\n\
         policies = [\"p\"]\n"
    );
    Scene::on_each_store(&policy, |scene| {
        assert_eq!(scene.left("/", "ann", ""), 5);
        scene.reload(&was, &is);
        let log = scene.gateway.log();
        assert!(log.contains("the counts of policies start anew"), "{log}");
        assert_eq!(scene.left("/", "ann", ""), 3, "in {}", scene.store());
        scene.reload(&is, &was);
        assert_eq!(scene.left("/", "ann", ""), 0, "the old counts are there again");
    });
}
