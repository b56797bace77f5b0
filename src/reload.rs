//! A new configuration for a running gateway.
//!
//! Everything but listeners, threads and the way to the store is replaced, without touching a
//! connection or a counter. A file with a mistake changes nothing. What needs a restart is said, key
//! by key, and stays as it is.
//!
//! A reload is asked for by a signal or on the admin listener, or begins because the file has
//! changed. Whatever began them, they are made in one place, one after the other. Files with keys
//! that the configuration names are looked at now and then; when one has changed, the configuration
//! in force is put together anew with it, as a whole.

mod announce;
mod asking;
mod fixed;
mod status;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::config::{Config, Loaded, Stamp, Watched};
use crate::limit::Clock as _;
use crate::metrics::{Metrics, Reload};
use crate::proxy::{Proxy, State};
use crate::tls::Keeper;
use announce::Told;
use asking::Asking;
pub use asking::{Asked, Unanswered};
pub use fixed::Kept;
use status::Status;
pub use status::{By, Outcome, Rejection, Report};
use watch::{Applied, Changed, Watch};

/// How long names may hold up a reload.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long files may take to be read, and a configuration to be built: a file system that hangs
/// must not keep signals waiting.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// What the composition root alone knows how to do with a configuration.
pub struct Parts {
    /// Builds the state of it.
    pub build: fn(&Config) -> Result<State, String>,
    /// Puts in force what is not of the state: of the store, the log and the process.
    pub adjust: Box<dyn Fn(&Config) + Send + Sync>,
}

/// Reads the file again on demand.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    /// The configuration that the process started with.
    started_with: Config,
    applied: Mutex<Applied>,
    watch: Mutex<Watch>,
    status: Mutex<Status>,
    asking: Asking,
    proxy: Arc<Proxy>,
    metrics: Arc<Metrics>,
    /// The certificates that clients are shown, where any listener speaks TLS.
    certificates: Option<Arc<Keeper>>,
    parts: Parts,
}

/// What is about to be put in force.
struct Built {
    config: Config,
    state: State,
    document: Value,
    report: Report,
}

// === impl Reloader ===

impl Reloader {
    /// A reloader of the file at `path`, which held `started_with`.
    pub fn new(
        path: PathBuf,
        started_with: Config,
        proxy: Arc<Proxy>,
        metrics: Arc<Metrics>,
        certificates: Option<Arc<Keeper>>,
        parts: Parts,
    ) -> Self {
        let now = proxy.clock.now();
        metrics.in_force_since(now.as_micros() / 1_000_000);
        let status = Status::new(path.display().to_string(), started_with.document(), now);
        Self {
            path,
            applied: Mutex::new(Applied::new(started_with.clone())),
            watch: Mutex::new(Watch::new(started_with.found().clone())),
            status: Mutex::new(status),
            started_with,
            asking: Asking::new(),
            proxy,
            metrics,
            certificates,
            parts,
        }
    }

    /// What is in force, for the pages of the operator; no secret is in it.
    pub fn shown(&self) -> Value {
        lock(&self.status).shown()
    }

    /// Asks for a reload from another place than the one that makes them, and waits for what comes
    /// of it.
    pub async fn ask(&self) -> Result<Outcome, Unanswered> {
        if self.proxy.draining.load(Ordering::Relaxed) {
            return Err(Unanswered::Ending);
        }
        self.asking.ask().await
    }

    /// The next who has asked; may be given up at any moment. To be followed by [`Self::answer`].
    pub async fn asked(&self) -> Asked {
        self.asking.next().await
    }

    /// Makes the reload that somebody has asked for, and says what came of it.
    pub async fn answer(&self, asked: Asked) {
        let outcome = self.reload(By::Api).await;
        // Nobody may be waiting any more.
        let _ = asked.send(outcome);
    }

    /// Reads the file and puts it in force, or says why not. Runs within a tokio runtime, and
    /// nowhere else at the same time.
    pub async fn reload(&self, by: By) -> Outcome {
        let (path, generation) = (self.path.clone(), self.next_generation());
        let read = match aside(move || Config::load_again(&path, generation)).await {
            Ok((found, loaded)) => {
                lock(&self.watch).was_read(found);
                loaded.map_err(|error| error.to_string())
            }
            Err(why) => {
                lock(&self.watch).was_lost();
                Err(format!("cannot read `{}`: {why}", self.path.display()))
            }
        };
        let outcome = self.apply(read, by).await;
        if outcome.is_applied() {
            if let Some(keeper) = &self.certificates {
                keeper.put(&self.applied().config.https);
            }
            let file = self.path.display();
            tracing::info!(%file, by = by.name(), "the new configuration is in force");
        }
        outcome
    }

    /// Puts the file in force if it has changed, or else the files with keys that have changed
    /// since they were read. What fails is complained of once. A file with keys that fails is tried
    /// again at every look: another may depend on it.
    ///
    /// Certificates are on their own: a slip in one of them keeps no key from being revoked, and
    /// none of these keeps a certificate from being renewed.
    pub async fn look(&self) {
        if let Some(keeper) = self.certificates.clone() {
            // What is wrong with one it says itself.
            let _ = aside(move || keeper.look()).await;
        }
        let (path, named) = (self.path.clone(), self.applied().config.files.clone());
        let stamps = move || {
            let files: Vec<Stamp> = named.iter().map(Watched::stamp).collect();
            (Stamp::of_file(&path), files)
        };
        let Ok((own, stamps)) = aside(stamps).await else { return };
        let is_watched = self.applied().config.server.watch_config;
        if is_watched && lock(&self.watch).is_due(own) {
            self.reload(By::File).await;
            return;
        }
        let Some(Changed { files, is_news }) = self.applied().changed(stamps) else { return };
        let (config, generation) = (self.applied().config.clone(), self.next_generation());
        let read = aside(move || config.again(generation)).await;
        let read = read.and_then(|read| read.map_err(|problems| problems.to_string()));
        if read.is_err() && !is_news {
            return;
        }
        if self.apply(read, By::File).await.is_applied() {
            tracing::info!(files = files.join(", "), "the changed files are in force");
        }
    }

    async fn apply(&self, read: Result<Loaded, String>, by: By) -> Outcome {
        let built = match read {
            Ok(loaded) => self.build(loaded).await,
            Err(reason) => Err(reason),
        };
        let Built { config, state, document, report } = match built {
            Ok(built) => built,
            Err(reason) => return Outcome::Rejected(self.refuse(&reason, by)),
        };
        self.prepare(&state).await;
        let old = self.proxy.state.swap(Arc::new(state));
        for upstream in &old.upstreams {
            upstream.retire();
        }
        (self.parts.adjust)(&config);
        let now = self.proxy.clock.now();
        lock(&self.status).applied(&report, document, now, by);
        *self.applied() = Applied::new(config);
        self.metrics.in_force_since(now.as_micros() / 1_000_000);
        self.metrics.reloaded(Reload::Applied);
        Outcome::Applied(report)
    }

    fn refuse(&self, reason: &str, by: By) -> Rejection {
        tracing::error!("the configuration stays as it was:\n{reason}");
        let rejection = Rejection::new(reason, self.proxy.clock.now(), by);
        lock(&self.status).rejected(rejection.clone());
        self.metrics.reloaded(Reload::Rejected);
        rejection
    }

    /// What tells the next configuration from all that have been in force.
    fn next_generation(&self) -> u64 {
        lock(&self.status).generation() + 1
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        lock(&self.applied)
    }

    /// Sees to it that the new upstreams are known before a request meets them; names that cannot
    /// be resolved for a while, and servers that do not answer checks, do not hold the rest up.
    async fn prepare(&self, new: &State) {
        let old = self.proxy.state.load_full();
        for upstream in &new.upstreams {
            for known in &old.upstreams {
                upstream.adopt(known);
            }
            upstream.start();
        }
        let resolved = async {
            for upstream in &new.upstreams {
                upstream.known().await;
            }
        };
        let _ = timeout(RESOLVE_TIMEOUT, resolved).await;
    }

    async fn build(&self, (mut config, warnings): Loaded) -> Result<Built, String> {
        let generation = self.next_generation();
        let keys = fixed::differing(&self.started_with, &config);
        let started = self.started_with.document();
        let (needs_restart, document) = fixed::in_force(&keys, &started, config.document());
        fixed::keep(&self.started_with, &mut config);
        let build = self.parts.build;
        let both = aside(move || build(&config).map(|state| (config, state))).await;
        let (config, state) = both.and_then(|both| both)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        if !keys.is_empty() {
            let way_out = fixed::WAY_OUT;
            tracing::warn!(
                keys = keys.join(", "),
                "changed keys stay as they were: that {way_out}"
            );
        }
        let told = Told::of(&self.applied().config, &config);
        told.log();
        let warnings = warnings.iter().map(ToString::to_string).collect();
        let Told { anew, changed } = told;
        let report = Report { generation, warnings, needs_restart, anew, changed };
        Ok(Built { config, state, document, report })
    }
}

/// Does what may block where nobody waits for it but its caller, and not for ever.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    match timeout(READ_TIMEOUT, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        // It has panicked, which the log tells by itself.
        Ok(Err(_)) => Err("the gateway has failed at it".to_owned()),
        Err(_) => Err(format!("it takes longer than {} s", READ_TIMEOUT.as_secs())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Parts ===

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}
