//! A Redis Cluster of one's own: servers on free ports that are joined, parted and killed as the test
//! says, ended with the value. A node is named by its number, in the order in which they started:
//! masters first, then the first replica of each, and so on.

mod life;
mod moves;
mod slots;
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::redis::{RedisServer, free_port, wait_until};
pub(crate) use slots::{SLOTS, slot_of};
pub(crate) use view::Peer;

/// After so many milliseconds without an answer a node is thought dead.
const NODE_TIMEOUT: &str = "1500";

/// What a cluster is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) masters: usize,
    /// Of each master.
    pub(crate) replicas: usize,
    /// Nobody serves anything while slots are without a master.
    pub(crate) full_coverage: bool,
    /// Of all nodes, as in a URL: `:password@`.
    pub(crate) login: &'static str,
    /// Further arguments of every node.
    pub(crate) arguments: &'static [&'static str],
}

/// Running nodes; killed when dropped.
pub(crate) struct Cluster {
    plan: Plan,
    nodes: Vec<Node>,
}

struct Node {
    server: RedisServer,
    id: String,
    /// Nodes of one group have the same data: a master and its replicas.
    group: usize,
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    Paused,
    Dead,
    Removed,
}

// === impl Plan ===

impl Default for Plan {
    fn default() -> Self {
        Self { masters: 3, replicas: 1, full_coverage: false, login: "", arguments: &[] }
    }
}

impl Plan {
    fn password(&self) -> Option<&'static str> {
        self.login.strip_suffix('@')?.split_once(':').map(|(_, password)| password)
    }

    fn start_node(&self, group: usize) -> Node {
        // By itself, the system may give the usual port, ten thousand above, to somebody else.
        let bus = free_port().to_string();
        let coverage = if self.full_coverage { "yes" } else { "no" };
        let mut arguments = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
        arguments.extend(["--cluster-node-timeout", NODE_TIMEOUT]);
        arguments.extend(["--cluster-require-full-coverage", coverage]);
        // Replicas stay where they are, and take over however old their data is.
        arguments.extend(["--cluster-allow-replica-migration", "no"]);
        arguments.extend(["--cluster-replica-validity-factor", "0"]);
        arguments.extend(["--repl-diskless-sync-delay", "0"]);
        if let Some(password) = self.password() {
            arguments.extend(["--requirepass", password, "--masterauth", password]);
        }
        arguments.extend(self.arguments);
        let server = RedisServer::start_as(self.login, &arguments);
        let id = server.command(&["CLUSTER", "MYID"]);
        Node { server, id, group, life: Life::Runs }
    }
}

// === impl Cluster ===

impl Cluster {
    /// So many masters with so many replicas each.
    pub(crate) fn start(masters: usize, replicas: usize) -> Self {
        Self::start_with(Plan { masters, replicas, ..Plan::default() })
    }

    /// Starts the nodes, joins them, and waits until each says that all is well.
    pub(crate) fn start_with(plan: Plan) -> Self {
        let mut cluster = Self { plan, nodes: Vec::new() };
        for number in 0..plan.masters * (1 + plan.replicas) {
            cluster.nodes.push(plan.start_node(number % plan.masters));
            // Not two with the same: they would have to settle first who is the newer one.
            cluster.ok(number, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            for other in 0..number {
                cluster.meet(other, number);
            }
        }
        let first = |master: usize| usize::from(SLOTS) * master / plan.masters;
        for master in 0..plan.masters {
            let (from, to) = (first(master), first(master + 1) - 1);
            cluster.ok(master, &["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        cluster.wait_until_well();
        for replica in plan.masters..cluster.nodes.len() {
            let master = cluster.id(replica % plan.masters).to_owned();
            cluster.ok(replica, &["CLUSTER", "REPLICATE", &master]);
        }
        cluster.wait_until_well();
        cluster
    }

    fn meet(&self, node: usize, other: usize) {
        let bus = self.server(other).command::<Vec<String>>(&["CONFIG", "GET", "cluster-port"]);
        let port = self.server(other).address().port().to_string();
        self.ok(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
    }

    /// An empty master joins; its number.
    pub(crate) fn add_master(&mut self) -> usize {
        let number = self.nodes.len();
        self.nodes.push(self.plan.start_node(number));
        // Above what the others may have come to by now.
        self.ok(number, &["CLUSTER", "SET-CONFIG-EPOCH", &(1000 + number).to_string()]);
        for other in self.running() {
            if other != number {
                self.meet(other, number);
            }
        }
        self.wait_until_well();
        number
    }

    /// An empty replica of this master joins; its number.
    pub(crate) fn add_replica(&mut self, of: usize) -> usize {
        let number = self.add_master();
        self.ok(number, &["CLUSTER", "REPLICATE", self.id(of)]);
        self.nodes[number].group = self.nodes[of].group;
        self.wait_until_well();
        number
    }

    /// Waits until all running nodes know and reach one another and agree on who is whose replica
    /// and who has which slots, each says that the cluster serves, and every replica has its
    /// master's data.
    pub(crate) fn wait_until_well(&self) {
        wait_until("the cluster to be well", || self.is_well());
    }

    fn is_well(&self) -> bool {
        let running = self.running();
        let ids: BTreeSet<&str> = running.iter().map(|node| self.id(*node)).collect();
        let serves = |node: usize| {
            let link = self.server(node).info("replication", "master_link_status");
            let state: String = self.server(node).command(&["CLUSTER", "INFO"]);
            link.is_none_or(|link| link == "up") && state.contains("cluster_state:ok")
        };
        // What a node says of those that run, if that is good.
        let good = |node: usize| {
            let running = |peer: &Peer| ids.contains(peer.id.as_str()) && peer.is_well();
            let view: Vec<Peer> = self.view(node).into_iter().filter(running).collect();
            let roles = view.into_iter().map(|peer| (peer.id, (peer.master, peer.slots)));
            let roles: BTreeMap<_, _> = roles.collect();
            (roles.len() == ids.len() && serves(node)).then_some(roles)
        };
        let views: Option<Vec<_>> = running.iter().map(|node| good(*node)).collect();
        views.is_some_and(|views| views.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// A node that answers where the slots are, as gateways are told.
    pub(crate) fn url(&self) -> String {
        self.server(0).url().replace("redis://", &format!("redis://{}", self.plan.login))
    }

    /// The beginning of a gateway's configuration: `[store]` with this cluster and `more` keys.
    pub(crate) fn store(&self, more: &str) -> String {
        let others = self.nodes().into_iter().skip(1).map(|node| format!("\"{node}\""));
        let others: Vec<String> = others.collect();
        let (url, others) = (self.url(), others.join(", "));
        format!("[store]\ntopology = \"cluster\"\nurl = \"{url}\"\nnodes = [{others}]\n{more}")
    }

    /// The addresses of all nodes but those that were removed.
    pub(crate) fn nodes(&self) -> Vec<SocketAddr> {
        let stay = self.nodes.iter().filter(|node| node.life != Life::Removed);
        stay.map(|node| node.server.address()).collect()
    }

    pub(crate) fn server(&self, node: usize) -> &RedisServer {
        &self.nodes[node].server
    }

    pub(crate) fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    fn password(&self) -> Option<&'static str> {
        self.plan.password()
    }

    /// What a running node says of all nodes.
    pub(crate) fn view(&self, from: usize) -> Vec<Peer> {
        Peer::all(&self.server(from).command::<String>(&["CLUSTER", "NODES"]))
    }

    /// What a running node says of itself.
    pub(crate) fn itself(&self, node: usize) -> Peer {
        let mut own = self.view(node).into_iter().filter(|peer| peer.is("myself"));
        own.next().expect("every node knows itself")
    }

    /// The numbers of those that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].life == Life::Runs).collect()
    }

    /// The running masters, whether they have slots or not.
    pub(crate) fn masters(&self) -> Vec<usize> {
        self.running().into_iter().filter(|node| self.itself(*node).is("master")).collect()
    }

    /// The running node that serves this slot by its own word; the latest, if several say so.
    pub(crate) fn master_of(&self, slot: u16) -> usize {
        let claims = self.running().into_iter().map(|node| (self.itself(node), node));
        let latest = claims.filter(|(peer, _)| peer.owns(slot)).max_by_key(|(peer, _)| peer.epoch);
        latest.unwrap_or_else(|| panic!("nobody serves slot {slot}")).1
    }

    /// The running replicas of the same group as this node, which may be dead.
    pub(crate) fn replicas_of(&self, master: usize) -> Vec<usize> {
        let group = self.nodes[master].group;
        let mates = self.running().into_iter().filter(|node| self.nodes[*node].group == group);
        mates.filter(|node| *node != master && self.itself(*node).is("slave")).collect()
    }

    pub(crate) fn set_config_everywhere(&self, name: &str, value: &str) {
        for node in self.running() {
            self.ok(node, &["CONFIG", "SET", name, value]);
        }
    }

    /// How often a node has run each command, by its name in small letters.
    pub(crate) fn calls(&self, node: usize) -> BTreeMap<String, u64> {
        let text: String = self.server(node).command(&["INFO", "commandstats"]);
        let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
        let count = |stats: &str| stats.strip_prefix("calls=")?.split(',').next()?.parse().ok();
        lines.map(|(name, stats)| (name.to_owned(), count(stats).expect("a number"))).collect()
    }

    /// All keys, of the masters.
    pub(crate) fn keys(&self) -> Vec<String> {
        let each = self.masters().into_iter();
        each.flat_map(|node| self.server(node).command::<Vec<String>>(&["KEYS", "*"])).collect()
    }

    /// What a node's data takes, in bytes.
    pub(crate) fn used_memory(&self, node: usize) -> u64 {
        let bytes = self.server(node).info("memory", "used_memory");
        bytes.and_then(|bytes| bytes.parse().ok()).expect("a number")
    }

    /// A command whose answer says nothing.
    fn ok(&self, node: usize, words: &[&str]) {
        self.server(node).command::<()>(words);
    }
}
