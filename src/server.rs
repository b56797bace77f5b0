//! The composition root: the only place where the parts meet.

mod h2;
mod listeners;
mod service;
mod signals;
mod upstreams;

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;

use crate::admin::Admin;
use crate::client::{ADDRESS_CLAIMS, Clients};
use crate::config::{
    Config, Format, Level, Metered, Pem, PolicyAnswer, Secret, Store, StoreKind, Topology,
};
use crate::delivery::Push;
use crate::demo::SampleApp;
use crate::limit::{Clock, Micros, SystemClock};
use crate::limiter::{Limiter, Shared};
use crate::meter::Meters;
use crate::metrics::Metrics;
use crate::proxy::{ATTEMPTS_MAX, Cors, Proxy, State};
use crate::reload::Reloader;
use crate::request::Reading;
use crate::response::{Answer, Answers, FieldSettings};
use crate::rules::access::Exemptions;
use crate::rules::{Routes, RuleSet};
use crate::store::answers::AnswerCache;
use crate::store::deny_cache::DenyCache;
use crate::store::local::LocalStore;
use crate::store::redis::{
    Address as RedisAddress, Login, RedisStore, SentinelAddress, SetupError,
    Topology as RedisTopology,
};
use crate::telemetry::{self, Logs};
use crate::tls::{Certificates, Keeper};
use crate::upstream::Upstream;
use service::Gateway;
use signals::Signals;

/// Idle connections to upstreams that are kept, over all of them.
const UPSTREAM_POOL: usize = 1024;
/// Files besides those of connections: listeners, Redis, idle connections to upstreams.
const OTHER_FILES: u64 = 64 + UPSTREAM_POOL as u64;
/// Seconds that what is still running gets after the drain.
const LAST_SECONDS: u64 = 1;

/// What to run besides the gateway, and what to say when it listens.
#[derive(Debug, Default)]
pub struct Extras {
    /// Where the sample application listens, if it is wanted.
    pub sample_app: Option<SocketAddr>,
    /// Printed when the gateway is about to listen.
    pub greeting: Option<String>,
}

/// Why the gateway cannot run.
#[derive(Debug)]
pub enum RunError {
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What wanted it.
        wanted_by: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// A part cannot be built from this configuration.
    Build(String),
}

/// Runs the gateway until it is told to stop. `path` is read again on SIGHUP.
pub fn run(config: Config, path: PathBuf, extras: Extras) -> Result<(), RunError> {
    let clock = SystemClock::start();
    let logs = telemetry::start(level(config.log.level), config.log.format == Format::Json, clock);
    choose_cryptography();
    raise_open_files(config.server.bounds.max_connections);
    can_listen(&config, extras.sample_app)?;
    announce(&config);
    let metrics = Arc::new(Metrics::new().map_err(|error| RunError::Build(error.to_string()))?);
    let limiter =
        Arc::new(limiter(&config, clock).map_err(|error| RunError::Build(error.to_string()))?);
    let state = build(&config).map_err(RunError::Build)?;
    let bounds = listeners::bounds(&config.server);
    let proxy =
        Arc::new(Proxy::new(state, Arc::clone(&limiter), Arc::clone(&metrics), clock, bounds));
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let certificates = certificates(&config).map_err(RunError::Build)?;
    let listening = listeners::listeners(&server, &config, certificates.as_ref(), &proxy);
    let listening = listening.map_err(RunError::Build)?;
    let (held, told) = (Arc::clone(&proxy), Arc::clone(&logs));
    server.add_service(Gateway::new(listening, held, told, extras.greeting));
    server.add_service(admin(&config, &proxy, &logs));
    if let Some(address) = extras.sample_app {
        server.add_service(sample_app(address));
    }
    let draining = Arc::clone(&proxy.draining);
    let in_flight = metrics.in_flight().clone();
    let keeper = certificates.map(|held| Keeper::new(held, Arc::clone(&metrics)));
    let reloader = Reloader::new(path, config, proxy, metrics, keeper, build);
    let signals = Signals { draining, in_flight, reloader };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// Each connection of a client is an open file, and so is the one to the application that serves it.
/// Systems give processes few of them until they ask.
fn raise_open_files(connections: usize) {
    let wanted = connections as u64 * 2 + OTHER_FILES;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(files) if files < wanted => tracing::warn!(
            files,
            wanted,
            "this process may open too few files for `server.max_connections`: raise `ulimit -n` \
             or `LimitNOFILE`, or allow fewer connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "how many files may be open cannot be found out"),
    }
}

/// Names ring as the cryptography of all TLS in this process, before anything asks for it. Without
/// a name rustls takes the one that is linked, and panics at the first connection when some crate
/// has brought a second.
pub(crate) fn choose_cryptography() {
    // An error says that one has been named before, and Pingora's is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Tokens have their own, which nothing else shares.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

fn announce(config: &Config) {
    let store = match config.store.kind {
        StoreKind::Local => "local".to_owned(),
        StoreKind::Redis => config.store.url.to_string(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = ?config.server.listen,
        tls = ?config.https.listen,
        admin = %config.admin,
        store,
        policies = config.policies.len(),
        rules = config.rules.len(),
        "starting"
    );
}

/// The state of a configuration: everything a request meets.
pub(crate) fn build(config: &Config) -> Result<State, String> {
    let unbuildable =
        |error: globset::Error| format!("the patterns are too many to match: {error}");
    let client = &config.client;
    let rules = RuleSet::new(
        config.rules.clone(),
        config.policies.clone(),
        config.store.key_prefix.clone(),
        config.exempt_preflight,
    );
    let rules = rules.map_err(unbuildable)?;
    let upstreams = upstreams::upstreams(config)?;
    let meters = config.meters.iter().map(|metered| metered.meter.clone()).collect();
    Ok(State {
        reading: reading(config, &rules),
        clients: Clients {
            trusted_proxies: client.trusted_proxies.clone(),
            forwarded_header: client.forwarded_header.clone(),
            ipv4_prefix: client.ipv4_prefix,
            ipv6_prefix: client.ipv6_prefix,
            identity: config.identity.identity.clone(),
        },
        identity_cache: config.identity.cache.into(),
        routes: Routes::new(config.routes.clone()).map_err(unbuildable)?,
        rules,
        pushes: config.meters.iter().filter_map(|metered| push(metered, &upstreams)).collect(),
        meters: Meters::new(meters).map_err(unbuildable)?,
        upstreams,
        exemptions: Exemptions::new(config.exempt.clone()).map_err(unbuildable)?,
        deny_list: config.deny.clone(),
        enforcement: config.rollout.mode,
        switch_file: config.rollout.switch_file.clone(),
        answers: Answers::new(config.answers.iter().map(answer).collect(), config.response.body),
        cors: Cors { origins: config.cors.origins.clone(), credentials: config.cors.credentials },
        hsts: config.https.hsts.map(|span| format!("max-age={}", span.as_secs())),
        redirect: config.https.redirected_to(),
        access_log: config.log.access,
    })
}

/// How requests are read, with the headers that decide something.
fn reading(config: &Config, rules: &RuleSet) -> Reading {
    let identity = &config.identity.identity;
    let who = || identity.header_names().chain(rules.partition_headers()).chain(["authorization"]);
    let claims = ADDRESS_CLAIMS.into_iter().chain([config.client.forwarded_header.as_str()]);
    let deciding = who().chain(rules.rule_headers()).chain(claims);
    Reading {
        deciding: deciding.map(str::to_owned).collect(),
        // Cookies may come in several lines.
        once: who().filter(|name| *name != "cookie").map(str::to_owned).collect(),
        ..config.request.clone()
    }
}

fn push(metered: &Metered, upstreams: &[Arc<Upstream>]) -> Option<Push> {
    let push = metered.push.as_ref()?;
    Some(Push {
        meter: metered.meter.name.clone(),
        upstream: Arc::clone(upstreams.get(push.upstream)?),
        path: push.path.clone(),
        host: push.host.clone(),
        headers: push.headers.clone(),
        every: push.every,
    })
}

fn answer(answer: &PolicyAnswer) -> Answer {
    let response = &answer.response;
    Answer {
        status: answer.status,
        message: answer.message.clone(),
        fields: FieldSettings {
            ratelimit: response.ratelimit,
            x_ratelimit: response.x_ratelimit,
            retry_after: response.retry_after,
        },
        body: response.body,
        files: response.files.clone(),
    }
}

/// The shared store that the configuration names.
pub(crate) fn redis_store(store: &Store, clock: Arc<dyn Clock>) -> Result<RedisStore, SetupError> {
    let ca = store.tls.ca.as_ref().map(Pem::expose);
    let client = store.tls.client.as_ref();
    let client = client.map(|own| (own.certificate.expose(), own.key.expose()));
    let address = RedisAddress { url: store.url.expose(), ca, client };
    let topology = match &store.topology {
        Topology::Single => RedisTopology::Single,
        Topology::Cluster { nodes } => RedisTopology::Cluster(nodes),
        Topology::Sentinel(sentinel) => RedisTopology::Sentinel(SentinelAddress {
            master: &sentinel.master,
            servers: &sentinel.servers,
            login: Login {
                username: sentinel.username.as_deref(),
                password: sentinel.password.as_ref().map(Secret::expose),
                tls: sentinel.tls,
                ca,
                client,
            },
        }),
    };
    RedisStore::new(&address, topology, store.timeout, &store.key_prefix, clock)
}

fn limiter(config: &Config, clock: SystemClock) -> Result<Limiter<SystemClock>, SetupError> {
    let store = &config.store;
    let local = LocalStore::new(store.local_memory, store.kind == StoreKind::Redis);
    let shared = match store.kind {
        StoreKind::Local => None,
        StoreKind::Redis => {
            let redis = redis_store(store, Arc::new(clock))?;
            let deny_cache = DenyCache::new(store.deny_cache.into());
            Some(Shared { redis: Arc::new(redis), deny_cache, answers: AnswerCache::default() })
        }
    };
    Ok(Limiter::new(shared, local, clock, store.expected_instances))
}

/// Pingora's settings. Each default that would hurt is set: see the table in `ARCHITECTURE.md`.
fn server_conf(config: &Config) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ServerConf {
        threads: if config.server.threads == 0 { cores } else { config.server.threads },
        max_retries: ATTEMPTS_MAX,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        // The longest drain; `signals` ends the process earlier.
        grace_period_seconds: Some(Micros::from(config.server.drain_timeout).as_secs_ceil()),
        graceful_shutdown_timeout_seconds: Some(LAST_SECONDS),
        ..ServerConf::default()
    }
}

/// What the listeners of `[tls]` show to clients; nothing if there are none.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, String> {
    if config.https.listen.is_empty() {
        return Ok(None);
    }
    Certificates::new(&config.https).map(|held| Some(Arc::new(held)))
}

fn admin(config: &Config, proxy: &Arc<Proxy>, logs: &Arc<Logs>) -> Service<Admin> {
    let app = Admin { proxy: Arc::clone(proxy), logs: Arc::clone(logs) };
    let mut service = Service::new("admin".to_owned(), app);
    service.threads = Some(1);
    service.add_tcp(&config.admin.to_string());
    service
}

fn sample_app(address: SocketAddr) -> Service<SampleApp> {
    let mut service = Service::new("sample-app".to_owned(), SampleApp);
    service.threads = Some(1);
    service.add_tcp(&address.to_string());
    service
}

/// Binds every address before anything starts, all at once, so that those in use and those that
/// overlap are an error with a name and not a panic in a thread.
fn can_listen(config: &Config, sample_app: Option<SocketAddr>) -> Result<(), RunError> {
    let public = config.server.listen.iter().map(|address| (*address, "`server.listen`"));
    let tls = config.https.listen.iter().map(|address| (*address, "`tls.listen`"));
    let admin = std::iter::once((config.admin, "`admin.listen`"));
    let sample = sample_app.into_iter().map(|address| (address, "the sample application"));
    let bound = public.chain(tls).chain(admin).chain(sample).map(|(address, wanted_by)| {
        TcpListener::bind(address).map_err(|error| RunError::Listen { address, wanted_by, error })
    });
    bound.collect::<Result<Vec<TcpListener>, RunError>>().map(drop)
}

const fn level(level: Level) -> tracing::Level {
    match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    }
}

// === impl RunError ===

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, wanted_by, error } => {
                let help = match error.kind() {
                    ErrorKind::PermissionDenied => {
                        "ports below 1024 take root or CAP_NET_BIND_SERVICE"
                    }
                    ErrorKind::AddrNotAvailable => "this machine has no such address",
                    _ => "end the process that has it, or choose another address",
                };
                write!(
                    f,
                    "cannot listen on {address}: {error}\n  = help: {wanted_by} wants it; {help}"
                )
            }
            Self::Build(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for RunError {}
