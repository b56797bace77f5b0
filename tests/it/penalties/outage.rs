//! Bans while Redis is away, and without one.

use super::{HOUR, PATIENT, bans, clock, config, hammer, is_banned, problem, sentence};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};

fn pair(redis: &RedisServer, app: &App) -> [Gateway; 2] {
    let config = config(app, HOUR, "");
    [(); 2].map(|()| Gateway::with_redis(redis, PATIENT, &config))
}

#[test]
fn a_ban_holds_while_redis_is_away_and_when_it_returns_empty() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateways = pair(&redis, &app);
    wait_until("the ban", || gateways.iter().all(|gateway| is_banned(gateway, "a")));
    let (until, _) = sentence(&redis).expect("it lasts");
    redis.kill();
    for gateway in &gateways {
        gateway.wait_for_store("away");
        assert!(is_banned(gateway, "a"));
    }
    redis.restart_empty();
    for gateway in &gateways {
        gateway.wait_for_store("up");
        assert!(is_banned(gateway, "a"));
    }
    assert_eq!(sentence(&redis), Some((until, 1)), "Redis has been told");
    assert_eq!(gateways.iter().map(bans).sum::<f64>(), 1.0, "it is the same ban");
}

#[test]
fn a_ban_made_without_redis_holds_on_all_gateways_when_it_is_back() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let gateways = pair(&redis, &app);
    redis.kill();
    for gateway in &gateways {
        gateway.wait_for_store("away");
    }
    wait_until("the ban", || is_banned(&gateways[0], "a"));
    assert_eq!(bans(&gateways[0]), 1.0);
    assert!(!is_banned(&gateways[1], "a"), "nobody has told this one");
    redis.restart();
    for gateway in &gateways {
        gateway.wait_for_store("up");
    }
    // Before anybody asks again: further denials would bring another ban.
    let (until, level) = sentence(&redis).expect("Redis has been told");
    assert!(level == 1 && until > clock(&redis) + 3_000_000_000);
    for gateway in &gateways {
        assert!(is_banned(gateway, "a"));
    }
    assert_eq!(gateways.iter().map(bans).sum::<f64>(), 1.0);
}

#[test]
fn a_gateway_without_redis_bans_by_itself() {
    let app = App::start();
    let store = "[store]\nkind = \"local\"\n";
    let gateway = Gateway::start(&format!("{store}{}", config(&app, HOUR, "")));
    assert_eq!(problem(&gateway, "a"), None);
    hammer(&gateway, "a", 10);
    wait_until("the ban", || is_banned(&gateway, "a"));
    assert_eq!(bans(&gateway), 1.0);
    assert!(!is_banned(&gateway, "b"));
}

#[test]
fn a_gateway_that_fails_open_lets_the_banned_through() {
    let (mut redis, app) = (RedisServer::start(), App::start());
    let config = config(&app, HOUR, "on_store_error = \"allow\"");
    let gateway = Gateway::with_redis(&redis, PATIENT, &config);
    wait_until("the ban", || is_banned(&gateway, "a"));
    redis.kill();
    gateway.wait_for_store("away");
    wait_until("it to pass", || problem(&gateway, "a").is_none());
}
