//! The certificates of one moment, by the names that they are for.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::config::{Authorities, Pair};

/// TLS sessions that clients may go on with instead of a whole handshake; some hundred bytes each.
const SESSIONS_MAX: usize = 4096;

/// The certificates of one moment.
pub(super) struct Held {
    pairs: Vec<Arc<Pair>>,
    /// By host; names that begin with `*.` by what follows the star.
    hosts: HashMap<String, Vec<Arc<CertifiedKey>>>,
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
    clients: Option<Clients>,
    /// A session keeps what was proven when it began. So it goes with what proved it, and where
    /// clients are asked for certificates there are none.
    pub(super) sessions: Arc<ServerSessionMemoryCache>,
}

/// Who vouches for clients.
pub(super) struct Clients {
    pub(super) authorities: Arc<Authorities>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Whether a client without a certificate is turned away.
    pub(super) required: bool,
}

// === impl Held ===

impl Held {
    pub(super) fn new(
        pairs: &[Arc<Pair>],
        clients: Option<&Arc<Authorities>>,
        required: bool,
    ) -> Result<Self, String> {
        let (mut hosts, mut wildcards) = (HashMap::new(), HashMap::new());
        for pair in pairs {
            for name in pair.names() {
                let (map, name) = match name.strip_prefix('*') {
                    Some(rest) => (&mut wildcards, rest),
                    None => (&mut hosts, name.as_str()),
                };
                let of_name: &mut Vec<_> = map.entry(name.to_owned()).or_default();
                of_name.push(Arc::clone(pair.signed()));
            }
        }
        let clients = clients.map(|authorities| Clients::new(authorities, required)).transpose()?;
        let sessions = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self { pairs: pairs.to_vec(), hosts, wildcards, clients, sessions })
    }

    pub(super) fn pairs(&self) -> &[Arc<Pair>] {
        &self.pairs
    }

    pub(super) const fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }

    /// What a client is shown that asks for `host`. A star stands for one label (RFC 9525, section
    /// 6.3). Of several certificates for a host the first one whose signatures the client knows.
    pub(super) fn choose(
        &self,
        host: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let host = host.map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        let by_host = host.as_deref().and_then(|host| {
            let parent = || self.wildcards.get(host.get(host.find('.')?..)?);
            self.hosts.get(host).or_else(parent)
        });
        let Some(found) = by_host else {
            return self.pairs.first().map(|pair| Arc::clone(pair.signed()));
        };
        let known = found.iter().find(|signed| signed.key.choose_scheme(schemes).is_some());
        known.or(found.first()).cloned()
    }
}

// === impl Clients ===

impl Clients {
    fn new(authorities: &Arc<Authorities>, required: bool) -> Result<Self, String> {
        let provider = Arc::new(default_provider());
        let roots = Arc::clone(authorities.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        let verifier = verifier.map_err(|error| format!("`client_ca` is of no use: {error}"))?;
        Ok(Self { authorities: Arc::clone(authorities), verifier, required })
    }
}
