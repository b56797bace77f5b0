//! What stays as it was at the start: the addresses that are listened on, the number of threads, and
//! how the store is reached. Key by key, so that an operator sees what a reload has not done.

use serde_json::{Map, Value, json};

use crate::config::{ClientCertificate, Config, Sentinel, Store, Topology};

/// The way out, wherever it is said that a value stays.
pub(super) const WAY_OUT: &str = "takes a restart, or an upgrade, which loses no request";

/// A key whose value in the file is not the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As in `server.threads`.
    pub key: &'static str,
    /// As it is shown; null where it is the default. Of a file's contents only the path is shown.
    pub in_force: Value,
    /// The same, of the file as it was read last.
    pub in_file: Value,
}

/// The keys in which `new` differs from what the process has `started` with.
pub(super) fn differing(started: &Config, new: &Config) -> Vec<&'static str> {
    let (server, new_server) = (&started.server, &new.server);
    let mut each = vec![
        ("server.listen", server.listen != new_server.listen),
        ("server.threads", server.threads != new_server.threads),
        ("server.h2c", server.h2c != new_server.h2c),
        ("server.upgrade_socket", server.upgrade_socket != new_server.upgrade_socket),
        ("tls.listen", started.https.listen != new.https.listen),
        ("admin.listen", started.admin != new.admin),
    ];
    each.extend(of_store(&started.store, &new.store));
    each.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn of_store(old: &Store, new: &Store) -> Vec<(&'static str, bool)> {
    let (nodes, new_nodes) = (nodes(&old.topology), nodes(&new.topology));
    let (sentinel, new_sentinel) = (sentinel(&old.topology), sentinel(&new.topology));
    let word = std::mem::discriminant;
    let own = |client: Option<&ClientCertificate>| {
        let client = client.map(|own| (own.certificate.clone(), own.key.clone()));
        client.unzip()
    };
    let (certificate, key) = own(old.tls.client.as_ref());
    let (new_certificate, new_key) = own(new.tls.client.as_ref());
    let of_sentinel = |differs: fn(&Sentinel, &Sentinel) -> bool| match (sentinel, new_sentinel) {
        (Some(old), Some(new)) => differs(old, new),
        _ => false,
    };
    vec![
        ("store.kind", old.kind != new.kind),
        ("store.url", old.url != new.url),
        ("store.topology", word(&old.topology) != word(&new.topology)),
        ("store.nodes", nodes != new_nodes),
        ("store.key_prefix", old.key_prefix != new.key_prefix),
        ("store.local_memory", old.local_memory != new.local_memory),
        ("store.sentinel", sentinel.is_some() != new_sentinel.is_some()),
        ("store.sentinel.servers", of_sentinel(|old, new| old.servers != new.servers)),
        ("store.sentinel.username", of_sentinel(|old, new| old.username != new.username)),
        ("store.sentinel.password", of_sentinel(|old, new| old.password != new.password)),
        ("store.sentinel.tls", of_sentinel(|old, new| old.tls != new.tls)),
        ("store.tls.ca", old.tls.ca != new.tls.ca),
        ("store.tls.certificate", certificate != new_certificate),
        ("store.tls.key", key != new_key),
    ]
}

fn nodes(topology: &Topology) -> &[(String, u16)] {
    if let Topology::Cluster { nodes } = topology { nodes } else { &[] }
}

fn sentinel(topology: &Topology) -> Option<&Sentinel> {
    if let Topology::Sentinel(sentinel) = topology { Some(sentinel) } else { None }
}

/// Puts the values that stay into `new`.
pub(super) fn keep(started: &Config, new: &mut Config) {
    new.server.listen.clone_from(&started.server.listen);
    new.server.threads = started.server.threads;
    new.server.h2c = started.server.h2c;
    new.server.upgrade_socket.clone_from(&started.server.upgrade_socket);
    // Nobody is sent to a listener that is not there.
    new.https.listen.clone_from(&started.https.listen);
    new.admin = started.admin;
    // Keys go on as they are: the store is the one that the process started with.
    let Store { timeout, deny_cache, expected_instances, .. } = new.store;
    new.store = Store { timeout, deny_cache, expected_instances, ..started.store.clone() };
}

/// Each of `keys` with its two values, and `document`, which was read last, as it is in force.
pub(super) fn in_force(
    keys: &[&'static str],
    started: &Value,
    mut document: Value,
) -> (Vec<Kept>, Value) {
    let mut kept = Vec::with_capacity(keys.len());
    for &key in keys {
        let (in_force, in_file) = (find(started, key), find(&document, key));
        kept.push(Kept { key, in_force: in_force.clone(), in_file });
        put(&mut document, key, in_force);
    }
    (kept, document)
}

fn find(document: &Value, key: &str) -> Value {
    key.split('.').try_fold(document, |at, part| at.get(part)).cloned().unwrap_or_default()
}

/// Puts `value` at `key`; null takes away what is there.
fn put(document: &mut Value, key: &str, value: Value) {
    let Some(table) = document.as_object_mut() else { return };
    match key.split_once('.') {
        Some((table_name, rest)) => {
            if value.is_null() && !table.contains_key(table_name) {
                return;
            }
            put(table.entry(table_name).or_insert_with(|| Map::new().into()), rest, value);
        }
        None if value.is_null() => drop(table.shift_remove(key)),
        None => drop(table.insert(key.to_owned(), value)),
    }
}

// === impl Kept ===

impl Kept {
    /// For the pages of the operator.
    pub fn shown(&self) -> Value {
        let Self { key, in_force, in_file } = self;
        json!({ "key": key, "in_force": in_force, "in_file": in_file, "help": WAY_OUT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
                        [[routes]]\npath = \"/**\"\nupstream = \"app\"\n";

    fn config(text: &str) -> Config {
        let read = Config::parse(&format!("{text}{REST}"), "gateway.toml", &|_| None, 0);
        read.unwrap_or_else(|problems| panic!("{problems}")).0
    }

    #[test]
    fn every_key_that_stays_is_said_by_itself_and_shown_as_it_is_in_force() {
        let started = config("[server]\nthreads = 2\nmax_headers = 50\n");
        let lines = [
            ("server.listen", "[server]\nlisten = [\"127.0.0.1:81\"]\n"),
            ("server.threads", "[server]\nthreads = 3\n"),
            ("server.h2c", "[server]\nthreads = 2\nh2c = true\n"),
            ("server.upgrade_socket", "[server]\nthreads = 2\nupgrade_socket = \"/run/sg/up\"\n"),
            ("admin.listen", "[admin]\nlisten = \"127.0.0.1:82\"\n"),
            ("store.kind", "[store]\nkind = \"local\"\n"),
            ("store.url", "[store]\nurl = \"redis://u:s3cret@10.0.0.1\"\n"),
            ("store.topology", "[store]\ntopology = \"cluster\"\n"),
            ("store.nodes", "[store]\ntopology = \"cluster\"\nnodes = [\"10.0.0.2:1\"]\n"),
            ("store.key_prefix", "[store]\nkey_prefix = \"x\"\n"),
            ("store.local_memory", "[store]\nlocal_memory = \"1MiB\"\n"),
            (
                "store.sentinel",
                "[store]\nurl = \"redis://master\"\ntopology = \"sentinel\"\n\
                 [store.sentinel]\nservers = [\"10.0.0.1:1\"]\n",
            ),
        ];
        for (key, text) in lines {
            let mut new = config(text);
            let keys = differing(&started, &new);
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
            let (kept, shown) = in_force(&keys, &started.document(), new.document());
            let said: Vec<Value> = kept.iter().map(Kept::shown).collect();
            assert!(!Value::from(said).to_string().contains("s3cret"));
            assert_eq!(find(&shown, key), find(&started.document(), key), "{key}");
            keep(&started, &mut new);
            assert_eq!(differing(&started, &new), [""; 0], "{key}");
        }
        let same =
            config("[server]\nthreads = 2\n[store]\ntimeout = \"1s\"\ndeny_cache = \"2s\"\n");
        assert_eq!(differing(&started, &same), [""; 0]);
    }

    #[test]
    fn of_the_sentinels_each_key_is_said() {
        let sentinel = |rest: &str| {
            config(&format!(
                "[store]\nurl = \"redis://master\"\ntopology = \"sentinel\"\n[store.sentinel]\n{rest}\n"
            ))
        };
        let started = sentinel("servers = [\"10.0.0.1:1\"]\npassword = \"a\"");
        let differing = |rest: &str| differing(&started, &sentinel(rest));
        let of_one = "servers = [\"10.0.0.1:1\"]";
        assert_eq!(
            differing("servers = [\"10.0.0.2:1\"]\npassword = \"a\""),
            ["store.sentinel.servers"]
        );
        assert_eq!(differing(&format!("{of_one}\npassword = \"b\"")), ["store.sentinel.password"]);
        let user = format!("{of_one}\npassword = \"a\"\nusername = \"u\"");
        assert_eq!(differing(&user), ["store.sentinel.username"]);
        assert_eq!(
            differing(&format!("{of_one}\npassword = \"a\"\ntls = true")),
            ["store.sentinel.tls"]
        );
    }
}
