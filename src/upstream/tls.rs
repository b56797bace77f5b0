//! How servers prove who they are, and the gateway to them. The proof is never left out: Pingora
//! skips it where there is no name to verify, so there always is one.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::catch_unwind;
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What TLS to the servers of an upstream takes.
#[derive(Clone)]
pub struct Tls {
    server_name: Option<String>,
    ca: Option<Arc<CaType>>,
    own: Option<Arc<CertKey>>,
    /// Another one for another trust: what was proven to one upstream is not taken over by another
    /// that asks for more, not even after a reload.
    group: u64,
}

// === impl Tls ===

impl Tls {
    /// TLS to servers whose certificates are for `server_name` (or for the host of each), vouched
    /// for by an authority in `ca` (or by one of the system), to whom the gateway shows `own`: a
    /// certificate and its key. All are PEM.
    pub fn new(
        server_name: Option<String>,
        ca: Option<&[u8]>,
        own: Option<(&[u8], &[u8])>,
    ) -> Result<Self, String> {
        let mut hasher = DefaultHasher::new();
        (ca, own).hash(&mut hasher);
        Ok(Self {
            server_name,
            ca: ca.map(authorities).transpose()?,
            own: own.map(|(certificate, key)| own_pair(certificate, key)).transpose()?,
            group: hasher.finish(),
        })
    }

    /// The name that the certificate of the server at `host` has to be for.
    pub(super) fn name<'a>(&'a self, host: Option<&'a str>) -> Option<&'a str> {
        self.server_name.as_deref().or(host)
    }

    /// Adds what is to be verified and shown.
    pub(super) fn secure(&self, peer: &mut HttpPeer) {
        peer.client_cert_key.clone_from(&self.own);
        peer.group_key = self.group;
        let options = &mut peer.options;
        options.ca.clone_from(&self.ca);
        options.verify_cert = true;
        options.verify_hostname = true;
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Tls");
        shown.field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn authorities(pem: &[u8]) -> Result<Arc<CaType>, String> {
    let parsed = certificates(pem)?.into_iter().map(parsed);
    let parsed: Result<Vec<WrappedX509>, String> = parsed.collect();
    parsed.map(Arc::from)
}

fn own_pair(certificate: &[u8], key: &[u8]) -> Result<Arc<CertKey>, String> {
    let chain = certificates(certificate)?;
    for certificate in &chain {
        parsed(certificate.clone())?;
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "the key of a client certificate cannot be read".to_owned())?;
    Ok(Arc::new(CertKey::new(chain, key.secret_der().to_vec())))
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found: Vec<_> = found.unwrap_or_default().iter().map(|one| one.to_vec()).collect();
    if found.is_empty() {
        return Err("a certificate for an upstream cannot be read".to_owned());
    }
    Ok(found)
}

/// Pingora reads certificates with another parser than the one that verifies, and panics at what
/// that one does not like. Better that such a configuration is turned down.
fn parsed(certificate: Vec<u8>) -> Result<WrappedX509, String> {
    catch_unwind(|| WrappedX509::new(certificate, parse_x509))
        .map_err(|_| "a certificate for an upstream is malformed".to_owned())
}
