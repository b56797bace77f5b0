//! Attacks on what is shown and what listens: C-34, C-35, C-40 and C-41.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use sluicegate::config::{Config, Severity};

use crate::identity::scene::Folder;
use crate::support::app::App;
use crate::support::gateway::{BINARY, Gateway, app_at};
use crate::support::raw;
use crate::support::redis::{free_port, wait_until};

const LOCAL: &str = "[store]\nkind = \"local\"\n";
const FEW: &str = "[policies.few]\nquota = 2\nwindow = \"1h\"\npartition = []\n\
                   [[rules]]\npath = \"/**\"\npolicies = [\"few\"]\n";

/// Requests that would act in a terminal, or begin a line of the log.
fn nasty() -> Vec<Vec<u8>> {
    let targets: [&[u8]; 8] = [
        b"/a%0a2026-01-01T00:00:00Z  INFO forged",
        b"/%1b[2J%1b]0;owned%07",
        b"/\xc2\x9b31m",
        b"/\xe2\x80\xaegpj.exe",
        b"/\x1b[2J",
        b"/\x7f\x80\xff",
        b"/\xe2\x80\xa8line",
        b"/\"quoted\"\\",
    ];
    let of_target = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nhost: a\r\n"].concat();
    let lines: [&[u8]; 5] = [
        b"host: \x1b[2J\r\n",
        b"host: a\r\nuser-agent: \x1b[2J\xc2\x9b31m\r\n",
        b"host: a\r\nx-forwarded-for: \x07\r\n",
        b"host: a\r\nx-\x1b: 1\r\n",
        b"host: a\nforged: \x0b\r\n",
    ];
    let of_lines = |lines: &[u8]| [b"GET / HTTP/1.1\r\n", lines].concat();
    let heads = targets.iter().map(|target| of_target(target));
    let heads = heads.chain(lines.iter().map(|lines| of_lines(lines)));
    let ends: &[u8] = b"connection: close\r\n\r\n";
    heads.map(|head| [head.as_slice(), ends].concat()).collect()
}

/// Sends bytes and reads what comes until the end, whatever that is.
fn send(address: SocketAddr, bytes: &[u8]) {
    let mut stream = raw::connect(address);
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn acts(character: char) -> bool {
    let turns = ['\u{202e}', '\u{2028}', '\u{2029}'].contains(&character);
    (character.is_control() && character != '\n') || turns
}

#[test]
fn c34_no_byte_of_a_request_acts_in_the_log() {
    for format in ["text", "json"] {
        let app = App::start();
        let log = format!("[log]\nformat = \"{format}\"\nlevel = \"debug\"\naccess = true\n");
        let many = FEW.replace("quota = 2", "quota = 1000");
        let gateway = Gateway::start(&format!("{log}{LOCAL}{}{many}", app_at(app.address())));
        for request in nasty() {
            send(gateway.public(), &request);
            send(gateway.admin(), &request);
        }
        assert_eq!(gateway.get("/last").status(), 200);
        wait_until("the last line", || gateway.log().contains("/last"));
        let log = gateway.log();
        assert!(log.contains("[2J"), "nothing of what was sent is told: the test says nothing");
        assert_eq!(log.chars().find(|character| acts(*character)), None, "{log:?}");
        for line in log.lines() {
            let whole = match format {
                "json" => serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()),
                _ => line.starts_with("20") && line.get(4..5) == Some("-"),
            };
            assert!(whole && !line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
        }
    }
}

#[test]
fn c34_a_flood_of_faults_is_no_flood_of_lines() {
    const FAULTS: usize = 200;
    let app = App::start();
    let gateway = Gateway::start(&format!("{LOCAL}{}", app_at(app.address())));
    let began = Instant::now();
    for _ in 0..FAULTS {
        send(gateway.admin(), b"GET / HTTP/1.1\r\nno header\r\n\r\n");
    }
    let suppressed = || gateway.metric("sluicegate_log_lines_suppressed_total", &["error"]);
    let lines = || gateway.log().matches("fails to read").count();
    wait_until("all of them", || lines() + suppressed() as usize == FAULTS);
    let most = 10 * (began.elapsed().as_secs() as usize + 1);
    assert!((1..=most).contains(&lines()), "{} lines, of {most} at most", lines());
    wait_until("it to be told", || gateway.log().contains("lines were held back"));
}

#[test]
fn c35_the_public_port_is_the_applications_alone() {
    let (app, inner) = (App::start(), App::start());
    let gateway = Gateway::start(&format!("{LOCAL}{}", app_at(app.address())));
    let pages = ["/metrics", "/livez", "/readyz", "/metrics/", "//metrics"];
    for page in pages {
        let answer = gateway.get(page);
        assert_eq!(answer.status(), 200, "{page}");
        assert_eq!(answer.text().unwrap(), "hello", "{page} is the application's");
    }
    let targets: Vec<String> = app.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, pages);

    // Where a request goes is for the configuration to say, and for nobody else.
    let there = inner.address();
    for request in [
        format!("GET / HTTP/1.1\r\nhost: {there}\r\n"),
        format!("GET http://{there}/ HTTP/1.1\r\nhost: {there}\r\n"),
        format!("GET http://{there}/ HTTP/1.1\r\nhost: a\r\n"),
        format!("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-host: {there}\r\n"),
        format!("GET //{there}/ HTTP/1.1\r\nhost: a\r\n"),
        format!("GET /@{there}/ HTTP/1.1\r\nhost: a@{there}\r\n"),
        format!("CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n"),
    ] {
        send(gateway.public(), format!("{request}connection: close\r\n\r\n").as_bytes());
    }
    assert!(inner.seen().is_empty(), "{:?}", inner.seen());
}

#[test]
fn c35_the_operators_port_is_near_and_changes_nothing() {
    let parse = |admin: &str| {
        let text = format!("{}{admin}", app_at(([127, 0, 0, 1], 1).into()));
        Config::parse(&text, "gateway.toml", &|_| None, 1).expect("a configuration")
    };
    assert!(parse("").0.admin.ip().is_loopback(), "by default nobody else reaches it");
    let (_, doubts) = parse("[admin]\nlisten = \"0.0.0.0:9090\"\n");
    assert!(doubts.iter().any(|doubt| doubt.severity() == Severity::Warning), "{doubts:?}");
    let app = App::start();
    let gateway = Gateway::start(&format!("{LOCAL}{}", app_at(app.address())));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = gateway.client().request(method.clone(), gateway.admin_url("/readyz"));
        assert_eq!(request.send().unwrap().status(), 405, "{method}");
    }
}

#[test]
fn c40_no_pattern_is_slow() {
    let app = App::start();
    let pattern = format!("/{}b", "*a".repeat(20));
    let deep = format!("/{}", "**/a/".repeat(10));
    let rule = |path: &str| format!("[[rules]]\npath = \"{path}\"\npolicies = [\"few\"]\n");
    let gateway = Gateway::start(&format!(
        "{LOCAL}{}{}{}",
        app_at(app.address()),
        FEW.replace("/**", &pattern),
        rule(&format!("{deep}b")),
    ));
    let began = Instant::now();
    for path in ["/".to_owned() + &"a".repeat(4_000), "/a".repeat(2_000)] {
        for _ in 0..5 {
            assert_eq!(gateway.get(&path).status(), 200, "it does not match");
        }
    }
    // Who tries one way after another would take years.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn c40_a_bad_reload_changes_nothing_and_no_secret_is_told() {
    const SECRET: &str = "SUPERSECRET-0123456789-0123456789-01";
    let app = App::start();
    let gateway = Gateway::start(&format!(
        "[log]\nlevel = \"trace\"\n[store]\nurl = \"redis://:{SECRET}@127.0.0.1:{}\"\n\
         [identity.jwt]\nalgorithms = [\"HS256\"]\nkey = \"{SECRET}\"\n{}{FEW}",
        free_port(),
        app_at(app.address())
    ));
    let get = || {
        let request = gateway.client().get(gateway.url("/"));
        request.header("authorization", format!("Bearer {SECRET}")).send().unwrap().status()
    };
    assert_eq!([get(), get(), get()].map(|status| status.as_u16()), [200, 200, 429]);
    gateway.edit("quota = 2", "quota = 9\nquotas = 3");
    gateway.signal("HUP");
    wait_until("the refusal", || {
        gateway.metric("sluicegate_config_reloads_total", &["rejected"]) == 1.0
    });
    assert_eq!(get(), 429, "the old one is in force");
    let check = Command::new(BINARY).args(["check", "--config"]).arg(gateway.config()).output();
    let check = check.expect("the binary runs");
    assert_eq!(check.status.code(), Some(1), "it is not valid");
    let readyz = gateway.readiness().to_string();
    let [out, err] = [check.stdout, check.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(err.contains("quotas"), "{err}");
    for told in [gateway.log(), gateway.metrics(), readyz, out, err] {
        assert!(!told.contains("SUPERSECRET"), "{told}");
    }
}

#[test]
fn c40_a_secret_that_everybody_can_read_is_told() {
    let folder = Folder::new();
    let secret = folder.write("secret", "0123456789-0123456789-0123456789-0123");
    let text = format!(
        "{}[identity.jwt]\nalgorithms = [\"HS256\"]\nkey_file = \"{secret}\"\n",
        app_at(([127, 0, 0, 1], 1).into())
    );
    let doubts = |mode: u32| {
        fs::set_permissions(&secret, Permissions::from_mode(mode)).expect("it is ours");
        let (_, doubts) = Config::parse(&text, "gateway.toml", &|_| None, 1).expect("it is valid");
        doubts.iter().filter(|doubt| doubt.message().contains("can read the key")).count()
    };
    assert_eq!([0o644, 0o640, 0o600].map(doubts), [1, 0, 0]);
}

/// Where a process listens by TCP, and its sockets of the file system.
fn listens(process: u32) -> (BTreeSet<SocketAddr>, Vec<String>) {
    let folder = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let own: BTreeSet<String> = links
        .filter_map(|link| {
            let name = link.to_string_lossy().into_owned();
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = |name: &str| fs::read_to_string(format!("/proc/{process}/net/{name}"));
    let tcp = table("tcp").expect("a table");
    let listening = tcp.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = words[1].split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
        let port = u16::from_str_radix(port, 16).ok()?;
        // 0A: LISTEN.
        (words[3] == "0A" && own.contains(words[9])).then(|| (address, port).into())
    });
    let listening = listening.collect();
    let tcp6 = table("tcp6").unwrap_or_default();
    let others = [tcp6, table("unix").expect("a table")].concat();
    let others = others.lines().filter(|line| {
        let mut words = line.split_whitespace();
        let inode = words.clone().any(|word| own.contains(word));
        let named = words.nth(7).is_some_and(|path| path.starts_with(['/', '@']));
        inode && (named || line.contains(" 0A "))
    });
    (listening, others.map(str::to_owned).collect())
}

/// Pingora can hand its sockets to a successor over a socket in `/tmp`, which anybody could take.
#[test]
fn c41_it_listens_where_it_is_told_and_nowhere_else() {
    let app = App::start();
    let gateway = Gateway::start(&format!("{LOCAL}{}", app_at(app.address())));
    assert_eq!(gateway.get("/").status(), 200);
    let told = BTreeSet::from([gateway.public(), gateway.admin()]);
    assert_eq!(listens(gateway.process()), (told.clone(), Vec::new()));
    // Nor after a reload.
    gateway.signal("HUP");
    wait_until("the reload", || {
        gateway.metric("sluicegate_config_reloads_total", &["applied"]) == 1.0
    });
    assert_eq!(listens(gateway.process()), (told, Vec::new()));
}
