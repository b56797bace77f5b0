//! Which servers keep the counts: what is read of `[store]`.

use sluicegate::config::{Config, Secret, Sentinel, Topology};

use super::{FULL, parse};

const SOMEWHERE: &str = "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n";

/// What `store`, the lines below `[store]`, gives.
fn read(store: &str) -> Config {
    let text = format!("{SOMEWHERE}[store]\n{store}\n");
    let (config, warnings) = parse(&text, &[("PASSWORD", "hunter2")]).expect(store);
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

fn places(servers: &[(&str, u16)]) -> Vec<(String, u16)> {
    servers.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
}

fn sentinel(config: &Config) -> &Sentinel {
    match &config.store.topology {
        Topology::Sentinel(sentinel) => sentinel,
        other => panic!("not of Sentinels: {other:?}"),
    }
}

#[test]
fn one_server_is_the_default() {
    assert_eq!(read("").store.topology, Topology::Single);
    assert_eq!(read("topology = \"single\"").store.topology, Topology::Single);
}

#[test]
fn a_cluster_needs_no_more_than_the_url() {
    for url in ["", "url = \"redis://u:p@h\"", "url = \"redis://h:1/\"", "url = \"rediss://h/0\""] {
        let config = read(&format!("topology = \"cluster\"\n{url}"));
        assert_eq!(config.store.topology, Topology::Cluster { nodes: Vec::new() }, "{url}");
    }
}

#[test]
fn nodes_are_hosts_and_ports() {
    let list = "nodes = [\"10.0.0.2:6379\", \"redis_3.internal:1\", \"[2001:db8::4]:65535\"]";
    let config = read(&format!("topology = \"cluster\"\n{list}"));
    let nodes = places(&[("10.0.0.2", 6_379), ("redis_3.internal", 1), ("2001:db8::4", 65_535)]);
    assert_eq!(config.store.topology, Topology::Cluster { nodes });
    assert_eq!(
        read("topology = \"cluster\"\nnodes = []").store.url.expose(),
        "redis://127.0.0.1:6379"
    );
}

#[test]
fn every_key_of_sentinels_is_read() {
    let (config, _) = parse(FULL, &[("PASSWORD", "hunter2")]).expect("a valid file");
    let read = sentinel(&config);
    assert_eq!(read.master, "counts.main_1");
    let servers = [("10.0.0.1", 26_379), ("sentinel-2.internal", 5_000), ("::1", 26_379)];
    assert_eq!(read.servers, places(&servers));
    assert_eq!(read.username.as_deref(), Some("gate"));
    assert_eq!(read.password.as_ref().map(Secret::expose), Some("sesame"));
    assert!(read.tls);
}

/// Also that a name is kept as it is written: Sentinels tell `M` from `m`.
#[test]
fn sentinels_are_spoken_to_as_the_servers_are() {
    for (url, tls, encrypted) in [
        ("redis://u:p@My-Master", "", false),
        ("redis://My-Master/5", "tls = true", true),
        ("rediss://My-Master/", "", true),
        ("rediss://My-Master", "tls = false", false),
    ] {
        let rest = format!("servers = [\"h:1\"]\n{tls}");
        let text = format!("topology = \"sentinel\"\nurl = \"{url}\"\n[store.sentinel]\n{rest}");
        let config = read(&text);
        assert_eq!(sentinel(&config).tls, encrypted, "{text}");
        assert_eq!(sentinel(&config).master, "My-Master");
    }
}

/// The servers do without TLS, the Sentinels do not.
#[test]
fn certificates_are_of_use_to_sentinels_alone() {
    let rest = "[store.sentinel]\nservers = [\"h:1\"]\ntls = true\n[store.tls]";
    read(&format!("topology = \"sentinel\"\nurl = \"redis://mymaster\"\n{rest}"));
}

#[test]
fn no_password_of_sentinels_is_shown() {
    let rest = "[store.sentinel]\nservers = [\"h:1\"]\npassword = \"${PASSWORD}\"";
    let config = read(&format!("topology = \"sentinel\"\nurl = \"redis://mymaster\"\n{rest}"));
    let sentinel = sentinel(&config);
    let password = sentinel.password.as_ref().expect("a password");
    assert_eq!(password.expose(), "hunter2");
    assert_eq!((password.to_string(), format!("{password:?}")), ("***".into(), "\"***\"".into()));
    assert!(format!("{config:?}").contains("***") && !format!("{config:?}").contains("hunter2"));
    assert_eq!((&sentinel.username, sentinel.tls), (&None, false));
}
