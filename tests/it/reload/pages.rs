//! `/reload` and `/config` on the admin listener.

use super::{change, post, put, reloads, shown, text};
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;

const POLICY: &str =
    "[policies.p]\nquota = 3\nwindow = \"1h\"\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
const WAY_OUT: &str = "takes a restart, or an upgrade, which loses no request";

fn gateway(app: &App, server: &str) -> Gateway {
    let store = "[store]\nkind = \"local\"\n";
    Gateway::start(&format!("{server}{store}{}{POLICY}", app_at(app.address())))
}

#[test]
fn a_reload_says_what_came_of_it() {
    let app = App::start();
    let gateway = gateway(&app, "");
    let answer = change(&gateway, "quota = 3", "quota = 4");
    assert_eq!((&answer["result"], &answer["generation"]), (&"applied".into(), &1.into()));
    assert_eq!(answer["limits_changed"][0], "p: 3 in 1h is 4 in 1h");
    for nothing in ["warnings", "needs_restart", "counts_start_anew"] {
        assert_eq!(answer[nothing].as_array().map(Vec::len), Some(0), "{nothing}: {answer:#}");
    }
    let anew = change(&gateway, "window = \"1h\"", "window = \"1h\"\nalgorithm = \"token-bucket\"");
    let said = "p: its algorithm was sliding-window and is token-bucket";
    assert_eq!(anew["counts_start_anew"][0], said);
    let doubt = change(&gateway, "[[rules]]", "[exempt]\npaths = [\"/**\"]\n[[rules]]");
    assert!(doubt["warnings"][0].as_str().unwrap().contains("nothing is limited"), "{doubt:#}");
    let good = text(&gateway);
    put(&gateway, &good.replace("quota = 4", "quota = -4\nqouta = 5"));
    let (status, answer) = post(&gateway);
    assert_eq!((status, &answer["result"]), (422, &"rejected".into()));
    let problems: Vec<&str> =
        answer["problems"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(problems.contains(&"error: unknown key `qouta`"), "{problems:#?}");
    assert!(problems.iter().any(|line| line.contains("gateway.toml:")), "{problems:#?}");
    let shown = shown(&gateway);
    assert_eq!(shown["last_rejected"]["problems"], answer["problems"]);
    assert_eq!((&shown["read_by"], &shown["generation"]), (&"API".into(), &3.into()));
    assert_eq!(shown["config"]["policies"]["p"]["quota"], 4, "the old one is in force");
    assert_eq!((reloads(&gateway, "applied"), reloads(&gateway, "rejected")), (3.0, 1.0));
}

#[test]
fn what_stays_is_said_key_by_key_and_stays() {
    let app = App::start();
    let gateway = gateway(&app, "threads = 2\n");
    assert_eq!([(); 2].map(|()| gateway.get("/").status().as_u16()), [200, 200]);
    let server = "threads = 3\nh2c = true\nmax_headers = 77";
    change(&gateway, "threads = 2", server);
    let store = "key_prefix = \"other\"\ndeny_cache = \"2s\"\nlocal_memory = \"1MiB\"";
    let answer = change(&gateway, "kind = \"local\"", &format!("kind = \"redis\"\n{store}"));
    let kept = answer["needs_restart"].as_array().unwrap();
    let keys: Vec<&str> = kept.iter().map(|kept| kept["key"].as_str().unwrap()).collect();
    let expected =
        ["server.threads", "server.h2c", "store.kind", "store.key_prefix", "store.local_memory"];
    assert_eq!(keys, expected);
    assert_eq!((&kept[0]["in_force"], &kept[0]["in_file"]), (&2.into(), &3.into()));
    assert!(kept.iter().all(|kept| kept["help"] == WAY_OUT), "{answer:#}");
    let shown = shown(&gateway);
    assert_eq!(shown["needs_restart"], answer["needs_restart"]);
    let (server, store) = (&shown["config"]["server"], &shown["config"]["store"]);
    assert_eq!((&server["threads"], &server["max_headers"]), (&2.into(), &77.into()));
    assert!(server.get("h2c").is_none(), "{server:#}");
    assert_eq!((&store["kind"], &store["deny_cache"]), (&"local".into(), &"2s".into()));
    assert!(store.get("key_prefix").is_none(), "{store:#}");
    let log = gateway.log();
    assert!(log.contains(WAY_OUT) && log.contains("server.threads, server.h2c"), "{log}");
    assert_eq!([(); 2].map(|()| gateway.get("/").status().as_u16()), [200, 429], "and counts on");
    put(&gateway, &text(&gateway).replace("threads = 3\nh2c = true", "threads = 2"));
    let (_, answer) = post(&gateway);
    assert_eq!(answer["needs_restart"].as_array().unwrap().len(), 3, "{answer:#}");
}

/// The answer to a request with these lines, as its status and whether there was a reload.
fn asked(gateway: &Gateway, method: &str, lines: &str) -> (String, bool) {
    let before = reloads(gateway, "applied");
    let request = format!(
        "{method} /reload HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{lines}content-length: 0\r\n\r\n",
        gateway.admin()
    );
    let answer = raw::exchange(gateway.admin(), request.as_bytes());
    let answer = String::from_utf8(answer).expect("text");
    (answer, reloads(gateway, "applied") > before)
}

#[test]
fn a_page_of_another_site_reloads_nothing() {
    let app = App::start();
    let gateway = gateway(&app, "");
    let foreign = [
        "origin: https://evil.example\r\n",
        "origin: http://127.0.0.1:3000\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ];
    for lines in foreign {
        let (answer, reloaded) = asked(&gateway, "POST", lines);
        assert!(answer.starts_with("HTTP/1.1 403 ") && !reloaded, "{lines}: {answer}");
    }
    // Whoever writes the request need not be a browser, but a browser's own page may.
    let own = format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", gateway.admin());
    for lines in ["", &own] {
        let (answer, reloaded) = asked(&gateway, "POST", lines);
        assert!(answer.starts_with("HTTP/1.1 200 ") && reloaded, "{lines}: {answer}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let (answer, reloaded) = asked(&gateway, method, "");
        assert!(answer.starts_with("HTTP/1.1 405 ") && !reloaded, "{method}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: post\r\n"), "{answer}");
    }
    let put = gateway.client().post(gateway.admin_url("/config")).send().unwrap();
    assert_eq!(
        (put.status().as_u16(), &put.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    assert_eq!(gateway.get("/config").text().unwrap(), "hello", "the public port has no such page");
}

#[test]
fn many_who_ask_at_once_are_served_one_after_the_other() {
    let app = App::start();
    let gateway = gateway(&app, "");
    let answers: Vec<(u16, u64)> = std::thread::scope(|scope| {
        let each: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    let (status, answer) = post(&gateway);
                    (status, answer["generation"].as_u64().unwrap_or_default())
                })
            })
            .collect();
        each.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    let mut applied: Vec<u64> =
        answers.iter().filter(|(status, _)| *status == 200).map(|(_, at)| *at).collect();
    applied.sort_unstable();
    let count = applied.len() as u64;
    assert_eq!(applied, (1..=count).collect::<Vec<u64>>(), "no two are one");
    assert!(answers.iter().all(|(status, _)| [200, 503].contains(status)), "{answers:?}");
    assert!(count > 0 && reloads(&gateway, "applied") == count as f64);
}
