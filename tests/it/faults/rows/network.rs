//! Rows in which the way to Redis is at fault.

use std::thread::sleep;
use std::time::Duration;

use crate::faults::row::Row;
use crate::support::fault_proxy::Behaviour;

#[test]
fn black_hole() {
    Row::new(15, "black hole").proxied().run(
        |scene| scene.proxy().set(Behaviour::BlackHole),
        |scene| scene.proxy().set(Behaviour::Pass),
    );
}

#[test]
fn slow() {
    Row::new(16, "200 ms delay").proxied().run(
        |scene| scene.proxy().set(Behaviour::Delay(Duration::from_millis(200))),
        |scene| scene.proxy().set(Behaviour::Pass),
    );
}

#[test]
fn resets() {
    Row::new(17, "5 % resets").proxied().passing().run(
        |scene| scene.proxy().set(Behaviour::Reset { percent: 5 }),
        |scene| scene.proxy().set(Behaviour::Pass),
    );
}

#[test]
fn corrupt_replies() {
    Row::new(18, "corrupt replies").proxied().passing().run(
        |scene| scene.proxy().set(Behaviour::Corrupt { percent: 20 }),
        |scene| {
            // What was broken before stays broken: a length that is waited for in vain.
            scene.proxy().set(Behaviour::Pass);
        },
    );
}

#[test]
fn replies_twice() {
    Row::new(25, "replies twice").proxied().passing().run(
        |scene| scene.proxy().set(Behaviour::Repeat { percent: 100 }),
        |scene| scene.proxy().set(Behaviour::Pass),
    );
}

#[test]
fn half_closed() {
    Row::new(19, "half-close").proxied().run(
        |scene| scene.proxy().set(Behaviour::HalfClose),
        |scene| scene.proxy().set(Behaviour::Pass),
    );
}

#[test]
#[ignore = "long: make soak"]
fn flapping() {
    Row::new(20, "flapping every second for a minute").proxied().passing().run(
        |scene| {
            for _ in 0..30 {
                for behaviour in [Behaviour::BlackHole, Behaviour::Pass] {
                    scene.proxy().set(behaviour);
                    sleep(Duration::from_secs(1));
                }
            }
        },
        |_| {},
    );
}
