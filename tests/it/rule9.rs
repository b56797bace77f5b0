//! Rule 9: a reload changes limits and no counts. What a key has used stays used, whatever the new
//! quota, window, burst, tier or override is; only a changed algorithm starts anew, and says so. The
//! same in Redis and in the local store, through the gateway and with SIGHUP.
//!
//! The windows are so long that nothing comes back while a test runs, however slow the machine.

mod concurrency;
mod limits;
mod people;

use std::net::SocketAddr;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::{RedisServer, wait_until};

/// A generous timeout: a slow answer would be decided locally. Nothing is remembered, so that every
/// denial is the store's own.
const PATIENT: &str = "timeout = \"1s\"\ndeny_cache = \"0s\"";
/// The gateway's only peer is a trusted proxy, which names user and tier.
const BEHIND_PROXY: &str = "[client]\ntrusted_proxies = [\"127.0.0.1\"]\n[identity.header]\n\
    user = \"x-user\"\ntier = \"x-tier\"\n";

/// A gateway whose policies change.
struct Scene {
    gateway: Gateway,
    /// `None`: it decides by itself.
    redis: Option<RedisServer>,
    reloads: u32,
}

impl Scene {
    /// The same once on each store.
    fn on_each_store(policies: &str, plot: impl Fn(&mut Self)) {
        let app = App::start();
        Self::on_each_store_before(app.address(), policies, plot);
    }

    /// The same with an application of the test's own.
    fn on_each_store_before(app: SocketAddr, policies: &str, plot: impl Fn(&mut Self)) {
        let config = format!("{BEHIND_PROXY}{}{policies}", app_at(app));
        for redis in [None, Some(RedisServer::start())] {
            let store = match &redis {
                Some(redis) => format!("url = \"{}\"\n{PATIENT}", redis.url()),
                None => "kind = \"local\"".to_owned(),
            };
            // Only SIGHUP reloads, so that each change is one reload.
            let gateway =
                Gateway::start(&format!("watch_config = false\n[store]\n{store}\n{config}"));
            if redis.is_some() {
                gateway.wait_for_store("up");
            }
            plot(&mut Self { gateway, redis, reloads: 0 });
        }
    }

    /// Puts `after` in the place of `before` in the file, and in force.
    fn reload(&mut self, before: &str, after: &str) {
        self.gateway.edit(before, after);
        self.reloads += 1;
        self.gateway.signal("HUP");
        wait_until("the reload", || {
            let rejected =
                self.gateway.metric("sluicegate_config_reloads_total", &["\"rejected\""]);
            assert_eq!(rejected, 0.0, "{}", self.gateway.log());
            let applied = self.gateway.metric("sluicegate_config_reloads_total", &["\"applied\""]);
            applied == f64::from(self.reloads)
        });
    }

    /// Whether a request passes. It comes from that user, of that tier, if there is one.
    fn passes(&self, path: &str, user: &str, tier: &str) -> bool {
        let mut request = self.gateway.client().get(self.gateway.url(path)).header("x-user", user);
        if !tier.is_empty() {
            request = request.header("x-tier", tier);
        }
        match request.send().expect("the gateway answers").status().as_u16() {
            200 => true,
            429 => false,
            other => panic!("{other} for {path}:\n{}", self.gateway.log()),
        }
    }

    /// How many requests pass until one is denied.
    fn left(&self, path: &str, user: &str, tier: &str) -> usize {
        (0..1_000).take_while(|_| self.passes(path, user, tier)).count()
    }

    fn store(&self) -> &'static str {
        if self.redis.is_some() { "Redis" } else { "the local store" }
    }
}
