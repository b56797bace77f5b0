//! What a replay writes, and what it never writes over.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::Scene;

const LIMITS: &str = "
[policies.p]
quota = 1
window = \"1m\"
[[rules]]
path = \"/**\"
policies = [\"p\"]
";
const LINE: &str = "192.0.2.1 - - [14/Nov/2025:00:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";

fn scene() -> Scene {
    let scene = Scene::new(LIMITS);
    scene.write("log", LINE);
    scene
}

#[test]
fn a_log_is_never_written_over() {
    let scene = scene();
    fs::hard_link(scene.path("log"), scene.path("hard")).expect("a second name");
    symlink("log", scene.path("soft")).expect("a third name");
    for name in ["log", "./log", "hard", "soft"] {
        for option in ["--out", "--verdicts"] {
            let complaint = scene.fails(&["log", option, name]);
            let expected = format!("`{option} {name}` is the log `log`");
            assert!(complaint.contains(&expected), "{complaint}");
            assert_eq!(scene.read("log"), LINE, "{option} {name}");
        }
    }
    let mut command = scene.command(&["--out", "log"]);
    let output = command.stdin(File::open(scene.path("log")).expect("a log")).output();
    let output = output.expect("it runs");
    assert_eq!((output.status.code(), scene.read("log").as_str()), (Some(1), LINE));
}

#[test]
fn both_outputs_are_not_one_file() {
    let scene = scene();
    let complaint = scene.fails(&["log", "--out", "new", "--verdicts", "./new"]);
    assert!(complaint.contains("are the same file"), "{complaint}");
    scene.write("old", "kept");
    scene.fails(&["log", "--out", "old", "--verdicts", "./old"]);
    assert_eq!(scene.read("old"), "kept");
    scene.says(&["log", "--out", "/dev/null", "--verdicts", "/dev/null"]);
}

#[test]
fn nothing_is_created_before_all_logs_are_there_and_no_report_before_it_is_ready() {
    let scene = scene();
    scene.write("old", "kept");
    scene.fails(&["log", "nowhere", "--verdicts", "old"]);
    assert_eq!(scene.read("old"), "kept");
    scene.write("broken", "no line\n");
    scene.fails(&["log", "broken", "--out", "old"]);
    assert_eq!(scene.read("old"), "kept");
    scene.says(&["log", "--out", "old"]);
    assert!(scene.read("old").starts_with("read "));
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_unless_nobody_reads_it() {
    let scene = scene();
    let full = File::options().write(true).open("/dev/full").expect("what is always full");
    let output = scene.command(&["log"]).stdin(Stdio::null()).stdout(full).output();
    let output = output.expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("cannot write the report to standard output"), "{complaint}");
    let mut command = scene.command(&[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    drop(child.stdout.take());
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(LINE.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn names_of_files_tell_a_terminal_nothing() {
    let scene = scene();
    let name = "a\u{1b}[31m\nlog";
    scene.write(name, format!("no line\n{LINE}"));
    let text = scene.says(&[name]);
    assert!(text.contains("a\\u{1b}[31m\\nlog (common)"), "{text}");
    assert!(text.contains("a\\u{1b}[31m\\nlog:1:") && !text.contains('\u{1b}'), "{text}");
    scene.write(name, "no line\n");
    for complaint in [scene.fails(&[name]), scene.fails(&["\u{1b}"])] {
        assert!(complaint.contains("\\u{1b}") && !complaint.contains('\u{1b}'), "{complaint}");
    }
}
