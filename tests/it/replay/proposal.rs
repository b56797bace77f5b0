//! The quota that a report proposes is enough, and the next smaller one is not.

use serde_json::Value;

use super::requests::{Request, log, requests};
use super::{Scene, policy};

/// The policy, alone in its file, with this quota and whatever else it says.
fn limits(quota: u64, more: &str) -> String {
    format!(
        "[policies.p]\nquota = {quota}\n{more}\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n\
         cost = 2\n"
    )
}

/// The share that a policy denies of the same requests.
fn denied(requests: &str, quota: u64, more: &str) -> f64 {
    let scene = Scene::new(&limits(quota, more));
    scene.write("log", requests);
    let report = scene.report(&["log"]);
    policy(&report, "p")["denied_share"].as_f64().expect("a share")
}

fn proposal_holds(more: &str, burst: bool) {
    let requests = log(&requests(20_000), Request::json);
    let own = 12;
    let with =
        |units: u64| if burst { format!("{more}\nburst = {}", units / 2) } else { more.to_owned() };
    let scene = Scene::new(&limits(own, &with(own)));
    scene.write("log", &requests);
    let report = scene.report(&["log"]);
    let found = policy(&report, "p");
    let enough = &found["enough"];
    let number = |value: &Value| value.as_u64().expect("a number");
    let (quota, step) = (number(&enough["quota"]), number(&enough["step"]));
    assert_eq!(enough["burst"].as_u64(), burst.then_some(quota / 2), "{enough}");
    let share = denied(&requests, quota, &with(quota));
    assert_eq!(Some(share), enough["denied_share"].as_f64(), "{enough}");
    assert!(share <= 0.01 && share > 0.0, "{share}");
    let smaller = denied(&requests, quota - step, &with(quota - step));
    assert!(smaller > 0.01, "{smaller} with {step} less than {quota}");
    let curve = found["curve"].as_array().expect("a list");
    let point = |quota: u64| curve.iter().find(|point| point["quota"] == quota);
    assert_eq!(point(own).map(|point| &point["denied_share"]), Some(&found["denied_share"]));
    assert_eq!(point(quota).map(|point| &point["denied_share"]), Some(&enough["denied_share"]));
    assert!(curve.len() >= 15, "{}", curve.len());
    let other = &curve[3];
    let quota = number(&other["quota"]);
    assert_eq!(other["denied_share"].as_f64(), Some(denied(&requests, quota, &with(quota))));
    assert_eq!(found["tried"]["checks"], found["checked"]);
    assert_eq!(found["tried"]["one_client_in"], 1);
}

#[test]
fn of_a_sliding_window() {
    proposal_holds("window = \"1m\"", false);
}

#[test]
fn of_a_token_bucket() {
    proposal_holds("window = \"1m\"\nalgorithm = \"token-bucket\"", true);
}

#[test]
fn of_a_calendar() {
    proposal_holds(
        "window = \"day\"\nalgorithm = \"calendar\"\ntime_zone = \"Europe/Berlin\"",
        false,
    );
}
