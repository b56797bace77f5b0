//! `sluicegate replay`: what it says of logged requests is what the limits say of them.

mod facts;
mod formats;
mod hostile;
mod outputs;
mod proposal;
mod requests;
mod servers;
mod verdicts;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::gateway::BINARY;

static SCENES: AtomicUsize = AtomicUsize::new(0);

/// What every configuration needs besides its limits.
const REST: &str = "
[store]
kind = \"local\"
[upstreams.app]
servers = [\"127.0.0.1:3000\"]
[[routes]]
path = \"/**\"
upstream = \"app\"
";

/// A configuration and logs in a folder of their own.
struct Scene {
    folder: PathBuf,
}

impl Scene {
    /// A scene with these limits, and whatever else the configuration needs.
    fn new(limits: &str) -> Self {
        Self::whole(&format!("{limits}{REST}"))
    }

    /// A scene with this configuration.
    fn whole(config: &str) -> Self {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let folder = format!("sluicegate-replay-{}-{number}", std::process::id());
        let scene = Self { folder: std::env::temp_dir().join(folder) };
        fs::create_dir_all(&scene.folder).expect("a folder for the scene");
        scene.write("gateway.toml", config);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file of the scene");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of the scene")
    }

    /// Runs it in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).output().expect("it runs")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(&self.folder);
        command.args(["replay", "--config", "gateway.toml"]).args(arguments);
        command
    }

    /// What it writes; it succeeds and complains of nothing.
    fn says(&self, arguments: &[&str]) -> String {
        said(&self.run(arguments))
    }

    /// The report for programs.
    fn report(&self, arguments: &[&str]) -> Value {
        let text = self.says(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// What it complains of; it fails with 1 and writes nothing else.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What a report says of a policy.
fn policy<'a>(report: &'a Value, name: &str) -> &'a Value {
    let policies = report["policies"].as_array().expect("a list");
    let found = policies.iter().find(|policy| policy["policy"] == name);
    found.unwrap_or_else(|| panic!("no policy {name}: {report:#}"))
}

/// The report without what another run or another file changes.
fn essence(mut report: Value) -> Value {
    let fields = report.as_object_mut().expect("an object");
    for other in ["replay", "files", "unreadable_first"] {
        fields.remove(other).expect("a field of every report");
    }
    report
}
