//! The configuration: any text gives one, or says what is wrong with it and where.

use sluicegate::config::{Config, Problem, Severity};

use crate::ITERATIONS;
use crate::text::text;

/// Everything that can be said.
const FULL: &str = include_str!("../it/config/full.toml");
/// Little, so that most inputs are read fast.
const SMALL: &str = "[server]\nlisten = [\"127.0.0.1:8080\"]\n[store]\nurl = \"redis://:${PASSWORD}@h\"\n\
     [upstreams.app]\nservers = [\"h:1\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n\
     [policies.p]\nquota = 5\nwindow = \"1m\"\npartition = [\"ip\"]\n\
     [[rules]]\npath = \"/a/*\"\npolicies = [\"p\"]\n";

const WORDS: [&str; 40] = [
    "\n",
    "\"",
    "\"\"\"",
    "'",
    "=",
    " = ",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    ".",
    "#",
    "\\",
    "${PASSWORD}",
    "${",
    "$${",
    "${NONE:-",
    "\u{e9}",
    "\u{feff}",
    "\r\n",
    "\u{0}",
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    "true",
    "[server]\n",
    "[[rules]]\n",
    "[policies.p]\n",
    "quota",
    "\"1h\"",
    "\"*/**/{a,b}*\"",
    "path",
    "policies",
    "url",
    "1979-05-27",
    "partition",
];

#[test]
fn config_is_read_or_refused() {
    bolero::check!(name = "config")
        .with_iterations(ITERATIONS / 4)
        .with_max_len(256)
        .for_each(|input| is_read_or_refused(&written(input)));
}

fn is_read_or_refused(text: &str) {
    let env = |name: &str| (name == "PASSWORD").then(|| "hunter2-secret".to_owned());
    match Config::parse(text, "gateway.toml", &env, 1) {
        Ok((config, warnings)) => {
            assert!(warnings.iter().all(|problem| problem.severity() == Severity::Warning));
            for warning in &warnings {
                stands_in(warning, text);
            }
            // A variable is secret where a secret belongs; in a host or a name it is neither.
            if text.matches("${PASSWORD}").count() == 1 && text.contains(":${PASSWORD}@") {
                assert!(!format!("{config:?}").contains("hunter2"), "{text:?}");
            }
        }
        Err(problems) => {
            let errors = problems.iter().filter(|one| one.severity() == Severity::Error);
            assert!(errors.count() > 0, "refused for no reason: {text:?}");
            for problem in &problems {
                stands_in(problem, text);
            }
            assert!(!problems.to_string().contains("hunter2"), "{text:?}");
        }
    }
}

/// ASCII first: the text itself. Else a valid file with changes, four bytes each: where (two), how
/// many characters go, and what comes.
fn written(input: &[u8]) -> String {
    let base = match input.first() {
        Some(0x80..0xf0) => SMALL,
        Some(0xf0..) => FULL,
        _ => return text(input, &WORDS),
    };
    let mut characters: Vec<char> = base.chars().collect();
    for change in input[1..].chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % (characters.len() + 1);
        let end = characters.len().min(at + usize::from(change[2] % 16));
        characters.splice(at..end, text(&change[3..], &WORDS).chars());
    }
    characters.into_iter().collect()
}

fn stands_in(problem: &Problem, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let line = lines.get(problem.line() - 1);
    let line = line.unwrap_or_else(|| panic!("line {} of {text:?}", problem.line()));
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&problem.column()), "column {} of {line:?}", problem.column());
    assert!(!problem.message().is_empty());
}
