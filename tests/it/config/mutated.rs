//! Whatever the file says, reading it gives a configuration or problems, and never panics.

use proptest::prelude::*;
use sluicegate::config::{Problem, Severity};

use super::{FULL, parse};

const CASES: u32 = 2_000;

/// A change at a place, given in thousandths of the text.
#[derive(Clone, Debug)]
enum Change {
    Delete { at: usize, count: usize },
    Insert { at: usize, text: String },
    Replace { at: usize, with: char },
}

/// Characters that mean something to TOML, to the values, or to those who count bytes.
fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        prop::sample::select(
            "[]{}\"'=.,#\\\n\r\t$:/@*-+_ 0195exasm\u{0}ß✓\u{feff}".chars().collect::<Vec<_>>()
        ),
        any::<char>(),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let text = prop_oneof![
        prop::collection::vec(character(), 1..4).prop_map(String::from_iter),
        prop::sample::select(
            [
                "[[routes]]\n",
                "[store]\n",
                "\"\"\"",
                "${",
                "$${",
                "${X:-",
                "[a.b]\n",
                "99999999999999999999",
                "url = ",
                "://",
                "pass=",
                "secret = \"",
                "token"
            ]
            .as_slice()
        )
        .prop_map(str::to_owned),
    ];
    let at = 0..1_000_usize;
    prop_oneof![
        (at.clone(), 1..20_usize).prop_map(|(at, count)| Change::Delete { at, count }),
        (at.clone(), text).prop_map(|(at, text)| Change::Insert { at, text }),
        (at, character()).prop_map(|(at, with)| Change::Replace { at, with }),
    ]
}

fn apply(text: &mut Vec<char>, change: Change) {
    let place = |at: usize| at * text.len() / 1_000;
    match change {
        Change::Delete { at, count } => {
            let at = place(at);
            let end = text.len().min(at + count);
            text.drain(at..end);
        }
        Change::Insert { at, text: inserted } => {
            let at = place(at);
            text.splice(at..at, inserted.chars());
        }
        Change::Replace { at, with } => {
            let at = place(at);
            if let Some(c) = text.get_mut(at) {
                *c = with;
            }
        }
    }
}

fn settings() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) }
}

fn read_or_refused(text: &str) -> Result<(), TestCaseError> {
    let of = |problem: &Problem, severity| problem.severity() == severity;
    match parse(text, &[("PASSWORD", "hunter2")]) {
        Ok((config, warnings)) => {
            prop_assert!(warnings.iter().all(|problem| of(problem, Severity::Warning)));
            let shown = format!("{config:?}");
            prop_assert!(!shown.contains("hunter2"));
        }
        Err(problems) => {
            prop_assert!(problems.iter().any(|problem| of(problem, Severity::Error)));
            prop_assert!(!problems.to_string().contains("hunter2"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(settings())]

    /// Where the password stands in the file, one damage does not lay it open either. (Of several,
    /// one can take away all that tells a password from another word.)
    #[test]
    fn a_damaged_url_keeps_its_password(change in change()) {
        let mut text: Vec<char> = FULL.replace("${PASSWORD}", "hunter2").chars().collect();
        apply(&mut text, change);
        read_or_refused(&String::from_iter(text))?;
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(changes in prop::collection::vec(change(), 1..6)) {
        let mut text: Vec<char> = FULL.chars().collect();
        for change in changes {
            apply(&mut text, change);
        }
        let text = String::from_iter(text);
        read_or_refused(&text)?;
    }
}
