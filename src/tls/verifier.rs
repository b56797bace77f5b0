//! Whether a client's certificate is one: by the authorities in force at that moment.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::{Certificates, presented};

/// Asks those who vouch for clients at present. Where nobody does, no client is asked.
#[derive(Debug)]
pub(super) struct Verifier {
    certificates: Arc<Certificates>,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl Verifier ===

impl Verifier {
    pub(super) fn new(certificates: Arc<Certificates>) -> Self {
        let algorithms = default_provider().signature_verification_algorithms;
        Self { certificates, algorithms }
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.certificates.held().clients().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.certificates.held().clients().is_some_and(|clients| clients.required)
    }

    /// None: what is lent here would have to outlive what it is lent from. A client then shows
    /// whatever certificate it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let held = self.certificates.held();
        let clients = held.clients().ok_or(CertificateError::UnknownIssuer)?;
        let verified = clients.verifier.verify_client_cert(own, between, now)?;
        // Pingora reads it with the same crate, and panics if that cannot be done.
        presented::read(own).ok_or(CertificateError::BadEncoding)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
