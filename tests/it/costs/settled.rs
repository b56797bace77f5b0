//! What the application reports is what Redis holds in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::blocking::Client;

use crate::support::app::{App, Seen, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// As many as the promise has; `SLUICEGATE_SOAK` or not.
const REQUESTS: usize = 10_000;
const CLIENTS: usize = 8;
const USERS: usize = 12;
const TAKEN: u64 = 20;
/// So large that nothing is refused, and so small that a bucket gets back less than one unit in
/// several minutes.
const QUOTA: u64 = 100_000;
const ALGORITHMS: [&str; 3] = ["sliding-window", "token-bucket", "calendar"];

fn config(app: &App, quota: u64) -> String {
    let policies = ALGORITHMS.map(|algorithm| {
        let window = if algorithm == "calendar" { "month" } else { "365d" };
        format!(
            "[policies.{algorithm}]\nalgorithm = \"{algorithm}\"\nquota = {quota}\n\
             window = \"{window}\"\npartition = [\"header:x-user\"]\n"
        )
    });
    format!(
        "{}{}[[rules]]\npath = \"/**\"\npolicies = [\"sliding-window\", \"token-bucket\", \
         \"calendar\"]\ncost = {TAKEN}\nsettle_from = \"header:x-cost\"\n",
        app_at(app.address()),
        policies.concat()
    )
}

/// An application that says what each request has cost, as its sender had asked.
fn reporting(seen: &Seen) -> Vec<u8> {
    let lines = match seen.header("x-say") {
        Some("nothing") | None => String::new(),
        Some("nonsense") => "x-cost: 12 units\r\n".to_owned(),
        Some(cost) => format!("x-cost: {cost}\r\n"),
    };
    response("200 OK", &lines, b"done")
}

/// What is left of each policy for `user`, by the gateway's own word.
fn left(gateway: &Gateway, user: &str) -> BTreeMap<String, u64> {
    let request = gateway.client().get(gateway.url("/")).header("x-user", user);
    // It costs nothing in the end.
    let answer = request.header("x-say", "0").send().expect("an answer");
    assert_eq!(answer.status(), 200);
    let field = answer.headers()["ratelimit"].to_str().expect("text").to_owned();
    let each = field.split(", ").map(|item| {
        let (name, parameters) = item.split_once(';').expect("parameters");
        let r = parameters.split(';').find_map(|one| one.strip_prefix("r=")).expect("r");
        (name.trim_matches('"').to_owned(), r.parse().expect("a number"))
    });
    each.collect()
}

#[test]
fn ten_thousand_reported_costs_add_up() {
    let (redis, app) = (RedisServer::start(), App::answering(reporting));
    let config = config(&app, QUOTA);
    let gateways = [(); 2].map(|()| Gateway::with_redis(&redis, "timeout = \"2s\"", &config));
    let model = Mutex::new([0_u64; USERS]);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (gateways, model) = (&gateways, &model);
            scope.spawn(move || {
                let http = Client::builder().no_proxy().build().expect("a client");
                for number in 0..REQUESTS / CLIENTS {
                    let (user, gateway) = (fastrand::usize(..USERS), &gateways[number % 2]);
                    let (say, cost) = match fastrand::u64(..10) {
                        0 => ("nothing".to_owned(), TAKEN),
                        1 => ("nonsense".to_owned(), TAKEN),
                        2 => ("0".to_owned(), 0),
                        _ => {
                            let cost = fastrand::u64(..3 * TAKEN);
                            (cost.to_string(), cost)
                        }
                    };
                    let request = http.get(gateway.url("/")).header("x-user", user.to_string());
                    let answer = request.header("x-say", say).send().expect("an answer");
                    assert_eq!(answer.status(), 200, "client {client}");
                    assert!(!answer.headers().contains_key("x-cost"), "it is for the gateway");
                    model.lock().expect("nobody panics")[user] += cost;
                }
            });
        }
    });
    let model = model.into_inner().expect("nobody panics");
    assert!(model.iter().sum::<u64>() > REQUESTS as u64);
    for (user, cost) in model.iter().enumerate() {
        let expected: BTreeMap<String, u64> =
            ALGORITHMS.iter().map(|name| ((*name).to_owned(), QUOTA - cost)).collect();
        // Redis' own word: each gateway asks it anew for every request.
        for gateway in &gateways {
            wait_until(&format!("the costs of user {user} to be {cost}"), || {
                left(gateway, &user.to_string()) == expected
            });
        }
    }
    for gateway in &gateways {
        let by = |who: &str| gateway.metric("sluicegate_settlements_total", &[who]);
        assert!(by("redis") > 2_000.0);
        assert_eq!((by("local"), by("lost")), (0.0, 0.0));
    }
}

#[test]
fn a_reported_cost_fills_a_limit_and_no_more() {
    let (redis, app) = (RedisServer::start(), App::answering(reporting));
    let gateway = Gateway::with_redis(&redis, "timeout = \"2s\"", &config(&app, 100));
    let ask = |say: &str| {
        let request = gateway.client().get(gateway.url("/")).header("x-user", "a");
        let answer = request.header("x-say", say).send().expect("an answer");
        let left = answer.headers()["x-ratelimit-remaining"].to_str().expect("text").to_owned();
        (answer.status().as_u16(), left)
    };
    assert_eq!(ask("30"), (200, "70".to_owned()), "the fields speak of what it has cost");
    assert_eq!(ask("1000000"), (200, "0".to_owned()));
    // Else a request that is let in before gives its units back behind it, and there is room again.
    let settled = || gateway.metric("sluicegate_settlements_total", &["redis"]);
    wait_until("both costs to be settled", || settled() >= 2.0);
    wait_until("the limit to be full", || ask("0").0 == 429);
    // Not beyond: the first units to come back make room again.
    let key = |letter: &str| {
        let keys: Vec<String> = redis.command(&["KEYS", &format!("*:{letter}")]);
        assert_eq!(keys.len(), 1);
        keys[0].clone()
    };
    let count: String = redis.command(&["GET", &key("c")]);
    assert!(count.ends_with(":100"), "{count}");
}
