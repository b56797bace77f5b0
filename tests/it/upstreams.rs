//! Several servers of an application: which of them a request goes to, and what becomes of it when
//! they fail.

mod balance;
mod checks;
mod down;
mod ejection;
mod killed;
mod reload;
mod retries;
mod server;

use std::net::SocketAddr;

use crate::support::gateway::Gateway;

/// A gateway whose one upstream has these servers and these further lines.
fn gateway(servers: &[SocketAddr], more: &str) -> Gateway {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    listing(&servers.join(", "), more)
}

/// The same, with `servers` as they are written.
fn listing(servers: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[store]\nkind = \"local\"\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n\
         [upstreams.app]\nservers = [{servers}]\n{more}\n"
    ))
}

/// Of `sluicegate_upstream_NAME`.
fn upstream(gateway: &Gateway, name: &str, labels: &[&str]) -> u64 {
    gateway.metric(&format!("sluicegate_upstream_{name}"), labels) as u64
}

/// Requests that failed, by kind.
fn failed(gateway: &Gateway, kind: &str) -> u64 {
    upstream(gateway, "errors_total", &[&format!("kind=\"{kind}\"")])
}
