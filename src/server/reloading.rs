//! What a reload puts in force besides the state.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{build, level, raise_open_files};
use crate::config::{Config, Format};
use crate::proxy::Proxy;
use crate::reload::{Parts, Reloader};
use crate::telemetry::Logs;
use crate::tls::Keeper;

/// The one that reads the file again, with what it puts in force besides the state.
pub(super) fn reloader(
    path: PathBuf,
    config: Config,
    proxy: &Arc<Proxy>,
    logs: &Arc<Logs>,
    keeper: Option<Arc<Keeper>>,
) -> Reloader {
    let (limiter, logs) = (Arc::clone(&proxy.limiter), Arc::clone(logs));
    let lines = |config: &Config| (level(config.log.level), config.log.format == Format::Json);
    let open = |config: &Config| config.server.bounds.max_connections;
    let last = Mutex::new((lines(&config), open(&config)));
    let adjust = move |config: &Config| {
        let now = (lines(config), open(config));
        let before =
            std::mem::replace(&mut *last.lock().unwrap_or_else(PoisonError::into_inner), now);
        if now.0 != before.0 {
            logs.write(now.0.0, now.0.1);
        }
        if now.1 != before.1 {
            raise_open_files(now.1);
        }
        let store = &config.store;
        limiter.adjust(store.timeout, store.deny_cache.into(), store.expected_instances);
    };
    let parts = Parts { build, adjust: Box::new(adjust) };
    let metrics = Arc::clone(&proxy.metrics);
    Reloader::new(path, config, Arc::clone(proxy), metrics, keeper, parts)
}
