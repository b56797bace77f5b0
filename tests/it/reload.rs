//! A reload: what begins one, what it changes, what it leaves alone, and what it tells.

mod announced;
mod changes;
mod pages;
mod secrets;
mod under_load;
mod watched;

use std::fs;

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::redis::wait_until;

/// What has the file read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Signal,
    File,
    Api,
}

impl Way {
    const ALL: [Self; 3] = [Self::Signal, Self::File, Self::Api];
}

/// Reloads so far that ended like this.
fn reloads(gateway: &Gateway, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    gateway.metric("sluicegate_config_reloads_total", &[&label])
}

/// All of them.
fn all_reloads(gateway: &Gateway) -> f64 {
    reloads(gateway, "applied") + reloads(gateway, "rejected")
}

/// Has the file read again, and waits until it has been.
fn reload(gateway: &Gateway, way: Way) {
    let before = all_reloads(gateway);
    trigger(gateway, way);
    wait_until("the reload", || all_reloads(gateway) > before);
}

/// Asks for a reload in this way.
fn trigger(gateway: &Gateway, way: Way) {
    match way {
        Way::Signal => gateway.signal("HUP"),
        Way::File => {}
        Way::Api => drop(post(gateway)),
    }
}

/// `POST /reload`: the status and the answer.
fn post(gateway: &Gateway) -> (u16, Value) {
    let answer = gateway.client().post(gateway.admin_url("/reload")).send().expect("admin answers");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().expect("a body")).expect("JSON"))
}

/// What `/config` shows.
fn shown(gateway: &Gateway) -> Value {
    let answer = gateway.client().get(gateway.admin_url("/config")).send().expect("admin answers");
    assert_eq!(answer.status(), 200);
    serde_json::from_str(&answer.text().expect("a body")).expect("JSON")
}

/// The text of the configuration file.
fn text(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.config()).expect("the configuration")
}

/// Moves a whole new file over the old one, as a careful operator does.
fn put(gateway: &Gateway, text: &str) {
    let path = gateway.config();
    let new = path.with_extension("new");
    fs::write(&new, text).expect("it is written");
    fs::rename(new, path).expect("it is put in place");
}

/// Replaces `from` in the file and has it applied by `/reload`.
fn change(gateway: &Gateway, from: &str, to: &str) -> Value {
    let before = text(gateway);
    assert!(before.contains(from), "`{from}` is not in the configuration");
    put(gateway, &before.replace(from, to));
    let (status, answer) = post(gateway);
    assert_eq!(status, 200, "{answer:#}");
    answer
}
