//! What is one path, what is none, and that neither changes when it is read again.

use proptest::prelude::*;

use super::*;

const DEFAULT: Spelling = Spelling {
    keeps_slashes: false,
    keeps_params: false,
    ignores_case: false,
    ignores_trailing_slash: false,
};

#[test]
fn every_spelling_of_a_path_is_one() {
    let spellings = [
        ("/login", "/login"),
        ("/%6cogin", "/login"),
        ("//login", "/login"),
        ("/./login", "/login"),
        ("/a/../login", "/login"),
        ("/a//../login", "/login"),
        ("/a/%2E%2E//login", "/login"),
        ("/%40ada/outbox", "/@ada/outbox"),
        ("/login/", "/login/"),
        ("/login/.", "/login/"),
        ("/", "/"),
        ("//", "/"),
        ("/a/..", "/"),
        ("/login;a=b", "/login"),
        ("/login;", "/login"),
        ("/;a=b", "/"),
        ("/a;x/b;y;z/c", "/a/b/c"),
        ("/a%3bb", "/a%3Bb"),
        ("/a%252fb", "/a%252fb"),
        ("/a\"<>^`{|}[] b", "/a%22%3C%3E%5E%60%7B%7C%7D%5B%5D%20b"),
        ("/été", "/%C3%A9t%C3%A9"),
        ("/%c3%a9té", "/%C3%A9t%C3%A9"),
        ("/%e9", "/%E9"),
        ("/pkg.Service/Method", "/pkg.Service/Method"),
        ("/a...", "/a..."),
        ("/...", "/..."),
        ("/a%20", "/a%20"),
        ("*", "*"),
    ];
    for (raw, normal) in spellings {
        assert_eq!(DEFAULT.normalise(raw).as_deref(), Ok(normal), "{raw}");
    }
}

#[test]
fn what_has_more_than_one_reading_has_no_spelling() {
    for (path, fault) in [
        ("/a%2fb", Fault::Slash),
        ("/a%2Fb", Fault::Slash),
        ("/a%5cb", Fault::Slash),
        ("/a\\b", Fault::Slash),
        ("/..%5c", Fault::Slash),
        ("/a%00", Fault::Control),
        ("/a%0a", Fault::Control),
        ("/a%7F", Fault::Control),
        ("/a\t", Fault::Control),
        ("/a%zz", Fault::Escape),
        ("/a%", Fault::Escape),
        ("/a%4", Fault::Escape),
        ("/%u002e", Fault::Escape),
        ("/%c0%ae", Fault::Escape),
        ("/%c0%ae%c0%ae/", Fault::Escape),
        ("/%e0%80%af", Fault::Escape),
        ("/%f0%80%80%af", Fault::Escape),
        ("/..", Fault::Root),
        ("/%2e%2e/login", Fault::Root),
        ("/a/../../b", Fault::Root),
        ("/a/..;/b", Fault::Params),
        ("/a/%2e;x", Fault::Params),
        ("/a/;/b", Fault::Params),
    ] {
        assert_eq!(DEFAULT.normalise(path), Err(fault), "{path}");
    }
}

#[test]
fn the_options_say_what_is_one_to_the_application() {
    let spelled = |spelling: Spelling, path| spelling.normalise(path).map(Cow::into_owned);
    let slashes = Spelling { keeps_slashes: true, ..DEFAULT };
    assert_eq!(spelled(slashes, "/a%2fb%5c\\"), Ok("/a%2Fb%5C%5C".to_owned()));
    assert_eq!(spelled(slashes, "/a%00"), Err(Fault::Control));
    let params = Spelling { keeps_params: true, ..DEFAULT };
    assert_eq!(spelled(params, "/a;%62/..;/c"), Ok("/a;b/..;/c".to_owned()));
    let case = Spelling { ignores_case: true, ..DEFAULT };
    assert_eq!(spelled(case, "/LoGin%4C%c3%89"), Ok("/loginl%C3%89".to_owned()));
    let end = Spelling { ignores_trailing_slash: true, ..DEFAULT };
    for path in ["/login/", "/login//", "/login/.", "/login/a/.."] {
        assert_eq!(spelled(end, path), Ok("/login".to_owned()), "{path}");
    }
    assert_eq!(spelled(end, "/"), Ok("/".to_owned()));
    let both = Spelling { ignores_case: true, ..end };
    assert_eq!(spelled(both.unfolded(), "/A/./B/"), Ok("/A/B/".to_owned()));
}

#[test]
fn patterns_are_spelled_like_paths_and_keep_their_signs() {
    assert_eq!(DEFAULT.pattern("/été/{a,b}/[x-z]?/**"), "/%C3%A9t%C3%A9/{a,b}/[x-z]?/**");
    assert_eq!(DEFAULT.pattern("/%6Cogin/%7b|"), "/login/%7B%7C");
    let folding = Spelling { ignores_case: true, ignores_trailing_slash: true, ..DEFAULT };
    assert_eq!(folding.pattern("/API/%C3%89/"), "/api/%C3%89");
    assert_eq!(folding.pattern("/"), "/");
}

/// Paths made of what matters: slashes, dots, escapes, letters.
fn paths() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        prop::sample::select(vec![
            "/", "//", ".", "..", "/../", "%2e", "%2F", "%5c", "\\", ";", "%", "%25", "%c0", "%ae",
            "%C3%A9", "é", "a", "B", "%41", "?", "#", " ", "%00", "%zz", "\u{0}", "~", "[", "|",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(parts, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

fn spellings() -> impl Strategy<Value = Spelling> {
    any::<[bool; 4]>().prop_map(|[slashes, params, case, end]| Spelling {
        keeps_slashes: slashes,
        keeps_params: params,
        ignores_case: case,
        ignores_trailing_slash: end,
    })
}

/// `path` with each unreserved character as an escape: the same path.
fn escaped_all(path: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a' | b'B' | b'.' | b'~' => format!("%{byte:02x}"),
        _ => char::from(byte).to_string(),
    };
    path.bytes().map(escaped).collect()
}

proptest! {
    #[test]
    fn a_spelling_is_its_own(path in paths(), spelling in spellings()) {
        if let Ok(once) = spelling.normalise(&path) {
            let twice = spelling.normalise(&once);
            prop_assert_eq!(twice.as_deref(), Ok(&*once));
            prop_assert!(once.bytes().all(|byte| byte.is_ascii_graphic()), "{}", once);
        }
    }

    #[test]
    fn an_escape_more_or_less_changes_nothing(
        path in "/[a/B.~]{0,12}",
        spelling in spellings(),
    ) {
        let escaped = escaped_all(&path);
        prop_assert_eq!(spelling.normalise(&path), spelling.normalise(&escaped));
    }

    #[test]
    fn no_spelling_steps_back(path in paths(), spelling in spellings()) {
        if let Ok(once) = spelling.normalise(&path) {
            let steps = once.split('/').any(|segment| matches!(segment, "." | ".."));
            prop_assert!(!steps && !once.contains("//"), "{}", once);
        }
    }

    /// What is refused is refused behind any other path too, however its plain characters are spelled.
    #[test]
    fn what_is_refused_stays_refused(path in paths(), spelling in spellings()) {
        if let Err(fault) = spelling.normalise(&path) {
            if path.is_ascii() && !path.contains('%') {
                let escaped = escaped_all(&path);
                prop_assert_eq!(spelling.normalise(&escaped), Err(fault));
            }
            if fault != Fault::Root {
                let behind = format!("/x{path}");
                prop_assert!(spelling.normalise(&behind).is_err(), "{}", behind);
            }
        }
    }
}
