//! Every kind of mistake: a directory of invalid files, and what is printed of each.
//!
//! `BLESS=1 cargo test --test it config` writes what is printed now; read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sluicegate::config::{Config, LoadError, Severity};

use super::parse;

/// Invalid files, at least.
const FILES_MIN: usize = 60;

/// The environment of the invalid files. No value may be printed; `HERE` is a folder with files.
const VARIABLES: [(&str, &str); 11] = [
    ("HERE", env!("CARGO_MANIFEST_DIR")),
    ("REDIS_URL", "https://:classified@10.0.0.1"),
    ("LEVEL", "classified"),
    ("SERVER", "classified"),
    ("PATTERN", "classified"),
    ("UPSTREAM", "classified"),
    ("WINDOW", "987d"),
    ("WORD", "classified"),
    ("POLICY", "classified"),
    ("METHOD", "classified"),
    ("EMPTY", ""),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/invalid")
}

/// The invalid files in order of name; there are some.
fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("the directory of invalid files");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    assert!(files.len() >= FILES_MIN, "only {} invalid files", files.len());
    files
}

/// Kinds of mistakes that the files show at least: what is said, without the names and numbers in
/// it.
const KINDS_MIN: usize = 100;

/// A message without what stands in backticks, and without numbers.
fn kind_of(message: &str) -> String {
    let outside = message.split('`').step_by(2).collect::<Vec<_>>().join("`");
    outside.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn every_mistake_has_a_place_and_a_way_out() {
    let (mut kinds, mut faults) = (BTreeSet::new(), Vec::new());
    for path in files() {
        let text = fs::read_to_string(&path).expect("a readable file");
        for problem in &parse(&text, &VARIABLES).expect_err("an invalid file") {
            let printed = problem.to_string();
            let line = text.lines().nth(problem.line() - 1);
            let underlined = printed.lines().any(|line| line.trim_end().ends_with('^'));
            let column = problem.column() <= line.unwrap_or_default().chars().count() + 1;
            if problem.help().is_none() || !underlined || !column {
                faults.push(format!("{}:\n{printed}", path.display()));
            }
            kinds.insert(kind_of(problem.message()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    println!("{} files show {} kinds of mistakes", files().len(), kinds.len());
    assert!(kinds.len() >= KINDS_MIN, "{} kinds: {kinds:#?}", kinds.len());
}

fn printed(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a readable file");
    let problems = parse(&text, &VARIABLES).expect_err("an invalid file");
    assert!(problems.iter().any(|problem| problem.severity() == Severity::Error));
    let places: Vec<_> =
        problems.iter().map(|problem| (problem.line(), problem.column())).collect();
    assert!(places.is_sorted(), "{}: in order of position", path.display());
    format!("{problems}\n")
}

#[test]
fn every_mistake_is_printed_as_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failed = Vec::new();
    for path in files() {
        let printed = printed(&path);
        let golden = path.with_extension("stderr");
        if bless {
            fs::write(&golden, &printed).expect("a writable directory");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if printed != expected {
            failed.push(format!(
                "{}\n--- expected\n{expected}--- printed\n{printed}",
                path.display()
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_secret_is_printed() {
    for path in files() {
        let printed = printed(&path);
        for secret in ["hunter2", "classified", "987d", env!("CARGO_MANIFEST_DIR")] {
            assert!(!printed.contains(secret), "{}: {printed}", path.display());
        }
    }
}

#[test]
fn every_expectation_has_its_file() {
    let entries = fs::read_dir(directory()).expect("the directory of invalid files");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let orphans: Vec<_> = names.filter(|path| !path.with_extension("toml").exists()).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn a_problem_is_printed_with_its_place_and_the_way_out() {
    let problems = parse("[response]\nretry_atfer = true\n", &[]).expect_err("an unknown key");
    let problem = problems.iter().find(|problem| problem.line() == 2).expect("on line 2");
    insta::assert_snapshot!(problem.to_string(), @r"
    error: unknown key `retry_atfer`
     --> gateway.toml:2:1
      |
    2 | retry_atfer = true
      | ^^^^^^^^^^^
      = help: did you mean `retry_after`?
    ");
}

/// The key at fault is underlined also in a file with a byte order mark and Windows' line ends.
#[test]
fn line_ends_and_a_byte_order_mark_are_no_part_of_a_line() {
    let problems = parse("\u{feff}quotas = 5\r\n", &[]).expect_err("an unknown key");
    let printed = problems.to_string();
    assert!(printed.contains("gateway.toml:1:1\n  |\n1 | quotas = 5\n  | ^^^^^^\n"), "{printed}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let error = Config::load(Path::new("/nowhere/gateway.toml"), 0).expect_err("no such file");
    assert!(matches!(error, LoadError::Read { .. }));
    let printed = error.to_string();
    assert!(printed.contains("`/nowhere/gateway.toml`: No such file"), "{printed}");
}

#[test]
fn a_loaded_file_names_itself_in_its_problems() {
    let path = directory().join("nothing.toml");
    let error = Config::load(&path, 0).expect_err("an invalid file");
    let printed = error.to_string();
    assert!(printed.contains(&format!("--> {}:1:1", path.display())), "{printed}");
}

/// A file that an editor saved in Latin-1; the secret in the line is not shown.
#[test]
fn a_file_in_another_encoding_has_a_place_and_a_way_out() {
    let path = std::env::temp_dir().join(format!("sluicegate-latin-{}", std::process::id()));
    fs::write(&path, b"# plain\n[store]\nurl = \"redis://u:hunter2@h\" # caf\xe9\n")
        .expect("written");
    let error = Config::load(&path, 0).expect_err("no text");
    fs::remove_file(&path).expect("it was there");
    let printed = error.to_string();
    let place = format!("error: not UTF-8\n --> {}:3:", path.display());
    assert!(printed.starts_with(&place) && printed.contains("# caf\u{fffd}\n"), "{printed}");
    assert!(printed.ends_with("^\n  = help: save the file as UTF-8"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

/// What the tests over files cannot tell: that each of them is one, by itself.
#[test]
fn patterns_that_no_path_can_meet_are_told() {
    let rule = |path: &str| {
        let text = format!(
            "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
             [[routes]]\npath = \"/**\"\nupstream = \"app\"\n\
             [policies.p]\nquota = 2\nwindow = \"1h\"\n\
             [[rules]]\npath = \"{path}\"\npolicies = [\"p\"]\n"
        );
        parse(&text, &[])
    };
    for path in ["/a%2fb", "/a%5C", "/a%00", "/a%zz", "/a%", "/a;b"] {
        assert!(rule(path).is_err(), "taken in silence: {path}");
    }
    for path in ["/a//b", "//", "/a/../b", "/..", "/a/./b", "/%2e", "/a b", "/a?b=1", "/a#b"] {
        assert!(rule(path).is_err(), "taken in silence: {path}");
    }
    for path in ["/a?b", "/a=b?", "/...", "/.well-known/*", "/a%20b", "/a%23b", "/**/"] {
        assert!(rule(path).is_ok(), "{path}");
    }
}
