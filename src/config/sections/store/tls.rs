//! `[store.tls]`, and the same keys of upstreams: reads the files that they name, so that `check`
//! finds what is wrong with them.
//!
//! No message quotes anything of a file: it may be a private key.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use crate::config::diagnostic::Mistake;
use crate::config::file::{Files, KEYS_MAX, Kind, readable_by_all};
use crate::config::reader::Section;
use crate::config::tls::{ClientCertificate, Pem, Tls};
use crate::config::value::Text;

const FILE: Kind =
    Kind { name: "a PEM file", example: "/etc/sluicegate/ca.pem", size_max: KEYS_MAX };
const CERTIFICATE_HELP: &str = "a PEM file with `-----BEGIN CERTIFICATE-----`";
const KEY_HELP: &str = "a PEM file with `-----BEGIN PRIVATE KEY-----`, not encrypted";

pub(super) fn tls(mut section: Section<'_>) -> Tls {
    let ca = ca(&mut section);
    let client = own(&mut section);
    section.finish();
    Tls { ca, client }
}

/// `ca`: the authorities that may vouch for a server.
pub(in crate::config::sections) fn ca(section: &mut Section<'_>) -> Option<Pem> {
    let files = section.reader().files();
    section.parsed("ca", |text| authorities(files, text))
}

/// `certificate` and `key`: what the gateway shows to a server.
pub(in crate::config::sections) fn own(section: &mut Section<'_>) -> Option<ClientCertificate> {
    let files = section.reader().files();
    let certificate = section.parsed("certificate", |text| certificate(files, text));
    let mut doubt = None;
    let key = section.parsed("key", |text| {
        doubt = readable_by_all(text.value.as_ref(), &text.shown());
        key(files, text)
    });
    if let Some(doubt) = doubt.filter(|_| key.is_some()) {
        section.reader().warn(&section.span_of("key"), doubt);
    }
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if section.has(one) && !section.has(other) {
            let mistake = Mistake::new(format!("`{one}` is of no use without `{other}`"))
                .help("give both, or neither");
            section.error(&section.key_span(one), mistake);
        }
    }
    let (certificate, key) = certificate.zip(key)?;
    if let Err(mistake) = belong(&certificate, &key) {
        section.error(&section.span_of("key"), mistake);
    }
    Some(ClientCertificate { certificate, key })
}

fn authorities(files: &Files, text: &Text) -> Result<Pem, Mistake> {
    let pem = read(files, text)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem, text)? {
        let unusable = |_| {
            let message = format!("an unusable certificate in {}", text.shown());
            Mistake::new(message).help(CERTIFICATE_HELP)
        };
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(pem)
}

fn certificate(files: &Files, text: &Text) -> Result<Pem, Mistake> {
    let pem = read(files, text)?;
    certificates(&pem, text)?;
    Ok(pem)
}

fn key(files: &Files, text: &Text) -> Result<Pem, Mistake> {
    let pem = read(files, text)?;
    match PrivateKeyDer::from_pem_slice(pem.expose()) {
        Ok(_) => Ok(pem),
        Err(_) => Err(Mistake::new(format!("no private key in {}", text.shown())).help(KEY_HELP)),
    }
}

/// The certificates in `pem`; there is at least one.
fn certificates(pem: &Pem, text: &Text) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
    let problem = match found {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) => "no certificate",
        Err(_) => "a damaged certificate",
    };
    Err(Mistake::new(format!("{problem} in {}", text.shown())).help(CERTIFICATE_HELP))
}

/// Whether `key` is that of the certificate. Else every connection would fail, and only then.
fn belong(certificate: &Pem, key: &Pem) -> Result<(), Mistake> {
    let certificates = CertificateDer::pem_slice_iter(certificate.expose()).flatten().collect();
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose()) else { return Ok(()) };
    match CertifiedKey::from_der(certificates, key, &default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(Mistake::new("the key is not that of `certificate`")
                .help("the first certificate in the file is the gateway's own"))
        }
        Err(_) => Err(Mistake::new("`certificate` and its key cannot be used")
            .help("X.509, and a key for RSA, ECDSA (P-256, P-384) or Ed25519")),
    }
}

/// Read once: a changed certificate takes a restart.
fn read(files: &Files, text: &Text) -> Result<Pem, Mistake> {
    files.keep(text, &FILE).map(Pem::new)
}
