//! Who vouches for clients.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::read_again;

/// The authorities of a file; there is at least one.
#[derive(Clone, Debug)]
pub struct Authorities {
    path: PathBuf,
    contents: Vec<u8>,
    roots: Arc<RootCertStore>,
}

/// Why a file holds no authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthoritiesFault {
    /// There is no certificate in it.
    None,
    /// There is one that cannot be read.
    Damaged,
    /// There is one that cannot be used.
    Unusable,
}

// === impl Authorities ===

impl Authorities {
    /// Those that stand in the file at `path`, which holds `contents`.
    pub(in crate::config) fn of(
        path: PathBuf,
        contents: Vec<u8>,
    ) -> Result<Self, AuthoritiesFault> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&contents) {
            let certificate = certificate.map_err(|_| AuthoritiesFault::Damaged)?;
            roots.add(certificate).map_err(|_| AuthoritiesFault::Unusable)?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesFault::None);
        }
        Ok(Self { path, contents, roots: Arc::new(roots) })
    }

    /// What the same file holds by now.
    pub fn again(&self) -> Result<Self, String> {
        let contents = read_again(&self.path)?;
        Self::of(self.path.clone(), contents)
            .map_err(|fault| format!("{fault}: `{}`", self.path.display()))
    }

    /// Their file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Their certificates.
    pub const fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// Whether both are the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

// === impl AuthoritiesFault ===

impl fmt::Display for AuthoritiesFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no certificate in the file",
            Self::Damaged => "a damaged certificate in the file",
            Self::Unusable => "an unusable certificate in the file",
        })
    }
}
