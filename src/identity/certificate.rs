//! A user whom a certificate names, as the client shows it when it connects.
//!
//! Whether it is valid was decided before any request came: only a certificate that an authority of
//! `tls.client_ca` vouches for gets here.

use super::claim;
use super::credential::{Finding, Person};

/// What a verified certificate says of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common names of its subject.
    pub common_names: Vec<String>,
    /// Its alternative names that are hosts.
    pub hosts: Vec<String>,
    /// Those that are addresses of mail.
    pub mailboxes: Vec<String>,
    /// Those that are URIs.
    pub uris: Vec<String>,
    /// The SHA-256 of the whole, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// What of a certificate is the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The common name of the subject.
    SubjectCn,
    /// The alternative name that is a host.
    SanDns,
    /// The one that is an address of mail.
    SanEmail,
    /// The one that is a URI.
    SanUri,
    /// The fingerprint.
    Fingerprint,
}

/// The certificates of clients as a source of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByCertificate {
    /// What is the user.
    pub user: Name,
}

// === impl Name ===

impl Name {
    /// As the configuration spells them.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("subject_cn", Self::SubjectCn),
        ("san_dns", Self::SanDns),
        ("san_email", Self::SanEmail),
        ("san_uri", Self::SanUri),
        ("fingerprint", Self::Fingerprint),
    ];

    fn of(self, certificate: &ClientCertificate) -> &[String] {
        match self {
            Self::SubjectCn => &certificate.common_names,
            Self::SanDns => &certificate.hosts,
            Self::SanEmail => &certificate.mailboxes,
            Self::SanUri => &certificate.uris,
            Self::Fingerprint => std::slice::from_ref(&certificate.fingerprint),
        }
    }
}

// === impl ByCertificate ===

impl ByCertificate {
    /// The user, if the certificate has exactly one such name. One that has none, or several, is
    /// nobody's.
    pub fn find(&self, certificate: Option<&ClientCertificate>) -> Finding {
        let Some(certificate) = certificate else { return Finding::Absent };
        let user = match self.user.of(certificate) {
            [name] => claim::user(name),
            _ => None,
        };
        user.map(|user| Person { user, tier: None }).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_a_user_and_none_or_several_are_nobody() {
        let text = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let certificate = ClientCertificate {
            common_names: text(&["ada"]),
            hosts: text(&["a.example.org", "b.example.org"]),
            mailboxes: text(&[" ada@example.org"]),
            uris: Vec::new(),
            fingerprint: "0f".repeat(32),
        };
        let found = |user| ByCertificate { user }.find(Some(&certificate));
        let valid = |user: &str| Finding::Valid(Person { user: user.to_owned(), tier: None });
        assert_eq!(found(Name::SubjectCn), valid("ada"));
        assert_eq!(found(Name::Fingerprint), valid(&"0f".repeat(32)));
        for name in [Name::SanDns, Name::SanEmail, Name::SanUri] {
            assert_eq!(found(name), Finding::Invalid, "{name:?}");
        }
        assert_eq!(ByCertificate { user: Name::SubjectCn }.find(None), Finding::Absent);
    }
}
