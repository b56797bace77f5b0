//! Certificates and keys of the connections that the gateway opens, read and checked with the file that names them.

use std::fmt;

/// How a server, like Redis, and the gateway prove to each other who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may vouch for the server, at least one; `None`: those of the system.
    pub ca: Option<Pem>,
    /// What the gateway shows to a server that asks for it.
    pub client: Option<ClientCertificate>,
}

/// The same for the servers of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name or address that their certificates have to be for; `None`: each server's own host.
    pub server_name: Option<String>,
    /// Who vouches for them, and what the gateway shows.
    pub trust: Tls,
}

/// A certificate and the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

/// What a PEM file held when the configuration was read. It may be a private key, so `Debug` shows
/// nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Vec<u8>);

// === impl Pem ===

impl Pem {
    pub(super) fn new(contents: Vec<u8>) -> Self {
        Self(contents)
    }

    /// The contents, for the one who connects.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(***)")
    }
}
