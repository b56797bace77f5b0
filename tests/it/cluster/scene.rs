//! Gateways over a store of several servers, and clients of whom the test knows which one counts
//! them.

use std::net::SocketAddr;

use reqwest::blocking::Response;

use crate::support::cluster::{Cluster, slot_of};
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::wait_until;

/// A generous timeout: on a busy machine a slow answer of Redis would be a local decision. No denial
/// is remembered: each is Redis' own.
pub(crate) const STORE: &str = "timeout = \"1s\"\ndeny_cache = \"0s\"\n";

/// Who the client is, the test says.
const BELIEVED: &str = "[client]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

/// A gateway with this `[store]` that has reached all of it.
pub(crate) fn gateway(store: &str, app: SocketAddr, rest: &str) -> Gateway {
    let gateway = Gateway::start(&format!("{store}{BELIEVED}{}{rest}", app_at(app)));
    gateway.wait_for_store("up");
    gateway
}

/// Two that know of each other.
pub(crate) fn pair(store: &str, app: SocketAddr, rest: &str) -> [Gateway; 2] {
    let gateways = [(); 2].map(|()| gateway(store, app, rest));
    wait_until("both to be counted", || gateways.iter().all(|gateway| instances(gateway) == 2.0));
    gateways
}

pub(crate) fn wait_for_stores(gateways: &[Gateway], state: &str) {
    for gateway in gateways {
        gateway.wait_for_store(state);
    }
}

pub(crate) fn instances(gateway: &Gateway) -> f64 {
    gateway.metric("sluicegate_instances", &[])
}

/// Names that are in slots of this master: of addresses, which are the subjects of their keys.
pub(crate) fn clients(cluster: &Cluster, master: usize) -> impl Iterator<Item = String> {
    let itself = cluster.itself(master);
    (1..255).map(|host| format!("192.0.2.{host}")).filter(move |ip| itself.owns(slot_of(ip)))
}

/// One of them.
pub(crate) fn client(cluster: &Cluster, master: usize) -> String {
    clients(cluster, master).next().expect("one of so many")
}

/// A master that has not the slot of this subject.
pub(crate) fn other_than(cluster: &Cluster, subject: &str) -> usize {
    let master = cluster.master_of(slot_of(subject));
    cluster.masters().into_iter().find(|other| *other != master).expect("there are several")
}

pub(crate) fn ask(gateway: &Gateway, client: &str, path: &str) -> Response {
    let request = gateway.client().get(gateway.url(path)).header("x-forwarded-for", client);
    request.send().expect("the gateway answers")
}

/// How many of `asked` requests pass.
pub(crate) fn passed(gateway: &Gateway, client: &str, asked: usize) -> usize {
    let ask = || ask(gateway, client, "/").status().as_u16();
    let statuses: Vec<u16> = std::iter::repeat_with(ask).take(asked).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

/// What the `RateLimit` list of an answer says is left of a policy.
pub(crate) fn left(answer: &Response, policy: &str) -> u64 {
    let list = answer.headers()["ratelimit"].to_str().expect("text");
    let mut each = list.split(", ");
    let item = each.find_map(|item| item.strip_prefix(&format!("\"{policy}\";r=")));
    let item = item.unwrap_or_else(|| panic!("{policy} is not in {list}"));
    item.split(';').next().expect("a number").parse().expect("a number")
}

/// How many decisions were made by `whom`.
pub(crate) fn decided(gateway: &Gateway, whom: &str) -> f64 {
    gateway.metric("sluicegate_decisions_total", &[&format!("provenance=\"{whom}\"")])
}

/// A policy for each address.
pub(crate) fn by_ip(quota: u64, more: &str) -> String {
    format!("[policies.by-ip]\nquota = {quota}\nwindow = \"1h\"\npartition = [\"ip\"]\n{more}\n")
}

/// A policy for everyone together.
pub(crate) fn everyone(quota: u64, more: &str) -> String {
    format!("[policies.all]\nquota = {quota}\nwindow = \"1h\"\npartition = []\n{more}\n")
}

/// A rule for a path.
pub(crate) fn rule(path: &str, policies: &[&str]) -> String {
    format!("[[rules]]\npath = \"{path}\"\npolicies = {policies:?}\n")
}
