//! Every way to reach Redis that the configuration knows, each with a Redis of its own.

pub(crate) mod acl;
mod tls;

use std::path::PathBuf;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::redis::RedisServer;

/// Characters that mean something in a URL, and how a URL spells them.
const PASSWORD: &str = "p@ss:w/rd?#%&+ ß";
const PASSWORD_IN_URL: &str = "p%40ss%3Aw%2Frd%3F%23%25%26%2B%20%C3%9F";
/// A generous timeout: on a busy machine a slow answer of Redis would be a local decision.
const TIMEOUT: &str = "timeout = \"1s\"\n";

/// A gateway in front of an application, with a quota of two and the store at `url`.
fn gateway(app: &App, url: &str, store: &str) -> Gateway {
    Gateway::start(&format!(
        "[store]\nurl = \"{url}\"\n{TIMEOUT}{store}{}[policies.two]\nquota = 2\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"two\"]\n",
        app_at(app.address())
    ))
}

/// Asks three times and says how the gateway decided.
fn decided(gateway: &Gateway, provenance: &str) -> f64 {
    let statuses: Vec<u16> = (0..3).map(|_| gateway.get("/").status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429], "it limits, whoever decides");
    let label = format!("provenance=\"{provenance}\"");
    gateway.metric("sluicegate_decisions_total", &[&label])
}

/// Redis itself decides, behind this URL.
fn redis_decides(url: &str, store: &str) {
    let app = App::start();
    let gateway = gateway(&app, url, store);
    gateway.wait_for_store("up");
    assert!(decided(&gateway, "redis") >= 3.0, "{}", gateway.log());
    assert!(!gateway.log().contains("redis is away"), "{}", gateway.log());
}

fn keys(redis: &RedisServer, database: u8) -> Vec<String> {
    let mut connection = redis.connect();
    let _: () = redis::cmd("SELECT").arg(database).query(&mut connection).expect("it is there");
    redis::cmd("KEYS").arg("*").query(&mut connection).expect("it answers")
}

/// Changes a user of `redis`, in the words of ACL SETUSER.
fn set_user(redis: &RedisServer, words: &[&str]) {
    let mut command = redis::cmd("ACL");
    let _: () =
        command.arg("SETUSER").arg(words).query(&mut redis.connect()).expect("a valid user");
}

#[test]
fn over_tcp() {
    let redis = RedisServer::start();
    redis_decides(&redis.url(), "");
    assert!(keys(&redis, 0).contains(&"sg:{127.0.0.1}:two:s".to_owned()));
}

#[test]
fn in_a_database_of_its_own() {
    let redis = RedisServer::start();
    redis_decides(&format!("{}/3", redis.url()), "");
    assert!(keys(&redis, 3).contains(&"sg:{127.0.0.1}:two:s".to_owned()));
    assert_eq!(keys(&redis, 0), Vec::<String>::new(), "nothing beside it");
}

#[test]
fn as_a_user_with_a_password() {
    let redis = RedisServer::start();
    set_user(&redis, &["us:er", "on", &format!(">{PASSWORD}"), "~*", "+@all"]);
    let address = redis.url().replace("redis://", "");
    redis_decides(&format!("redis://us%3Aer:{PASSWORD_IN_URL}@{address}"), "");
}

#[test]
fn with_the_password_of_the_default_user() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let address = redis.url().replace("redis://", "");
    redis_decides(&format!("redis://:hunter2@{address}"), "");
}

#[test]
fn a_refused_password_is_told_and_not_shown() {
    let (redis, app) = (RedisServer::start_with(&["--requirepass", "right"]), App::start());
    let address = redis.url().replace("redis://", "");
    let gateway = gateway(&app, &format!("redis://:hunter2@{address}"), "");
    gateway.wait_for_store("away");
    assert_eq!(decided(&gateway, "local"), 3.0);
    let log = gateway.log();
    assert!(log.contains("redis is away") && log.contains("WRONGPASS"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn over_a_unix_socket() {
    let socket = Socket::new();
    let redis = RedisServer::start_with(&["--unixsocket", &socket.path()]);
    set_user(&redis, &["us:er", "on", &format!(">{PASSWORD}"), "~*", "+@all"]);
    let query = format!("db=2&user=us%3Aer&pass={PASSWORD_IN_URL}");
    redis_decides(&format!("unix://{}?{query}", socket.path()), "");
    assert!(keys(&redis, 2).contains(&"sg:{127.0.0.1}:two:s".to_owned()));
    assert_eq!(keys(&redis, 0), Vec::<String>::new(), "nothing beside it");
}

/// The place of a socket; removed when dropped, since a killed server leaves it.
struct Socket(PathBuf);

impl Socket {
    fn new() -> Self {
        let name = format!("sluicegate-{}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
