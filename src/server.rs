//! The composition root: the only place where the parts meet.

mod departure;
mod entrance;
mod h2;
mod handover;
mod listeners;
mod manager;
mod reloading;
mod run_error;
mod service;
mod signals;
mod sockets;
mod stages;
mod state;
mod store;
mod successor;
mod upstreams;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;

use crate::admin::Admin;
use crate::config::{self, Config, Format, Level, StoreKind};
use crate::demo::SampleApp;
use crate::limit::SystemClock;
use crate::metrics::Metrics;
use crate::proxy::{ATTEMPTS_MAX, Proxy};
use crate::reload::Reloader;
use crate::telemetry::{self, Logs};
use crate::tls::{Certificates, Keeper};
use departure::Departure;
use entrance::{Attended, Entrance};
use handover::predecessor::Predecessor;
use handover::{folder, offer};
use manager::Manager;
pub use run_error::RunError;
use service::Gateway;
use signals::Life;
use sockets::Sockets;
use stages::Stages;
pub(crate) use state::build;
use store::limiter;
pub(crate) use store::redis_store;
use successor::Program;

/// Idle connections to upstreams that are kept, over all of them.
const UPSTREAM_POOL: usize = 1024;
/// Files besides those of connections: listeners, Redis, idle connections to upstreams.
const OTHER_FILES: u64 = 64 + UPSTREAM_POOL as u64;

/// What to run besides the gateway, what to say when it listens, and in whose place.
#[derive(Debug, Default)]
pub struct Extras {
    /// Take the sockets of the gateway that runs, and its place: at this socket, or at that of the
    /// configuration.
    pub upgrade: Option<Option<PathBuf>>,
    /// Where the sample application listens, if it is wanted.
    pub sample_app: Option<SocketAddr>,
    /// Printed when the gateway is about to listen.
    pub greeting: Option<String>,
}

/// Runs the gateway until it is told to stop. `path` is read again on SIGHUP.
pub fn run(config: Config, path: PathBuf, extras: Extras) -> Result<(), RunError> {
    let clock = SystemClock::start();
    let logs = telemetry::start(level(config.log.level), config.log.format == Format::Json, clock);
    choose_cryptography();
    raise_open_files(config.server.bounds.max_connections);
    let (predecessor, sockets) = sockets(&config, &extras)?;
    announce(&config);
    let metrics = Arc::new(Metrics::new().map_err(|error| RunError::Build(error.to_string()))?);
    let limiter =
        Arc::new(limiter(&config, clock).map_err(|error| RunError::Build(error.to_string()))?);
    let state = build(&config).map_err(RunError::Build)?;
    let proxy = Arc::new(Proxy::new(state, Arc::clone(&limiter), Arc::clone(&metrics), clock));
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let certificates = certificates(&config).map_err(RunError::Build)?;
    let stages = Arc::new(Stages::new(Arc::clone(&proxy.draining)));
    let entrance = Entrance { sockets: Arc::new(sockets), stages };
    let listening =
        listeners::listeners(&server, &config, certificates.as_ref(), &proxy, &entrance.stages);
    let listening = listening.map_err(RunError::Build)?;
    let (held, told) = (Arc::clone(&proxy), Arc::clone(&logs));
    let manager = Arc::new(Manager::from_env(config::variable, std::process::id()));
    let watched = Arc::clone(&manager);
    server.add_service(Gateway::new(
        listening,
        entrance.clone(),
        held,
        told,
        watched,
        extras.greeting,
    ));
    let keeper = certificates.map(|held| Arc::new(Keeper::new(held, Arc::clone(&metrics))));
    let operators = config.admin;
    let upgrade_socket = config.server.upgrade_socket.clone();
    let program =
        upgrade_socket.as_ref().and_then(|socket| Program::of_this_process(&path, socket));
    let reloader = Arc::new(reloading::reloader(path, config, &proxy, &logs, keeper));
    server.add_service(Attended {
        service: admin(operators, &proxy, &logs, &reloader),
        entrance: entrance.clone(),
    });
    if let Some(address) = extras.sample_app {
        server.add_service(Attended { service: sample_app(address), entrance: entrance.clone() });
    }
    let Entrance { stages, sockets } = entrance;
    let departure = Departure { stages, sockets, upgrade_socket, proxy };
    let predecessor = Mutex::new(predecessor);
    let life = Life { reloader, manager, departure, predecessor, program };
    // It ends with the process.
    server.run(RunArgs { shutdown_signal: Box::new(life) });
    Ok(())
}

/// The sockets to listen on, and the process that had them before, if this one takes its place.
fn sockets(config: &Config, extras: &Extras) -> Result<(Option<Predecessor>, Sockets), RunError> {
    let own = config.server.upgrade_socket.as_deref();
    let wanted = wanted(config, extras.sample_app);
    let Some(at) = &extras.upgrade else {
        let sockets = Sockets::bind(&wanted, Vec::new())?;
        own.map_or(Ok(()), |own| can_offer(own, None)).map_err(RunError::Build)?;
        return Ok((None, sockets));
    };
    let at = at.as_deref().or(own).ok_or_else(|| {
        RunError::Upgrade("`server.upgrade_socket` is not set: there is nobody to ask".to_owned())
    })?;
    own.map_or(Ok(()), |own| can_offer(own, Some(at))).map_err(RunError::Upgrade)?;
    let (predecessor, inherited) = Predecessor::ask(at).map_err(RunError::Upgrade)?;
    Ok((Some(predecessor), Sockets::bind(&wanted, inherited)?))
}

/// Whether upgrades can be heard of on `socket`: better said now than when one is wanted. There may
/// be nobody by now but the process `before`.
fn can_offer(socket: &Path, before: Option<&Path>) -> Result<(), String> {
    folder::keep_private(socket).map_err(|why| format!("`server.upgrade_socket`: {why}"))?;
    if before != Some(socket) && offer::is_taken(socket) {
        return Err(format!(
            "another gateway listens on {}\n  = help: take its place with `sluicegate run \
             --upgrade`, or give this one an `upgrade_socket` of its own",
            socket.display()
        ));
    }
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

/// Pingora's settings. Each default that would hurt is set: see the table in `ARCHITECTURE.md`.
fn server_conf(config: &Config) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ServerConf {
        threads: if config.server.threads == 0 { cores } else { config.server.threads },
        max_retries: ATTEMPTS_MAX,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
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

fn admin(
    address: SocketAddr,
    proxy: &Arc<Proxy>,
    logs: &Arc<Logs>,
    reloader: &Arc<Reloader>,
) -> Service<Admin> {
    let (proxy, logs) = (Arc::clone(proxy), Arc::clone(logs));
    let app = Admin { proxy, logs, reloader: Arc::clone(reloader) };
    let mut service = Service::new("admin".to_owned(), app);
    service.threads = Some(1);
    service.add_tcp(&address.to_string());
    service
}

fn sample_app(address: SocketAddr) -> Service<SampleApp> {
    let mut service = Service::new("sample-app".to_owned(), SampleApp);
    service.threads = Some(1);
    service.add_tcp(&address.to_string());
    service
}

/// Every address to listen on, and what wants it.
fn wanted(config: &Config, sample_app: Option<SocketAddr>) -> Vec<(SocketAddr, &'static str)> {
    let public = config.server.listen.iter().map(|address| (*address, "`server.listen`"));
    let tls = config.https.listen.iter().map(|address| (*address, "`tls.listen`"));
    let admin = std::iter::once((config.admin, "`admin.listen`"));
    let sample = sample_app.into_iter().map(|address| (address, "the sample application"));
    public.chain(tls).chain(admin).chain(sample).collect()
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
