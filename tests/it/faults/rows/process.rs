//! Rows in which the process of Redis dies, hangs, or has to load its data.

use crate::faults::row::Row;
use crate::support::redis::wait_until;

#[test]
fn killed_and_restarted() {
    Row::new(1, "kill -9 and restart")
        .with(&["--appendonly", "yes", "--appendfsync", "always"])
        .run(|scene| scene.redis.kill(), |scene| scene.redis.restart());
}

#[test]
fn stopped() {
    Row::new(2, "SIGSTOP and SIGCONT")
        .run(|scene| scene.redis.signal("STOP"), |scene| scene.redis.signal("CONT"));
}

#[test]
fn loading() {
    // A thousandth of a second a key, and answers in between: `LOADING`, for four seconds.
    const SLOWLY: &[&str] = &[
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    Row::new(14, "LOADING, slowly").with(SLOWLY).run(
        |scene| {
            scene.redis.command::<()>(&["DEBUG", "POPULATE", "4000"]);
            scene.redis.command::<()>(&["SAVE"]);
            scene.redis.kill();
            scene.redis.restart();
        },
        |scene| wait_until("the data", || scene.redis.try_command::<()>(&["PING"]).is_ok()),
    );
}

#[test]
fn dead_at_the_start() {
    Row::new(21, "start without Redis").dead_at_start().run(|_| {}, |scene| scene.redis.restart());
}

#[test]
fn restarted_empty() {
    Row::new(23, "restart, empty").passing().run(
        |scene| {
            scene.redis.kill();
            scene.redis.restart_empty();
        },
        |_| {},
    );
}

#[test]
#[ignore = "long: make soak"]
fn loading_much() {
    Row::new(24, "LOADING, a large file").with(&["--enable-debug-command", "yes"]).run(
        |scene| {
            scene.redis.command::<()>(&["DEBUG", "POPULATE", "5000000", "key", "64"]);
            scene.redis.command::<()>(&["SAVE"]);
            scene.redis.kill();
            scene.redis.restart();
        },
        |scene| wait_until("the data", || scene.redis.try_command::<()>(&["PING"]).is_ok()),
    );
}
