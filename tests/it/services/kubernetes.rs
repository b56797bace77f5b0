//! The example for Kubernetes: its configuration is one that the gateway takes, and what it promises
//! the cluster agrees with it.

use std::fs;
use std::process::Command;

use crate::support::gateway::BINARY;

const MANIFEST: &str = "deploy/kubernetes/sluicegate.yaml";

/// The configuration in the manifest: the lines that are indented under its name.
fn configuration() -> String {
    let text = fs::read_to_string(MANIFEST).expect("the manifest");
    let (_, rest) = text.split_once("  gateway.toml: |\n").expect("a configuration");
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
}

fn number(text: &str, before: &str) -> u64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("`{before}` is missing"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn the_configuration_of_the_example_is_valid() {
    let name = format!("sluicegate-kubernetes-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, configuration()).expect("it is written");
    let output = Command::new(BINARY).args(["check", "--config"]).arg(&path).output();
    let _ = fs::remove_file(&path);
    let output = output.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // The probes have to reach it; a policy for the network keeps others away.
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning")).collect();
    let known = "warning: the admin listener has no password, and others can reach it";
    assert_eq!(warnings, [known], "{said}");
    let text = fs::read_to_string(MANIFEST).expect("the manifest");
    assert!(text.contains("kind: NetworkPolicy"));
}

#[test]
fn the_cluster_waits_for_longer_than_the_gateway() {
    let text = fs::read_to_string(MANIFEST).expect("the manifest");
    let seconds = |key: &str| number(&configuration(), &format!("{key} = \""));
    let stop = seconds("lame_duck") + seconds("drain_timeout");
    assert!(number(&text, "terminationGracePeriodSeconds: ") > stop, "{stop} s");
    for port in ["8080", "9090"] {
        assert!(text.contains(&format!("containerPort: {port}")), "{port}");
        assert!(configuration().contains(&format!("0.0.0.0:{port}")), "{port}");
    }
    assert!(text.contains("/livez, port: admin") && text.contains("/readyz, port: admin"));
}
