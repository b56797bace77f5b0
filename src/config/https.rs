//! `[tls]`: TLS to clients.

mod authorities;
mod pair;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use authorities::{Authorities, AuthoritiesFault};
pub use pair::{Pair, PairFault};

use super::file::KEYS_MAX;

/// `[tls]`: the listeners that speak TLS. Without the section there are none.
#[derive(Clone, Debug, Default)]
pub struct Https {
    /// Up to 16 addresses, each once, none of them another listener's.
    pub listen: Vec<SocketAddr>,
    /// In the order of the file; the first is for clients that name no host, or another.
    pub pairs: Vec<Arc<Pair>>,
    /// Who vouches for clients; `None`: they are not asked for a certificate.
    pub clients: Option<Arc<Authorities>>,
    /// Whether a client without a certificate is turned away.
    pub clients_required: bool,
    /// For how long browsers are told to come back with TLS alone.
    pub hsts: Option<Duration>,
    /// Whether requests without TLS are sent to the listeners with TLS.
    pub redirect: bool,
    /// The port that they are sent to; absent: that of the first listener.
    pub redirect_port: Option<u16>,
}

/// Two files that belong together: a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a file holds that was named when the configuration was read.
fn read_again(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot read `{}`: {error}", path.display());
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > KEYS_MAX {
        return Err(format!("not a PEM file: `{}`", path.display()));
    }
    std::fs::read(path).map_err(unreadable)
}

// === impl Https ===

impl Https {
    /// The port to which requests without TLS are sent; nothing if they are served as they come.
    pub fn redirected_to(&self) -> Option<u16> {
        let first = self.listen.first().filter(|_| self.redirect)?;
        Some(self.redirect_port.unwrap_or(first.port()))
    }
}
