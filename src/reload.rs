//! A new configuration for a running gateway.
//!
//! Routes, rules, policies, upstreams and everything else that requests meet is replaced whole,
//! without touching a connection or a counter. A file with a mistake changes nothing. What needs a
//! restart is said and stays as it is.
//!
//! Files with keys that the configuration names are looked at now and then; when one has changed,
//! the configuration in force is put together anew with it, as a whole.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{Config, Problem, Stamp, Watched};
use crate::limit::Policy;
use crate::metrics::{Metrics, Reload};
use crate::proxy::{Proxy, State};
use crate::tls::Keeper;
use crate::upstream::Upstream;

/// How long names may hold up a reload.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Builds the state of a configuration: given by the composition root, which alone knows how.
pub type Build = fn(&Config) -> Result<State, String>;

/// Reads the file again on demand.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    /// The configuration that the process started with.
    started_with: Config,
    applied: Mutex<Applied>,
    proxy: Arc<Proxy>,
    metrics: Arc<Metrics>,
    /// The certificates that clients are shown, where any listener speaks TLS.
    certificates: Option<Keeper>,
    generation: AtomicU64,
    build: Build,
}

/// The configuration in force, and how its files were last seen.
#[derive(Debug)]
struct Applied {
    config: Config,
    seen: Vec<Stamp>,
}

/// Files that are not as they were read.
struct Changed {
    files: Vec<String>,
    /// Whether they are not as they were last seen either.
    is_news: bool,
}

// === impl Reloader ===

impl Reloader {
    /// A reloader of the file at `path`, which held `started_with`.
    pub fn new(
        path: PathBuf,
        started_with: Config,
        proxy: Arc<Proxy>,
        metrics: Arc<Metrics>,
        certificates: Option<Keeper>,
        build: Build,
    ) -> Self {
        let applied = Mutex::new(Applied::new(started_with.clone()));
        let generation = AtomicU64::new(0);
        Self { path, started_with, applied, proxy, metrics, certificates, generation, build }
    }

    /// Reads the file and puts it in force, or says why not. Runs within a tokio runtime.
    pub async fn reload(&self) {
        let generation = self.generation();
        let loaded = Config::load(&self.path, generation).map_err(|error| error.to_string());
        if self.apply(loaded).await {
            if let Some(keeper) = &self.certificates {
                keeper.put(&self.applied().config.https);
            }
            tracing::info!(file = %self.path.display(), "the new configuration is in force");
        }
    }

    /// Puts the files with keys in force that have changed since they were read. What fails is
    /// tried again at every look, and complained of when the files have changed since.
    ///
    /// Certificates are on their own: a slip in one of them keeps no key from being revoked, and
    /// none of these keeps a certificate from being renewed.
    pub async fn look(&self) {
        if let Some(keeper) = &self.certificates {
            keeper.look();
        }
        let Some(Changed { files, is_news }) = self.applied().changed() else { return };
        let generation = self.generation();
        let read = self.applied().config.again(generation).map_err(|error| error.to_string());
        if read.is_err() && !is_news {
            return;
        }
        if self.apply(read).await {
            tracing::info!(files = files.join(", "), "the changed files are in force");
        }
    }

    /// True if what was read is in force now.
    async fn apply(&self, read: Result<(Config, Vec<Problem>), String>) -> bool {
        let result = match read.and_then(|(config, warnings)| self.build(config, warnings)) {
            Ok((config, state)) => {
                self.announce(&state);
                self.prepare(&state).await;
                self.proxy.state.store(Arc::new(state));
                *self.applied() = Applied::new(config);
                Reload::Applied
            }
            Err(reason) => {
                tracing::error!("the configuration stays as it was:\n{reason}");
                Reload::Rejected
            }
        };
        self.metrics.reloaded(result);
        result == Reload::Applied
    }

    fn generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the new upstreams are known before a request meets them; names that cannot
    /// be resolved for a while do not hold the rest up.
    async fn prepare(&self, new: &State) {
        let old = self.proxy.state.load_full();
        for upstream in &new.upstreams {
            for known in &old.upstreams {
                upstream.adopt(known);
            }
            tokio::spawn(Upstream::keep_resolved(Arc::clone(upstream)));
        }
        let resolved = async {
            for upstream in &new.upstreams {
                upstream.resolved().await;
            }
        };
        let _ = timeout(RESOLVE_TIMEOUT, resolved).await;
    }

    fn build(&self, mut config: Config, warnings: Vec<Problem>) -> Result<(Config, State), String> {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for section in self.fixed(&config) {
            tracing::warn!("{section} has changed: that takes a restart, the rest is applied");
        }
        // Keys go on as they are: the store is the one that the process started with.
        config.store = self.started_with.store.clone();
        // Nobody is sent to a listener that is not there.
        config.https.listen.clone_from(&self.started_with.https.listen);
        let state = (self.build)(&config)?;
        Ok((config, state))
    }

    /// The sections that differ from what the process started with and cannot change under it.
    fn fixed(&self, new: &Config) -> Vec<&'static str> {
        let old = &self.started_with;
        let changed = [
            ("`[server]`", old.server != new.server),
            ("`listen` of `[tls]`", old.https.listen != new.https.listen),
            ("`[admin]`", old.admin != new.admin),
            ("`[store]`", old.store != new.store),
            ("`[log]`", (old.log.level, old.log.format) != (new.log.level, new.log.format)),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(section, _)| section).collect()
    }

    /// Says which policies start anew: those whose algorithm has changed, and with it their keys.
    fn announce(&self, new: &State) {
        let old = self.proxy.state.load();
        for policy in new.rules.policies() {
            let before = |old: &&Arc<Policy>| {
                old.name == policy.name && old.limit.letter() != policy.limit.letter()
            };
            if old.rules.policies().any(|old| before(&old)) {
                tracing::warn!(
                    policy = policy.name,
                    "its algorithm has changed: its counts start anew"
                );
            }
        }
    }
}

// === impl Applied ===

impl Applied {
    fn new(config: Config) -> Self {
        let seen = config.files.iter().map(|file| file.found().clone()).collect();
        Self { config, seen }
    }

    /// The files that are not as they were read, if there are any.
    fn changed(&mut self) -> Option<Changed> {
        let now: Vec<Stamp> = self.config.files.iter().map(Watched::stamp).collect();
        let each = self.config.files.iter().zip(&now);
        let changed = each.filter(|(file, now)| file.found() != *now);
        let files: Vec<_> = changed.map(|(file, _)| file.path().display().to_string()).collect();
        let is_news = self.seen != now;
        self.seen = now;
        (!files.is_empty()).then_some(Changed { files, is_news })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_news_once_and_a_change_until_it_is_in_force() {
        let name = format!("sluicegate-{}-applied.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let good = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n", "0".repeat(64));
        fs::write(&path, &good).unwrap();
        let text = format!(
            "[identity.api_key]\nheader = \"x-api-key\"\nfile = \"{}\"\n\
             [upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
             [[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
            path.display()
        );
        let (config, _) = Config::parse(&text, "gateway.toml", &|_| None, 0).unwrap();
        let mut applied = Applied::new(config);
        let mut look = || applied.changed().map(|changed| (changed.files.len(), changed.is_news));
        assert_eq!(look(), None);
        fs::write(&path, "broken, and longer or shorter than before").unwrap();
        assert_eq!([look(), look()], [Some((1, true)), Some((1, false))]);
        fs::remove_file(&path).unwrap();
        assert_eq!([look(), look()], [Some((1, true)), Some((1, false))], "gone is a change");
    }
}
