//! A cluster whose nodes are spoken to over TLS, and speak to one another so.

use super::scene::{STORE, by_ip, decided, gateway, passed, rule};
use crate::support::app::App;
use crate::support::certificates::Authority;
use crate::support::cluster::SLOTS;
use crate::support::redis::{RedisServer, free_port, wait_until};

const NODES: u16 = 3;

/// A master with TLS beside its plain port, and where it listens for that.
fn start(authority: &Authority) -> (RedisServer, u16) {
    let (port, bus) = (free_port(), free_port().to_string());
    let [ca, certificate, key] =
        ["ca.pem", "redis.pem", "redis.key"].map(|file| authority.path(file));
    let tls = port.to_string();
    let files = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate];
    let more = ["--tls-key-file", &key, "--tls-port", &tls, "--tls-auth-clients", "no"];
    let own = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--tls-cluster", "yes"];
    let server = RedisServer::start_with(&[files.as_slice(), &more, &own].concat());
    (server, port)
}

/// Joins the nodes, each with a part of the slots.
fn join(nodes: &[(RedisServer, u16)]) {
    for ((server, _), number) in nodes.iter().zip(0..) {
        let first = |node: u16| u32::from(SLOTS) * u32::from(node) / u32::from(NODES);
        let (from, to) = (first(number).to_string(), (first(number + 1) - 1).to_string());
        let epoch = (number + 1).to_string();
        server.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        server.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        for (other, port) in nodes {
            let bus: Vec<String> = other.command(&["CONFIG", "GET", "cluster-port"]);
            let port = port.to_string();
            server.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
        }
    }
    wait_until("the cluster to be well", || {
        nodes.iter().all(|(server, _)| {
            let state: String = server.command(&["CLUSTER", "INFO"]);
            state.contains("cluster_state:ok") && state.contains("cluster_size:3")
        })
    });
}

#[test]
fn a_cluster_is_spoken_to_over_tls() {
    let (authority, app) = (Authority::new(), App::start());
    authority.sign("redis", &["127.0.0.1"]);
    let nodes = [(); NODES as usize].map(|()| start(&authority));
    join(&nodes);
    let store = format!(
        "[store]\ntopology = \"cluster\"\nurl = \"rediss://127.0.0.1:{}\"\n{STORE}\
         [store.tls]\nca = \"{}\"\n",
        nodes[0].1,
        authority.path("ca.pem")
    );
    let gateway = gateway(&store, app.address(), &(by_ip(2, "") + &rule("/**", &["by-ip"])));
    for host in 1..=20 {
        assert_eq!(passed(&gateway, &format!("192.0.2.{host}"), 3), 2);
    }
    assert_eq!(decided(&gateway, "redis"), 60.0);
    for (server, _) in &nodes {
        let keys: Vec<String> = server.command(&["KEYS", "*:by-ip:s"]);
        assert!(!keys.is_empty(), "each master has some");
    }
}
