//! The examples, as they stand: each loaded, put in front of an application, and each of its limits
//! driven to its edge and past it, for two users and two addresses.

pub(crate) mod address;
pub(crate) mod tokens;
mod user;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use reqwest::blocking::{Client, Response};
use reqwest::{Method, StatusCode};

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::RedisServer;

/// A secret that signs tokens here, and only here.
pub(crate) const SECRET: &str = "a-secret-of-the-tests-and-of-nobody-else";
/// The two addresses: the whole of 127.0.0.0/8 is this machine's own.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

/// An example in front of an application.
struct Example {
    gateway: Gateway,
    app: App,
    redis: RedisServer,
}

/// Somebody at an address, with header lines.
struct Person<'a> {
    client: Client,
    lines: Vec<(&'a str, String)>,
}

// === impl Example ===

impl Example {
    /// The example of this name with further variables, its `REDIS_URL` that of a Redis of its own.
    fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        Self::beside(name, redis, &url, variables)
    }

    fn beside(name: &str, redis: RedisServer, url: &str, variables: &[(&str, &str)]) -> Self {
        let app = App::start();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let text = fs::read_to_string(file.join("gateway.toml")).expect("the example");
        // On a busy machine a slow answer would be a decision of the gateway's own.
        let patient = text.replace("url = \"${REDIS_URL", "timeout = \"1s\"\nurl = \"${REDIS_URL");
        assert_ne!(text, patient, "the example says where its counts are");
        let address = app.address().to_string();
        let own = [("APP", address.as_str()), ("REDIS_URL", url)];
        let gateway = Gateway::start_whole(&patient, &[&own, variables].concat());
        gateway.wait_for_store("up");
        Self { gateway, app, redis }
    }

    fn ask(&self, person: &Person<'_>, method: &Method, path: &str) -> Response {
        let mut request = person.client.request(method.clone(), self.gateway.url(path));
        for (name, value) in &person.lines {
            request = request.header(*name, value);
        }
        request.send().expect("the gateway answers")
    }

    /// As many requests pass as `quota`, and no more; returns the refusal.
    fn drive(&self, person: &Person<'_>, method: &Method, path: &str, quota: usize) -> Response {
        for number in 1..=quota {
            let status = self.ask(person, method, path).status();
            assert_eq!(status, StatusCode::OK, "{number} of {quota}: {path}");
        }
        let refusal = self.ask(person, method, path);
        assert_eq!(refusal.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert!(refusal.headers().contains_key("retry-after"));
        refusal
    }

    /// What the application saw of the last request that it got.
    fn seen(&self, header: &str) -> Option<String> {
        let seen = self.app.seen();
        seen.last().expect("a request").header(header).map(str::to_owned)
    }
}

// === impl Person ===

impl<'a> Person<'a> {
    /// Nobody known, at one of the addresses.
    fn at(address: Ipv4Addr) -> Self {
        let client = Client::builder().no_proxy().local_address(IpAddr::V4(address)).build();
        Self { client: client.expect("a client"), lines: Vec::new() }
    }

    /// The same with a further header line.
    fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.lines.push((name, value.into()));
        self
    }
}

#[test]
fn there_is_an_example_for_each_system_and_each_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().into_string()).collect();
    names.sort();
    let tested = [
        "api-gateway",
        "events-backend",
        "federated-social-server",
        "small-social-network",
        "story-site",
    ];
    assert_eq!(names, tested.map(|name| Ok(name.to_owned())));
}
