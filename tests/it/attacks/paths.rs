//! One path, however it is spelled.

use super::scene::{Scene, request};
use crate::support::gateway::BINARY;

/// Limits the path alone, for an application that takes `/LOGIN/` for `/login`, as Express does.
const LOGIN: &str = "[request]\nignore_case = true\nignore_trailing_slash = true\n\
                     [policies.login]\nquota = 1000\nwindow = \"1h\"\n\
                     [[rules]]\npath = \"/login\"\npolicies = [\"login\"]\n";

/// Spellings that reach `/login` in one application or another.
const SPELLINGS: [&str; 81] = [
    "/login",
    "/login?",
    "/login?a=b",
    "/login?/../other",
    "/login#x",
    "/login#/other",
    "/%6cogin",
    "/%6Cogin",
    "/l%6fgin",
    "/l%6Fgin",
    "/%6c%6f%67%69%6e",
    "/%4c%4F%47%49%4E",
    "//login",
    "///login",
    "//login//",
    "/./login",
    "/././login",
    "/.//login",
    "//./login",
    "/%2e/login",
    "/%2E/login",
    "/a/../login",
    "/a//../login",
    "/a/b/../../login",
    "/a/./../login",
    "/a/%2e%2e/login",
    "/a/%2E%2e/login",
    "/a/.%2e/login",
    "/a/%2e./login",
    "/login/../login",
    "/login/.",
    "/login/./",
    "/login/%2e",
    "/login/a/..",
    "/login/a/../",
    "/login/",
    "/login//",
    "/login/?x",
    "/LOGIN",
    "/Login",
    "/lOGIN/",
    "/LOGI%4E",
    "/login;",
    "/login;a=b",
    "/login;jsessionid=0123",
    "/login;a/",
    "/login;a=b;c?d",
    "/a;b/../login",
    "/;/login",
    "/;a=b/login",
    "/a/..;/login",
    "/a/..;x=y/login",
    "/.;/login",
    "/login/..;/login",
    "/..;/login",
    "/../login",
    "/%2e%2e/login",
    "/../../login",
    "/a/../../login",
    "/\\login",
    "\\login",
    "/a/..\\login",
    "/a\\..\\login",
    "/%5clogin",
    "/%5Clogin",
    "/a/..%5clogin",
    "/%2flogin",
    "/%2Flogin",
    "/a%2f..%2flogin",
    "/a/..%2flogin",
    "/login%00",
    "/login%00.html",
    "/login%0a",
    "/login%0D%0A",
    "/login%09",
    "/login%",
    "/login%2",
    "/login%zz",
    "/%c0%af/login",
    "/a/%c0%ae%c0%ae/login",
    "/%u006cogin",
];

#[test]
fn c07_no_spelling_of_a_path_passes_uncounted() {
    let scene = Scene::new(LOGIN);
    let (mut counted, mut refused) = (0, 0);
    for spelling in SPELLINGS {
        let before = (scene.charged("login"), scene.served());
        let answer = scene.get(spelling, "");
        let after = (scene.charged("login"), scene.served());
        match answer.status {
            200 => {
                assert_eq!(after, (before.0 + 1, before.1 + 1), "{spelling} passed uncounted");
                counted += 1;
            }
            400 => {
                assert_eq!(after, before, "{spelling}");
                refused += 1;
            }
            status => panic!("{spelling}: {status}"),
        }
    }
    for absolute in ["http://a/login", "HTTP://a/%6cogin?x", "https://a//login"] {
        let before = scene.charged("login");
        assert_eq!(scene.get(absolute, "").status, 200, "{absolute}");
        assert_eq!(scene.charged("login"), before + 1, "{absolute}");
    }
    assert!(counted >= 40 && refused >= 20, "{counted} counted, {refused} refused");
}

/// By default case and a slash at the end tell paths apart, as they do for most applications.
#[test]
fn c07_what_is_another_path_is_not_the_same() {
    let scene = Scene::new(
        "[policies.pages]\nquota = 1\nwindow = \"1h\"\npartition = [\"ip\", \"path\"]\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"pages\"]\n",
    );
    let others = [
        "/login",
        "/Login",
        "/login/",
        "/login.",
        "/login%20",
        "/%256cogin",
        "/login%3Ba",
        "/logi",
    ];
    for target in others {
        assert_eq!(scene.get(target, "").status, 200, "{target}");
        assert_eq!(scene.get(target, "").status, 429, "{target}");
    }
    for same in ["/%6cogin?x", "/./login", "/login;x"] {
        assert_eq!(scene.get(same, "").status, 429, "{same}");
    }
}

#[test]
fn c07_what_has_two_readings_is_refused_with_its_reason() {
    let scene = Scene::new("");
    for (target, reason) in [
        ("/a%2Fb", "path-slash"),
        ("/a%5cb", "path-slash"),
        ("/a%00b", "path-control"),
        ("/login%0a", "path-control"),
        ("/a%zz", "path-escape"),
        ("/%c0%ae%c0%ae/", "path-escape"),
        ("/../a", "path-root"),
        ("/a/..;/b", "path-params"),
    ] {
        scene.refused(400, reason, &request("GET", target, "host: a\r\n"));
    }
}

#[test]
fn c07_the_application_gets_the_path_as_it_came_or_in_its_one_spelling() {
    let target = "/A//b/%2e/../%7ec;x=1?q=//%2e";
    for (config, expected) in [
        ("", target),
        ("[request]\nforward_path = \"normalised\"\n", "/A/~c?q=//%2e"),
        (
            "[request]\nforward_path = \"normalised\"\npath_params = \"keep\"\nignore_case = true\n",
            "/A/~c;x=1?q=//%2e",
        ),
    ] {
        let scene = Scene::new(config);
        assert_eq!(scene.get(target, "").status, 200);
        assert_eq!(scene.app.last().target, expected, "{config}");
    }
    let scene = Scene::new("[request]\nencoded_slashes = \"keep\"\n");
    assert_eq!(scene.get("/a%2fb%5Cc", "").status, 200);
    assert_eq!(scene.app.last().target, "/a%2fb%5Cc");
}

/// `explain` says of a path what the gateway does with it.
#[test]
fn c07_explain_tells_of_a_path_that_is_refused() {
    let file = std::env::temp_dir().join(format!("sluicegate-paths-{}.toml", std::process::id()));
    let text = format!(
        "[upstreams.app]\nservers = [\"127.0.0.1:1\"]\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n{LOGIN}"
    );
    std::fs::write(&file, text).expect("the configuration is written");
    let says = |path: &str| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["explain", "--ip", "192.0.2.1", "--method", "GET", "--path", path]);
        let output = command.arg("--config").arg(&file).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(says("/a%2fb").contains("refused   with 400"), "{}", says("/a%2fb"));
    assert!(says("/x/../LOGIN/").contains("path      /login\n"), "{}", says("/x/../LOGIN/"));
    std::fs::remove_file(&file).expect("it was there");
}

#[test]
fn c08_a_target_is_a_path_or_refused() {
    let scene = Scene::new("");
    for target in
        ["foo:bar", "@x", "x:/login", "a:80", "*", "http:/a", "http:/\\a", "ws://a/", "login"]
    {
        scene.refused_somewhere(request("GET", target, "host: a\r\n").as_bytes());
    }
    for target in [&b"/\xff"[..], b"/\xc3\xa9", b"http://a/\xff"] {
        let request = [b"GET ", target, b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"];
        scene.refused_somewhere(&request.concat());
    }
    let charged = scene.charged("all");
    let answer = scene.send(request("OPTIONS", "*", "host: a\r\n").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(scene.app.last().target, "*");
    assert_eq!(scene.charged("all"), charged + 1);
}

#[test]
fn c08_an_absolute_target_becomes_a_path() {
    let scene = Scene::new("");
    for (target, path) in [
        ("http://a/b?c=d", "/b?c=d"),
        ("HTTP://a", "/"),
        ("http://a?x=1", "/?x=1"),
        ("https://a//b", "//b"),
    ] {
        assert_eq!(scene.get(target, "").status, 200, "{target}");
        let seen = scene.app.last();
        assert_eq!((seen.target.as_str(), seen.header("host")), (path, Some("a")), "{target}");
    }
    for (target, host) in [("http://b/", "a"), ("http://u@a/", "a"), ("http://a:81/", "a:80")] {
        let request = request("GET", target, &format!("host: {host}\r\n"));
        scene.refused_somewhere(request.as_bytes());
    }
    // A rule for a host would not see a host that stands nowhere else.
    scene.refused(400, "host", "GET http://a/ HTTP/1.0\r\n\r\n");
}
