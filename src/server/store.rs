//! Where the counts live, of a configuration.

use std::sync::Arc;

use crate::config::{Config, Pem, Secret, Store, StoreKind, Topology};
use crate::limit::{Clock, SystemClock};
use crate::limiter::{Limiter, Shared};
use crate::store::answers::AnswerCache;
use crate::store::deny_cache::DenyCache;
use crate::store::local::LocalStore;
use crate::store::redis::{
    Address as RedisAddress, Login, RedisStore, SentinelAddress, SetupError,
    Topology as RedisTopology,
};

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

/// The decision path over it.
pub(super) fn limiter(
    config: &Config,
    clock: SystemClock,
) -> Result<Limiter<SystemClock>, SetupError> {
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
