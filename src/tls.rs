//! TLS to clients: which certificate a client is shown, whether it has to show one itself, and what
//! its own says of it.
//!
//! What is in force can be replaced while connections come in: a handshake takes it as it is at
//! that moment, and what is open stays open.

mod handshake;
mod held;
mod keeper;
mod presented;
mod sessions;
mod verifier;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::{Acceptor, TlsSettings};
use pingora_core::protocols::tls::TlsRef;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{Authorities, Https, Pair};
use held::Held;
use sessions::Sessions;
use verifier::Verifier;

pub use handshake::Handshakes;
pub use keeper::Keeper;

/// What is offered to clients that ask, the best first. Who asks for something else alone is turned
/// away; who does not ask speaks HTTP/1.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The certificates in force, and who vouches for clients.
pub struct Certificates {
    held: ArcSwap<Held>,
}

/// Leaves what a client's certificate says where the requests of the connection find it.
struct Presenting;

/// An acceptor of these certificates, which may be replaced under it.
pub fn acceptor(certificates: &Arc<Certificates>) -> Result<Acceptor, String> {
    let unusable = |error: rustls::Error| format!("TLS cannot be set up: {error}");
    let provider = Arc::new(default_provider());
    // TLS 1.2 and 1.3: what is older, rustls does not know.
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let verifier = Arc::new(Verifier::new(Arc::clone(certificates)));
    let resolver = Arc::clone(certificates) as Arc<dyn ResolvesServerCert>;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).to_vec();
    config.session_storage = Arc::new(Sessions::new(Arc::clone(certificates)));
    let settings = TlsSettings::with_callbacks(Box::new(Presenting));
    let mut settings = settings.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    settings.set_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    let mut acceptor = settings.build();
    // Pingora's own has neither these sessions nor these protocols; its callbacks stay.
    acceptor.acceptor = Arc::new(config).into();
    Ok(acceptor)
}

// === impl Certificates ===

impl Certificates {
    /// Those of the configuration.
    pub fn new(https: &Https) -> Result<Self, String> {
        let held = Held::new(&https.pairs, https.clients.as_ref(), https.clients_required)?;
        Ok(Self { held: ArcSwap::from_pointee(held) })
    }

    /// Puts these in the place of those that are in force.
    pub fn replace(
        &self,
        pairs: &[Arc<Pair>],
        clients: Option<&Arc<Authorities>>,
        clients_required: bool,
    ) -> Result<(), String> {
        let held = Held::new(pairs, clients, clients_required)?;
        self.held.store(Arc::new(held));
        Ok(())
    }

    /// When each certificate ends, by the first of its names, or else by its number in the file.
    /// Of several with the same name the earliest end counts.
    pub fn ends(&self) -> BTreeMap<String, i64> {
        let mut ends = BTreeMap::new();
        for (number, pair) in self.held.load().pairs().iter().enumerate() {
            let name = pair.names().first().cloned().unwrap_or_else(|| (number + 1).to_string());
            let end = ends.entry(name).or_insert(pair.ends());
            *end = pair.ends().min(*end);
        }
        ends
    }

    fn held(&self) -> Arc<Held> {
        self.held.load_full()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.held.load().choose(hello.server_name(), hello.signature_schemes())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.held.load().pairs()).finish()
    }
}

// === impl Presenting ===

#[async_trait]
impl TlsAccept for Presenting {
    async fn handshake_complete_callback(
        &self,
        tls: &TlsRef,
    ) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        // The verifier has read it as well: one that cannot be read got no connection.
        let certificate = presented::read(tls.peer_certificate_der()?)?;
        Some(Arc::new(Arc::new(certificate)))
    }
}
