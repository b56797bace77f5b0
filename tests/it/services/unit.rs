//! The unit of systemd: what systemd itself says of it. Skipped where its tool is missing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::gateway::BINARY;

const UNIT: &str = "deploy/systemd/sluicegate.service";
/// Where the unit expects the binary.
const INSTALLED: &str = "/usr/local/bin/sluicegate";
/// The exposure that `systemd-analyze security` may find, in tenths; 100 is the worst.
const EXPOSURE_MAX: u32 = 15;

/// `systemd-analyze` with these arguments on the unit, with `change` made to it; nothing where there
/// is no such tool, or one that is too old.
fn analyze(name: &str, arguments: &[&str], change: impl Fn(String) -> String) -> Option<Output> {
    let text = fs::read_to_string(UNIT).expect("the unit").replace(INSTALLED, BINARY);
    let folder = Folder::new(name);
    let file = folder.0.join("sluicegate.service");
    fs::write(&file, change(text)).expect("it is written");
    let version = Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else {
        eprintln!("skipped: systemd-analyze is not here (package systemd)");
        return None;
    };
    let version = String::from_utf8_lossy(&version.stdout);
    let number = version.split_whitespace().nth(1).and_then(|number| number.parse::<u32>().ok());
    if number.is_none_or(|number| number < 252) {
        eprintln!("skipped: systemd-analyze is older than 252: {version}");
        return None;
    }
    let output = Command::new("systemd-analyze").args(arguments).arg(&file).output();
    Some(output.expect("it runs"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A folder of one's own; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("sluicegate-unit-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn systemd_understands_every_line() {
    let verify = ["verify", "--man=no"];
    let Some(output) = analyze("right", &verify, |text| text) else { return };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    let wrong = |text: String| text.replace("WatchdogSec=", "WatchdogSecs=");
    let output = analyze("wrong", &verify, wrong).expect("the tool is here");
    assert!(said(&output).contains("WatchdogSecs"), "it would say so: {}", said(&output));
}

#[test]
fn the_service_is_exposed_to_little() {
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    let Some(output) = analyze("closed", &security, |text| text) else { return };
    let text = said(&output);
    let last = text.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    println!("{last}");
    assert!(output.status.success(), "{text}");
    let open = |text: String| text.replace("ProtectSystem=strict", "").replace("NoNew", "# NoNew");
    let output = analyze("open", &security, open).expect("the tool is here");
    assert!(!output.status.success(), "a unit with less is found out: {}", said(&output));
}

/// What it starts is what the command line knows.
#[test]
fn its_commands_are_those_of_the_binary() {
    let text = fs::read_to_string(UNIT).expect("the unit");
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('=')?.1.strip_prefix(INSTALLED))
        .map(str::trim)
        .collect();
    assert_eq!(commands.len(), 2, "to run and to check: {commands:?}");
    for command in commands {
        let command = command.replace("/etc/sluicegate/gateway.toml", "/nowhere");
        let output = Command::new(BINARY).args(command.split(' ')).output().expect("it runs");
        // 2 is wrong usage; the file is not there.
        assert_eq!(output.status.code(), Some(1), "{command}: {}", said(&output));
        assert!(said(&output).contains("/nowhere"), "{}", said(&output));
    }
}
