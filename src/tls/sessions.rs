//! Sessions that clients may go on with: those of the certificates in force.

use std::fmt;
use std::sync::Arc;

use rustls::server::StoresServerSessions;

use super::Certificates;

/// The sessions that began under what is in force now. None while clients are asked for
/// certificates: what was revoked or has ended since would count for as long as the session.
pub(super) struct Sessions {
    certificates: Arc<Certificates>,
}

// === impl Sessions ===

impl Sessions {
    pub(super) const fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates }
    }

    fn cache(&self) -> Option<Arc<dyn StoresServerSessions>> {
        let held = self.certificates.held();
        let cache = Arc::clone(&held.sessions);
        held.clients().is_none().then_some(cache as Arc<dyn StoresServerSessions>)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache().is_some_and(|cache| cache.put(key, value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache()?.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache()?.take(key)
    }

    fn can_cache(&self) -> bool {
        self.cache().is_some()
    }
}

impl fmt::Debug for Sessions {
    /// Without the sessions: they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(***)")
    }
}
