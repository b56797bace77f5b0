//! Two hundred reloads and fifty that are refused, under load and in all three ways: no request
//! fails, every unit is counted once, and the old configuration serves on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use super::{Way, all_reloads, put, reloads, shown, trigger};
use crate::identity::scene::Folder;
use crate::support::gateway::Gateway;
use crate::support::redis::{RedisServer, wait_until};
use crate::support::traffic::{Application, Kind, Traffic};

/// What the application answers to what nobody has ordered.
const SERVED: u16 = 404;
const GOOD: usize = 200;
const BAD: usize = 50;
/// Fewer than the requests that the test makes of it.
const QUOTA: usize = 150;
/// More than there is time for.
const PLENTY: u64 = 1_000_000_000;

/// The file as it is put in place for the time of this number. What routes and what is listened on
/// stands last, so that no part of it is a configuration.
fn file(store: &str, app: &Application, number: usize) -> String {
    format!(
        "[server]\nlisten = [\"${{LISTEN}}\"]\nh2c = true\nread_timeout = \"{}s\"\n\
         write_timeout = \"{}s\"\nkeepalive_timeout = \"{}s\"\nmax_headers = {}\n\
         [log]\nlevel = \"{}\"\n\
         [store]\n{store}deny_cache = \"{}ms\"\n\
         [policies.all]\nquota = {PLENTY}\nwindow = \"1h\"\npartition = []\n\
         [policies.counted]\nquota = {QUOTA}\nwindow = \"1h\"\npartition = []\n\
         [policies.other]\nquota = {}\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n\
         [[rules]]\npath = \"/counted\"\npolicies = [\"counted\"]\n\
         [[rules]]\npath = \"/nobody\"\npolicies = [\"other\"]\n\
         [admin]\nlisten = \"${{ADMIN}}\"\n\
         [upstreams.app]\nservers = [\"{}\"]\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
        30 + number % 7,
        30 + number % 5,
        60 + number % 3,
        100 + number % 11,
        if number.is_multiple_of(2) { "info" } else { "debug" },
        number % 900,
        1 + number,
        app.address(),
    )
}

/// A file that cannot be put in force, and what is said of it.
struct Broken {
    said: &'static str,
    contents: Contents,
}

enum Contents {
    Text(String),
    Folder,
    Pipe,
    Nothing,
}

/// A broken file of one kind or another.
fn broken(good: &str, number: usize, keys: &str) -> Broken {
    let text = |said, contents: String| Broken { said, contents: Contents::Text(contents) };
    let other = |said, contents| Broken { said, contents };
    match number % 10 {
        0 => text("invalid TOML", good.replace("[server]", "[server")),
        1 => text("unknown key `qouta`", good.replace("\nquota", "\nqouta")),
        2 => other("cannot read", Contents::Nothing),
        3 => other("not a regular file", Contents::Folder),
        4 => other("not a regular file", Contents::Pipe),
        5 => text("[[routes]]", String::new()),
        // Anywhere but in the last line.
        6 => text("gateway.toml:", good[..good.len() * (number + 1) / (BAD + 10)].to_owned()),
        7 => text("larger than 8 MiB", format!("{good}#{}", "x".repeat(8 << 20))),
        8 => text("`MISSING` is not set", good.replace("\"${ADMIN}\"", "\"${MISSING}\"")),
        _ => text(
            "keys.toml",
            format!("{good}[identity.api_key]\nheader = \"x-key\"\nfile = \"{keys}\"\n"),
        ),
    }
}

impl Broken {
    /// Puts it where the configuration was.
    fn put(&self, gateway: &Gateway) {
        let (path, new) = (gateway.config(), gateway.config().with_extension("new"));
        match &self.contents {
            Contents::Text(text) => return put(gateway, text),
            Contents::Folder => fs::create_dir(&new).unwrap(),
            Contents::Pipe => {
                assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
            }
            Contents::Nothing => symlink("/nonexistent/gateway.toml", &new).unwrap(),
        }
        // A folder does not move over a file.
        fs::remove_file(&path).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Makes room for a whole file again.
    fn take_away(gateway: &Gateway) {
        let path: PathBuf = gateway.config();
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
    }
}

/// A reload that is refused, and told.
fn refuse(gateway: &Gateway, number: usize, good: &str, keys: &str) {
    let broken = broken(good, number, keys);
    let (before, generation) = (reloads(gateway, "rejected"), shown(gateway)["generation"].clone());
    broken.put(gateway);
    trigger(gateway, Way::ALL[number % Way::ALL.len()]);
    // A look at the file and a signal may both have come, one of them late: what counts is what is
    // read in the end.
    wait_until(&format!("a refusal for {}", broken.said), || {
        let problems = shown(gateway)["last_rejected"]["problems"].to_string();
        problems.contains(broken.said) && reloads(gateway, "rejected") > before
    });
    let force = &shown(gateway)["generation"];
    assert_eq!(*force, generation, "the old one is in force: {}", broken.said);
    assert_eq!(gateway.get("/").status(), SERVED);
    Broken::take_away(gateway);
}

/// The status of a request that counts for a policy of its own.
fn counted(gateway: &Gateway) -> u16 {
    gateway.get("/counted").status().as_u16()
}

/// The whole of it on one store.
fn holds_under_load(store: &str) {
    let (app, folder) = (Application::start(), Folder::new());
    let keys = folder.write("keys.toml", "[[keys]]\nid = 1\n");
    let gateway = Gateway::start_whole(&file(store, &app, 0), &[]);
    if store.contains("url") {
        gateway.wait_for_store("up");
    }
    let traffic = Traffic::start(gateway.public(), &Kind::ALL);
    traffic.wait_for_progress();
    let (mut statuses, mut refused) = (Vec::new(), 0);
    for number in 1..=GOOD {
        let good = file(store, &app, number);
        put(&gateway, &good);
        trigger(&gateway, Way::ALL[number % Way::ALL.len()]);
        statuses.push(counted(&gateway));
        wait_until(&format!("reload {number}"), || {
            shown(&gateway)["config"]["server"]["max_headers"] == 100 + number as u64 % 11
        });
        if number.is_multiple_of(GOOD / BAD) {
            refuse(&gateway, refused, &good, &keys);
            refused += 1;
            statuses.push(counted(&gateway));
        }
    }
    traffic.wait_for_progress();
    traffic.stop().assert_clean();
    assert_eq!((reloads(&gateway, "applied") as usize).min(GOOD), GOOD);
    assert!(refused == BAD && all_reloads(&gateway) >= (GOOD + BAD) as f64);
    let passed = statuses.iter().take_while(|status| **status == SERVED).count();
    assert_eq!(passed, QUOTA, "all of the quota and no more, over all reloads");
    assert!(statuses[passed..].iter().all(|status| *status == 429), "{statuses:?}");
    all_is_counted(&gateway, &app);
}

/// Everything that the application has got was counted once, over all reloads.
fn all_is_counted(gateway: &Gateway, app: &Application) {
    let answer = gateway.get("/");
    let remaining = answer.headers()["x-ratelimit-remaining"].to_str().unwrap();
    let remaining: u64 = remaining.parse().unwrap();
    let denied = gateway.metric("sluicegate_decisions_total", &["counted", "deny"]) as u64;
    assert!(denied > 0, "some were denied, which charges nothing");
    assert_eq!(PLENTY - remaining, app.requests());
}

#[test]
fn nothing_fails_and_every_unit_is_counted_once_in_memory() {
    holds_under_load("kind = \"local\"\n");
}

#[test]
fn nothing_fails_and_every_unit_is_counted_once_in_redis() {
    let redis = RedisServer::start();
    holds_under_load(&format!("url = \"{}\"\ntimeout = \"5s\"\n", redis.url()));
}
