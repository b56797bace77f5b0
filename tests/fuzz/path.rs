//! One spelling of a path: of whatever a client writes, and of whatever stands for the same.

use std::borrow::Cow;
use std::fmt::Write as _;

use sluicegate::request::Spelling;

use crate::ITERATIONS;
use crate::text::text;

const WORDS: [&str; 24] = [
    "/", "//", "/.", "/..", "/./", "/../", "%2e", "%2E%2e", "%2f", "%5C", "%00", "%25", "%6c",
    "%6C", "%C3%A9", "\u{e9}", ";a=b", "login", "%3b", "%41", "~", "%7e", "a", "%20",
];

#[test]
fn path_has_one_spelling() {
    bolero::check!(name = "path").with_iterations(ITERATIONS).with_max_len(64).for_each(|input| {
        let path = format!("/{}", text(input, &WORDS));
        let normalise = |path: &str| Spelling::default().normalise(path).map(Cow::into_owned);
        let Ok(normal) = normalise(&path) else {
            // What has no spelling gets none by another.
            for other in [escaped(&path), path.replace('/', "//"), format!("{path}/x")] {
                assert!(normalise(&other).is_err(), "{path:?} is refused, {other:?} is not");
            }
            return;
        };
        assert!(normal.starts_with('/') && normal.is_ascii(), "{path:?} is {normal:?}");
        let inner = &normal[1..];
        let odd = |part: &str| matches!(part, "" | "." | "..");
        let mut parts = inner.split('/').rev();
        let last = parts.next().expect("there is one");
        assert!(last.is_empty() || !odd(last), "{path:?} is {normal:?}");
        assert!(!parts.any(odd), "{path:?} is {normal:?}");
        let same = Ok(normal.clone());
        assert_eq!(normalise(&normal), same, "{path:?}: the one spelling of itself");
        assert_eq!(normalise(&escaped(&path)), same, "{path:?}: escaped once more where it may be");
        assert_eq!(normalise(&format!("/x/..{path}")), same, "{path:?}: there and back");
        assert_eq!(normalise(&path.replace('/', "//")), same, "{path:?}: doubled");
    });
}

/// Another spelling of the same path: letters, digits, dots and dashes as escapes, in lower case.
fn escaped(path: &str) -> String {
    let (mut escaped, mut rest) = (String::new(), path.chars());
    while let Some(character) = rest.next() {
        match character {
            '%' => {
                escaped.push('%');
                escaped.extend(rest.by_ref().take(2).map(|digit| digit.to_ascii_lowercase()));
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | '~' => {
                let _ = write!(escaped, "%{:02x}", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
