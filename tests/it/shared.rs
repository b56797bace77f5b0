//! Limits shared through Redis: exact over gateways, all or nothing over policies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::RedisServer;

const QUOTA: usize = 500;
const CLIENTS: usize = 20;
const LOAD: Duration = Duration::from_secs(10);

#[test]
fn two_gateways_admit_exactly_the_quota_between_them() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}[policies.all]\nquota = {QUOTA}\nwindow = \"1m\"\npartition = []\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n",
        app_at(app.address())
    );
    // A generous timeout: on a busy machine a slow answer of Redis would be a local decision.
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, "timeout = \"1s\"", &config));
    let (passed, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let url = gateways[number % 2].url("/");
            let (passed, refused) = (&passed, &refused);
            scope.spawn(move || {
                let client = Client::builder().no_proxy().build().expect("a client");
                let end = Instant::now() + LOAD;
                while Instant::now() < end {
                    let status = client.get(&url).send().expect("the gateway answers").status();
                    match status.as_u16() {
                        200 => passed.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("unexpected status {other}"),
                    };
                }
            });
        }
    });
    println!(
        "{} passed, {} refused",
        passed.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    );
    assert_eq!(app.seen().len(), QUOTA);
    assert_eq!(passed.into_inner(), QUOTA as u64);
    assert!(refused.into_inner() > QUOTA as u64, "the load was more than the quota");
    for gateway in &gateways {
        let decided = |provenance: &str| {
            let label = format!("provenance=\"{provenance}\"");
            gateway.metric("sluicegate_decisions_total", &[&label])
        };
        assert!(decided("redis") > 0.0);
        assert_eq!(decided("local") + decided("fail-open") + decided("fail-closed"), 0.0);
        assert!(decided("deny-cache") > decided("redis"), "denials are free");
    }
}

#[test]
fn a_denial_takes_nothing_from_the_other_policies() {
    let (redis, app) = (RedisServer::start(), App::start());
    let config = format!(
        "{}[policies.a]\nquota = 10\nwindow = \"1h\"\n\
         [policies.b]\nquota = 10\nwindow = \"1h\"\nalgorithm = \"token-bucket\"\n\
         [policies.c]\nquota = 2\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"a\", \"b\"]\n\
         [[rules]]\npath = \"/c\"\npolicies = [\"c\"]\n",
        app_at(app.address())
    );
    // Without the deny cache every denial is Redis' own.
    let gateway = Gateway::with_redis(&redis, "timeout = \"1s\"\ndeny_cache = \"0s\"", &config);
    let statuses: Vec<u16> = (0..6).map(|_| gateway.get("/c").status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429]);
    let keys = |connection: &mut redis::Connection| {
        let keys = ["a:s", "b:t", "c:s"].map(|name| format!("sg:{{127.0.0.1}}:{name}"));
        redis::cmd("MGET").arg(&keys).query::<Vec<Vec<u8>>>(connection).expect("they exist")
    };
    let mut connection = redis.connect();
    let before = keys(&mut connection);
    let denied = gateway.get("/c");
    let left: Vec<&str> = field(&denied, "ratelimit").split(", ").map(left).collect();
    assert_eq!(left, ["\"a\";r=8", "\"b\";r=8", "\"c\";r=0"]);
    assert_eq!(keys(&mut connection), before, "a denial writes nothing");
    // The other two have lost the two units of the requests that passed, and no more.
    let statuses: Vec<u16> = (0..9).map(|_| gateway.get("/").status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 429]);
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().expect("text")
}

/// An item of the `RateLimit` field without its time, which the machine's speed decides.
fn left(item: &str) -> &str {
    item.split(";t=").next().unwrap_or(item)
}
