//! A certificate of this gateway with its key.
//!
//! No message quotes anything of a file: it may be a private key.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Place, read_again};

/// A certificate that a client can be shown, and the key that proves it.
pub struct Pair {
    place: Place,
    signed: Arc<CertifiedKey>,
    names: Vec<String>,
    begins: i64,
    ends: i64,
}

/// Why two files are no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairFault {
    /// There is no certificate in the file.
    NoCertificate,
    /// There is one that cannot be read.
    DamagedCertificate,
    /// There is no private key in the file.
    NoKey,
    /// The key is that of another certificate.
    OtherKey,
    /// They are of a kind that nobody here knows.
    Unusable,
}

// === impl Pair ===

impl Pair {
    /// The pair that stands in these files.
    pub(in crate::config) fn of(
        place: Place,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Self, PairFault> {
        let chain = chain(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairFault::NoKey)?;
        let own = chain.first().ok_or(PairFault::NoCertificate)?.clone();
        let signed = CertifiedKey::from_der(chain, key, &default_provider());
        let signed = signed.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PairFault::OtherKey,
            _ => PairFault::Unusable,
        })?;
        let (_, own) = X509Certificate::from_der(&own).map_err(|_| PairFault::Unusable)?;
        let validity = own.validity();
        Ok(Self {
            place,
            signed: Arc::new(signed),
            names: names(&own),
            begins: validity.not_before.timestamp(),
            ends: validity.not_after.timestamp(),
        })
    }

    /// What the same files hold by now.
    pub fn again(&self) -> Result<Self, String> {
        let Place { certificate, key } = &self.place;
        let read = [read_again(certificate)?, read_again(key)?];
        let [chain, secret] = &read;
        Self::of(self.place.clone(), chain, secret)
            .map_err(|fault| format!("{fault} (`{}`, `{}`)", certificate.display(), key.display()))
    }

    /// Its files.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The certificate and the key, for the one who shows them.
    pub const fn signed(&self) -> &Arc<CertifiedKey> {
        &self.signed
    }

    /// The hosts that it is for, in lower case; one may begin with `*.`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// From when on it is valid, in seconds since the epoch.
    pub const fn begins(&self) -> i64 {
        self.begins
    }

    /// Until when it is valid, in seconds since the epoch.
    pub const fn ends(&self) -> i64 {
        self.ends
    }

    /// Whether a client is shown the very same by both.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.signed.cert == other.signed.cert
    }
}

impl fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("place", &self.place)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The certificates in a PEM file.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = found.map_err(|_| PairFault::DamagedCertificate)?;
    if chain.is_empty() { Err(PairFault::NoCertificate) } else { Ok(chain) }
}

/// The hosts of a certificate. Its common name is none: no client takes it for one any more.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let all = alternatives.iter().flat_map(|names| &names.value.general_names);
    let hosts = all.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    hosts.collect()
}

// === impl PairFault ===

impl PairFault {
    /// Whether it is the file of the key that is wrong.
    pub(in crate::config) const fn is_of_key(self) -> bool {
        matches!(self, Self::NoKey | Self::OtherKey)
    }

    /// The way out.
    pub(in crate::config) const fn help(self) -> &'static str {
        match self {
            Self::NoCertificate | Self::DamagedCertificate => {
                "a PEM file with `-----BEGIN CERTIFICATE-----`"
            }
            Self::NoKey => "a PEM file with `-----BEGIN PRIVATE KEY-----`, not encrypted",
            Self::OtherKey => "the first certificate in the file is the gateway's own",
            Self::Unusable => "X.509, and a key for RSA, ECDSA (P-256, P-384) or Ed25519",
        }
    }
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no certificate in the file",
            Self::DamagedCertificate => "a damaged certificate in the file",
            Self::NoKey => "no private key in the file",
            Self::OtherKey => "the key is not that of the certificate",
            Self::Unusable => "the certificate and its key cannot be used",
        })
    }
}
