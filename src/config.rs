//! The configuration: valid by construction.
//!
//! [`Config::parse`] reads the file once, reports every mistake at its place, and gives values
//! that the rest of the program cannot misread. No other module sees an unvalidated value.

mod answer;
mod diagnostic;
mod expand;
mod file;
mod https;
mod load;
mod meter;
mod private;
mod reader;
mod secret;
mod sections;
mod server_bounds;
mod shown;
mod size;
mod tls;
mod topology;
mod upstream;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;
use toml::de::DeTable;

use crate::client::Networks;
use crate::identity::Identity;
use crate::request::Reading;
use crate::rules::access::Exempt;
use crate::rules::{Enforcement, PartitionedPolicy, Route, Rule};

pub use answer::{Cors, PolicyAnswer, Response};
pub use diagnostic::{Problem, Problems, Severity};
pub use file::{Stamp, Watched};
pub use https::{Authorities, AuthoritiesFault, Https, Pair, PairFault, Place};
pub(crate) use load::variable;
pub use load::{LoadError, Loaded};
pub use meter::{Metered, Push};
pub use secret::Secret;
pub use server_bounds::ServerBounds;
pub use tls::{ClientCertificate, Pem, Tls, UpstreamTls};
pub use topology::{Sentinel, Topology};
pub use upstream::{
    Balance, Ejection, HealthCheck, Protocol, ServerAddress, Upstream, UpstreamServer,
};
pub use value::spell_duration;

use diagnostic::{Mistake, Source};
use file::{Files, Kept};
use reader::{Reader, Section};

/// Everything the file says, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public listeners.
    pub server: Server,
    /// The public listeners that speak TLS.
    pub https: Https,
    /// Where the operator's listener listens.
    pub admin: SocketAddr,
    /// What is logged.
    pub log: Log,
    /// How requests are read; which headers decide something, the rest says.
    pub request: Reading,
    /// Who a client is.
    pub client: Client,
    /// Who its user is.
    pub identity: IdentitySettings,
    /// Where the counts live.
    pub store: Store,
    /// By name.
    pub upstreams: Vec<Upstream>,
    /// The most specific first.
    pub routes: Vec<Route>,
    /// By name; the place of each is its policy's `id`.
    pub policies: Vec<PartitionedPolicy>,
    /// In the order of the file, which means nothing.
    pub rules: Vec<Rule>,
    /// Whether a CORS preflight is exempt from policies that divide by more than the address.
    pub exempt_preflight: bool,
    /// Which pages may read the gateway's own answers.
    pub cors: Cors,
    /// Whom no limit concerns.
    pub exempt: Exempt,
    /// Who is not let in at all.
    pub deny: Networks,
    /// How far limits are enforced.
    pub rollout: Rollout,
    /// What is counted, by name.
    pub meters: Vec<Metered>,
    /// What a response tells the client.
    pub response: Response,
    /// How each policy refuses, in the order of their ids.
    pub answers: Vec<PolicyAnswer>,
    /// The files that it names and that may change while it is in force.
    pub files: Vec<Watched>,
    origin: Origin,
}

/// What a configuration was read from. It may hold a secret, so `Debug` shows nothing of it.
#[derive(Clone, Default)]
struct Origin {
    text: String,
    file: String,
    /// How the file was before it was read; a pipe, after that.
    found: Stamp,
    kept: Kept,
}

/// `[server]`: the public listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// 1 to 16 addresses, each once; none at all where others speak TLS.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; 0: one per core.
    pub threads: usize,
    /// Whether the listeners also speak HTTP/2 without TLS.
    pub h2c: bool,
    /// How long an idle connection of a client stays open.
    pub keepalive_timeout: Duration,
    /// Longest wait for the next bytes of a client.
    pub read_timeout: Duration,
    /// Longest wait until a client takes the next bytes.
    pub write_timeout: Duration,
    /// How long requests may take to end at a shutdown.
    pub drain_timeout: Duration,
    /// How long new connections are still accepted at a shutdown.
    pub lame_duck: Duration,
    /// Where a new process asks for the listening sockets; absent: nowhere.
    pub upgrade_socket: Option<PathBuf>,
    /// How long connections may take to end when a new process has taken over.
    pub handover_timeout: Duration,
    /// Whether a changed file is read again without being told to.
    pub watch_config: bool,
    /// What connections and requests are held to.
    pub bounds: ServerBounds,
}

/// `[log]`: what is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Whether every request is logged.
    pub access: bool,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What failed.
    Error,
    /// And what is doubtful.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// And everything else.
    Trace,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[client]`: who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peers whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that carries the client's address, in lower case.
    pub forwarded_header: String,
    /// How many leading bits of an IPv4 address make a client.
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address make a client.
    pub ipv6_prefix: u8,
}

/// `[identity]`: who its user is.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// Where users come from.
    pub identity: Identity,
    /// Longest that an answer of Redis about a user is used again.
    pub cache: Duration,
    /// Whether there is any source.
    pub has_user: bool,
    /// Whether any of them may give a tier.
    pub has_tier: bool,
}

/// `[store]`: where the counts live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Shared or not.
    pub kind: StoreKind,
    /// Where Redis listens, and the password. With Sentinels its host is the master's name.
    pub url: Secret,
    /// Which servers there are, and who says where they are.
    pub topology: Topology,
    /// Certificates, where `url` or the Sentinels ask for TLS.
    pub tls: Tls,
    /// The longest wait of a decision.
    pub timeout: Duration,
    /// How long a denial is remembered at most; zero: not at all.
    pub deny_cache: Duration,
    /// What every key begins with.
    pub key_prefix: String,
    /// Gateways that share the quotas when each decides by itself; absent: as many as were last
    /// counted in Redis.
    pub expected_instances: Option<u64>,
    /// Most bytes that this gateway's own states take.
    pub local_memory: usize,
}

/// Which store keeps the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Redis, shared by all gateways.
    Redis,
    /// This gateway's memory.
    Local,
}

/// `[rollout]`: how far limits are enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How far, as long as nobody says otherwise.
    pub mode: Enforcement,
    /// A file that says otherwise for as long as it exists.
    pub switch_file: Option<PathBuf>,
}

// === impl Config ===

impl Config {
    /// Reads `text`, and the certificates, keys and bodies that it names; `file` names it in the
    /// problems, `env` answers for `${NAME}`, and `generation` tells this configuration's policies
    /// from those of an earlier one.
    ///
    /// Gives the configuration and the warnings, or else every mistake of the file at once.
    pub fn parse(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
        generation: u64,
    ) -> Result<(Self, Vec<Problem>), Problems> {
        Self::parse_with(text, file, env, generation, Kept::new())
    }

    /// The same, where the files of `kept` are not read again.
    fn parse_with(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
        generation: u64,
        kept: Kept,
    ) -> Result<(Self, Vec<Problem>), Problems> {
        let source = Source::new(text, file);
        let reader = Reader::new(&source, env, Files::new(kept));
        let (table, faults) = DeTable::parse_recoverable(text);
        if !faults.is_empty() {
            for fault in &faults {
                let span = fault.span().unwrap_or(text.len()..text.len());
                let mistake = Mistake::new(format!("invalid TOML: {}", fault.message()))
                    .help("https://toml.io shows how tables, keys and values are written");
                reader.error(&span, mistake);
            }
            return Err(Problems::new(reader.finish().0));
        }
        let mut config = sections::read(Section::root(&reader, table.get_ref()), generation);
        let (problems, files) = reader.finish();
        let (kept, watched) = files.into_read();
        config.files = watched;
        let found = Stamp::default();
        config.origin = Origin { text: text.to_owned(), file: file.to_owned(), found, kept };
        if problems.iter().any(|problem| problem.severity() == Severity::Error) {
            return Err(Problems::new(problems));
        }
        Ok((config, problems))
    }

    /// The document that it was read from, as it may be shown: variables by their names, and no
    /// secret.
    pub fn document(&self) -> Value {
        shown::document(&self.origin.text)
    }

    /// How the file was found when it was read.
    pub const fn found(&self) -> &Stamp {
        &self.origin.found
    }
}

// === impl Origin ===

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin(***)")
    }
}
