//! `topology` of `[store]`, and the keys that go with it.

use super::url::{Authority, Url};
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::host_port::host_port;
use crate::config::value::{List, Text, is_name};
use crate::config::{Secret, Sentinel, Topology};

/// More nodes than these need not be listed: each knows all the others.
const NODES_MAX: usize = 64;
/// More Sentinels than these watch no master; all of them are asked at once.
const SENTINELS_MAX: usize = 16;
const MASTER_MAX: usize = 253;
const MASTER_HELP: &str = "write the master's name in place of host and port, as in \
                           `redis://mymaster/0`";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
}

/// `url` is `None` where it is absent or a mistake.
pub(super) fn topology(section: &mut Section<'_>, url: Option<&Url>) -> Topology {
    let kinds =
        [("single", Kind::Single), ("sentinel", Kind::Sentinel), ("cluster", Kind::Cluster)];
    let written = section.word("topology", &kinds);
    let kind = written.unwrap_or(Kind::Single);
    // A topology that cannot be read says nothing of what goes with it.
    if written.is_some() || !section.has("topology") {
        if kind != Kind::Cluster {
            useless(section, "nodes", "`nodes`", "cluster");
        }
        if kind != Kind::Sentinel {
            useless(section, "sentinel", "`[store.sentinel]`", "sentinel");
        }
    }
    let nodes = section.list("nodes", 0..=NODES_MAX, |text| server(text, "10.0.0.2:6379"));
    let mut sentinel = sentinel(section.table("sentinel"), url);
    match kind {
        Kind::Single => Topology::Single,
        Kind::Sentinel => {
            if !section.has("sentinel") {
                let mistake =
                    Mistake::new("nobody says where the master is: no `[store.sentinel]`")
                        .help("add it, with `servers = [\"10.0.0.1:26379\"]`");
                section.error(&section.span_of("topology"), mistake);
            }
            sentinel.master = master(section, url).unwrap_or_default();
            Topology::Sentinel(sentinel)
        }
        Kind::Cluster => {
            for_cluster(section, url);
            Topology::Cluster { nodes: nodes.map(List::into_values).unwrap_or_default() }
        }
    }
}

/// Reports `key`, called `name`, which needs the topology `needed`.
fn useless(section: &Section<'_>, key: &str, name: &str, needed: &str) {
    if section.has(key) {
        let mistake = Mistake::new(format!("{name} is of no use: `topology` is not `{needed}`"))
            .help(format!("set `topology = \"{needed}\"` in `[store]`, or leave it out"));
        section.error(&section.key_span(key), mistake);
    }
}

/// `[store.sentinel]`, without the master's name.
fn sentinel(mut section: Section<'_>, url: Option<&Url>) -> Sentinel {
    let example = "10.0.0.1:26379";
    section.require("servers", &format!("[\"{example}\"]"));
    let servers = section.list("servers", 1..=SENTINELS_MAX, |text| server(text, example));
    let username = section.parsed("username", not_empty);
    let password = section.parsed("password", not_empty);
    if section.has("username") && !section.has("password") {
        let mistake = Mistake::new("`username` is of no use without `password`")
            .help("add `password`, or leave both out");
        section.error(&section.key_span("username"), mistake);
    }
    let tls = section.boolean("tls");
    section.finish();
    Sentinel {
        master: String::new(),
        servers: servers.map(List::into_values).unwrap_or_default(),
        username,
        password: password.map(Secret::whole),
        tls: tls.unwrap_or_else(|| url.is_some_and(Url::is_encrypted)),
    }
}

fn server(text: &Text, example: &str) -> Result<(String, u16), Mistake> {
    host_port(&text.value).ok_or_else(|| {
        let help = if text.value.contains("://") {
            format!("leave the scheme out, as in `{example}`")
        } else {
            format!("host and port, as in `{example}`; an IPv6 address in brackets")
        };
        Mistake::new(format!("not the address of a server: {}", text.shown())).help(help)
    })
}

/// Of an empty one it would be unclear whether it is meant: a variable may be empty by mistake.
fn not_empty(text: &Text) -> Result<String, Mistake> {
    if text.value.is_empty() {
        return Err(Mistake::new("empty: nobody logs in with that")
            .help("leave it out where the Sentinels ask for no login"));
    }
    Ok(text.value.clone())
}

/// The master's name in the URL.
fn master(section: &Section<'_>, url: Option<&Url>) -> Option<String> {
    let Some(url) = url else {
        if !section.has("url") {
            let mistake = Mistake::new("nothing says what the master is called: no `url`");
            section.error(&section.span_of("topology"), mistake.help(MASTER_HELP));
        }
        return None;
    };
    let said = match &url.authority {
        None => Err("a socket of this machine is no master of Sentinels"),
        Some(Authority { has_port: true, .. }) => {
            Err("the URL has a port: with Sentinels it names no server, but the master")
        }
        Some(Authority { host, .. }) if is_name(host, MASTER_MAX) => Ok(host.clone()),
        Some(_) => Err("the URL's host is not the name of a master"),
    };
    said.map_err(|why| section.error(&section.span_of("url"), Mistake::new(why).help(MASTER_HELP)))
        .ok()
}

/// What a cluster does not have.
fn for_cluster(section: &Section<'_>, url: Option<&Url>) {
    let mistake = match url.map(|url| &url.authority) {
        Some(None) => Mistake::new("a socket of this machine is no node of a cluster")
            .help("write the URL of a node, as in `redis://10.0.0.1:6379`"),
        Some(Some(Authority { database: 1.., .. })) => {
            Mistake::new("a cluster has the database 0 only")
                .help("leave the database out of the URL, as in `redis://10.0.0.1:6379`")
        }
        _ => return,
    };
    section.error(&section.span_of("url"), mistake);
}
