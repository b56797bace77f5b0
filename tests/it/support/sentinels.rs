//! A master, its replicas and the Sentinels that watch them, on free ports, ended with the value. A
//! server is named by its number: the first is the master at the beginning.
//!
//! A network can be parted where the plan asks for it: each server is then reached through a proxy,
//! its door, which is its address for everybody and tells who is asking by where he comes from:
//! Sentinels and replicas from `BACKSTAGE`, gateways from 127.0.0.1. Sentinels reach one another,
//! and this test its servers, without a door.

mod parted;
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use redis::{FromRedisValue, RedisResult};

use super::fault_proxy::FaultProxy;
use super::redis::{RedisServer, free_port, wait_within};

/// What the Sentinels call the master.
const NAME: &str = "mymaster";
/// After so many milliseconds without an answer a server is thought dead.
const DOWN_AFTER: &str = "700";
/// An attempt that comes to nothing is made again after twice so many milliseconds.
const FAILOVER_TIMEOUT: &str = "2000";
/// A Sentinel that was itself held up for two seconds trusts nothing for half a minute (TILT).
const ELECTION_TIMEOUT: Duration = Duration::from_secs(90);
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// Where Sentinels and replicas connect from.
const BACKSTAGE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What it is to be like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// With a door before each server.
    pub(crate) partable: bool,
    /// Of the servers.
    pub(crate) password: Option<&'static str>,
    /// Name and password of the only user at the Sentinels.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// Further arguments of every server.
    pub(crate) arguments: &'static [&'static str],
}

/// Running servers and Sentinels; killed when dropped.
pub(crate) struct Sentinels {
    plan: Plan,
    servers: Vec<RedisServer>,
    /// Of each server, if the plan asks for them.
    doors: Vec<FaultProxy>,
    watchers: Vec<RedisServer>,
    /// The servers that run.
    alive: Vec<bool>,
}

// === impl Sentinels ===

impl Sentinels {
    pub(crate) fn start() -> Self {
        Self::start_with(Plan::default())
    }

    /// Starts all and waits until the Sentinels know one another and the replicas.
    pub(crate) fn start_with(plan: Plan) -> Self {
        let (servers, doors, watchers) = (Vec::new(), Vec::new(), Vec::new());
        let alive = vec![true; 1 + REPLICAS];
        let mut all = Self { plan, servers, doors, watchers, alive };
        for _ in 0..=REPLICAS {
            all.start_server();
        }
        for replica in 1..=REPLICAS {
            all.wait_for_replica(replica);
        }
        for _ in 0..SENTINELS {
            let sentinel = all.start_sentinel();
            all.watchers.push(sentinel);
        }
        all.wait_until_well();
        all
    }

    fn start_server(&mut self) {
        let port = free_port();
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut words: Vec<String> = Vec::new();
        let mut more = |text: &str| words.extend(text.split(' ').map(str::to_owned));
        more("--repl-diskless-sync-delay 0");
        if let Some(password) = self.plan.password {
            more(&format!("--requirepass {password} --masterauth {password}"));
        }
        if self.plan.partable {
            let door = FaultProxy::start(own);
            let (ip, port) = (door.address().ip(), door.address().port());
            more(&format!("--replica-announce-ip {ip} --replica-announce-port {port}"));
            more(&format!("--bind-source-addr {BACKSTAGE}"));
            self.doors.push(door);
        }
        if !self.servers.is_empty() {
            let master = self.address(0);
            more(&format!("--replicaof {} {}", master.ip(), master.port()));
        }
        for argument in self.plan.arguments {
            more(argument);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let login = self.plan.password.map_or_else(String::new, |word| format!(":{word}@"));
        self.servers.push(RedisServer::start_at(port, &login, &words));
    }

    fn start_sentinel(&self) -> RedisServer {
        let (port, master) = (free_port(), self.address(0));
        let (ip, at) = (master.ip(), master.port());
        let mut lines = format!("sentinel monitor {NAME} {ip} {at} {QUORUM}\n");
        let mut more = |line: &str| lines.extend([line, "\n"]);
        more(&format!("sentinel down-after-milliseconds {NAME} {DOWN_AFTER}"));
        more(&format!("sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT}"));
        more(&format!("sentinel parallel-syncs {NAME} {REPLICAS}"));
        more(&format!("sentinel announce-ip 127.0.0.1\nsentinel announce-port {port}"));
        if self.plan.partable {
            more(&format!("bind-source-addr {BACKSTAGE}"));
        }
        if let Some(password) = self.plan.password {
            more(&format!("sentinel auth-pass {NAME} {password}"));
        }
        let mut login = String::new();
        if let Some((user, password)) = self.plan.user {
            more(&format!("user {user} on >{password} allchannels +@all\nuser default off"));
            more(&format!("sentinel sentinel-user {user}\nsentinel sentinel-pass {password}"));
            login = format!("{user}:{password}@");
        }
        RedisServer::start_sentinel(port, &login, &lines)
    }

    fn wait_for_replica(&self, server: usize) {
        wait_within(ELECTION_TIMEOUT, "a replica to have the data", || {
            let link = self.info(server, "replication", "master_link_status");
            link.is_some_and(|link| link == "up")
        });
    }

    /// Waits until all Sentinels know one another, reach the master, and know of replicas enough for
    /// a failover.
    pub(crate) fn wait_until_well(&self) {
        wait_within(ELECTION_TIMEOUT, "the Sentinels to be well", || {
            self.watchers.iter().all(|sentinel| {
                let told = ask::<Vec<String>>(sentinel, &["SENTINEL", "MASTER", NAME]);
                let told = told.unwrap_or_default();
                let says = |name: &str| {
                    let at = told.iter().step_by(2).position(|word| word == name)?;
                    told.get(2 * at + 1).map(String::as_str)
                };
                says("flags") == Some("master")
                    && says("num-other-sentinels") == Some(&(SENTINELS - 1).to_string())
                    && says("num-slaves") == Some(&REPLICAS.to_string())
                    && ask::<String>(sentinel, &["SENTINEL", "CKQUORUM", NAME]).is_ok()
            })
        });
    }

    /// Where a server is for everybody.
    pub(crate) fn address(&self, server: usize) -> SocketAddr {
        let door = self.doors.get(server).map(FaultProxy::address);
        door.unwrap_or_else(|| self.servers[server].address())
    }

    /// The addresses of the Sentinels.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.watchers.iter().map(RedisServer::address).collect()
    }

    /// The master by name, as gateways are told.
    pub(crate) fn url(&self) -> String {
        let login = self.plan.password.map_or_else(String::new, |word| format!(":{word}@"));
        format!("redis://{login}{NAME}/0")
    }

    /// The beginning of a gateway's configuration: `[store]` with these Sentinels and `more` keys.
    pub(crate) fn store(&self, more: &str) -> String {
        let servers: Vec<String> =
            self.addresses().iter().map(|address| format!("\"{address}\"")).collect();
        let (url, servers) = (self.url(), servers.join(", "));
        let login = self.plan.user.map_or_else(String::new, |(user, password)| {
            format!("username = \"{user}\"\npassword = \"{password}\"\n")
        });
        format!(
            "[store]\ntopology = \"sentinel\"\nurl = \"{url}\"\n{more}[store.sentinel]\n\
             servers = [{servers}]\n{login}"
        )
    }

    pub(crate) fn server(&self, server: usize) -> &RedisServer {
        &self.servers[server]
    }

    pub(crate) fn sentinel(&self, sentinel: usize) -> &RedisServer {
        &self.watchers[sentinel]
    }

    /// Which server all Sentinels say is the master, if they agree and it says so too.
    pub(crate) fn master(&self) -> Option<usize> {
        let said = self.watchers.iter().map(|sentinel| {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
            let (ip, port): (IpAddr, u16) = ask(sentinel, &words)
                .ok()
                .and_then(|(ip, port): (String, u16)| Some((ip.parse().ok()?, port)))?;
            Some(SocketAddr::from((ip, port)))
        });
        let said: Vec<Option<SocketAddr>> = said.collect();
        let server = (0..self.servers.len()).find(|server| said[0] == Some(self.address(*server)));
        let agreed = server.filter(|_| said.windows(2).all(|pair| pair[0] == pair[1]));
        agreed.filter(|server| {
            self.alive[*server]
                && self.info(*server, "replication", "role").as_deref() == Some("master")
        })
    }

    /// Waits until there is a master, and another one than this; its number.
    pub(crate) fn wait_for_other_master(&self, than: usize) -> usize {
        let mut found = None;
        wait_within(ELECTION_TIMEOUT, "another master", || {
            found = self.master().filter(|master| *master != than);
            found.is_some()
        });
        found.expect("there is one")
    }

    /// What a server says of itself, if it answers. On a fresh connection: Sentinels cut the
    /// connections of a server that they give another role.
    pub(crate) fn info(&self, server: usize, section: &str, name: &str) -> Option<String> {
        let text: String = ask(&self.servers[server], &["INFO", section]).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    }

    /// A planned failover: a replica takes over and the master becomes its replica; the new master.
    pub(crate) fn planned_failover(&self) -> usize {
        let old = self.master().expect("a master");
        wait_within(ELECTION_TIMEOUT, "a Sentinel that begins", || {
            ask::<String>(&self.watchers[0], &["SENTINEL", "FAILOVER", NAME]).is_ok()
        });
        let new = self.wait_for_other_master(old);
        self.wait_for_replica(old);
        new
    }

    /// `kill -9` of the master; its number.
    pub(crate) fn kill_master(&mut self) -> usize {
        let master = self.master().expect("a master");
        self.servers[master].kill();
        self.alive[master] = false;
        master
    }

    /// Starts a dead server again as what it was at first: the Sentinels say what it becomes.
    pub(crate) fn restart(&mut self, server: usize) {
        self.servers[server].restart();
        self.alive[server] = true;
    }

    /// Waits until a server has been made a replica, and has the master's data.
    pub(crate) fn wait_for_demotion(&self, server: usize) {
        self.wait_for_replica(server);
    }

    pub(crate) fn kill_sentinels(&mut self) {
        self.watchers.iter_mut().for_each(RedisServer::kill);
    }

    /// They remember what they had learnt.
    pub(crate) fn restart_sentinels(&mut self) {
        self.watchers.iter_mut().for_each(RedisServer::restart);
        self.wait_until_well();
    }
}

/// Sends a command on a fresh connection.
fn ask<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> RedisResult<T> {
    redis::cmd(words[0]).arg(&words[1..]).query(&mut server.try_connect()?)
}
