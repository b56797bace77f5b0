//! A Redis, or something on the way to it, that does not answer what it was asked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::fault_proxy::{Behaviour, FaultProxy};
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::Caller;
use crate::support::redis::RedisServer;

/// So many clients at once that a call is nearly always under way.
const CLIENTS: usize = 16;
const LASTS: Duration = Duration::from_secs(3);

/// With replies and calls out of step, half of the clients would get the others' verdicts.
fn nobody_gets_the_verdict_of_another(algorithm: &str) {
    let (redis, app) = (RedisServer::start(), App::start());
    let proxy = FaultProxy::start(redis.address());
    let gateway = Gateway::start(&format!(
        "[store]\nurl = \"{}\"\ntimeout = \"1s\"\ndeny_cache = \"0s\"\n{}\
         [policies.one]\nquota = 1\nwindow = \"1h\"\nalgorithm = \"{algorithm}\"\n\
         partition = [\"header:x-key\"]\n[[rules]]\npath = \"/**\"\npolicies = [\"one\"]\n",
        proxy.url(),
        app_at(app.address()),
    ));
    gateway.wait_for_store("up");
    let ask = |caller: &mut Caller, key: &str| {
        caller.get("/", &format!("x-key: {key}\r\n")).expect("an answer")
    };
    assert_eq!(ask(&mut Caller::new(gateway.public()), "limited"), 200);
    let fresh = AtomicU32::new(0);
    scope(|scope| {
        for number in 0..CLIENTS {
            let (ask, fresh, address) = (&ask, &fresh, gateway.public());
            scope.spawn(move || {
                let (mut caller, began) = (Caller::new(address), Instant::now());
                while began.elapsed() < LASTS {
                    if number % 2 == 0 {
                        assert_eq!(ask(&mut caller, "limited"), 429);
                    } else {
                        let number = fresh.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(ask(&mut caller, &format!("fresh{number}")), 200);
                    }
                }
            });
        }
        proxy.set(Behaviour::Repeat { percent: 5 });
    });
    assert!(fresh.into_inner() > 100, "there was load");
    let connection = ["kind=\"connection\""];
    assert!(gateway.metric("sluicegate_store_errors_total", &connection) > 0.0, "it was noticed");
    proxy.set(Behaviour::Pass);
    gateway.wait_for_store("up");
}

#[test]
fn a_window_is_decided_by_its_own_reply() {
    nobody_gets_the_verdict_of_another("sliding-window");
}

#[test]
fn a_bucket_is_decided_by_its_own_reply() {
    nobody_gets_the_verdict_of_another("token-bucket");
}
