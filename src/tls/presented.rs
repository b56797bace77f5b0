//! What a client's certificate says.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::identity::certificate::ClientCertificate;

/// Reads a certificate; `None` if it is none. A name that is no text counts as one all the same, so
/// that it does not make another the only one: it is empty, and so nobody's.
pub(super) fn read(der: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let common_names = certificate.subject().iter_common_name();
    let mut read = ClientCertificate {
        common_names: common_names.map(|name| name.as_str().unwrap_or("").to_owned()).collect(),
        fingerprint: Sha256::digest(der).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
        ..ClientCertificate::default()
    };
    let alternatives = certificate.subject_alternative_name().ok()?;
    for name in alternatives.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(host) => read.hosts.push((*host).to_owned()),
            GeneralName::RFC822Name(mailbox) => read.mailboxes.push((*mailbox).to_owned()),
            GeneralName::URI(uri) => read.uris.push((*uri).to_owned()),
            _ => {}
        }
    }
    Some(read)
}
