//! Which user a request belongs to. A claim counts only where somebody we trust made it.
//!
//! Each source finds no credential, a valid one or an invalid one; the first valid one gives the
//! user. What cannot be asked for an outage of the store makes nobody a user and nobody a forger.
//!
//! Not promised: that a user who is logged out or revoked is noticed earlier than `identity.cache`.

pub mod api_key;
mod base64url;
pub mod certificate;
pub mod claim;
pub mod credential;
pub mod header;
pub mod jwt;
pub mod lookup;
pub mod session;
pub mod template;

use crate::limit::Timestamp;
use crate::request::RequestView;

use api_key::ApiKeys;
use certificate::{ByCertificate, ClientCertificate};
use credential::{Finding, Person, Place};
use header::TrustedHeader;
use jwt::Tokens;
use lookup::Lookup;
use session::{Confirmation, Session};

/// Where users come from.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The sources in the order in which they are tried.
    pub sources: Vec<Source>,
    /// What must know of a user besides the source that gave it.
    pub confirmation: Option<Confirmation>,
    /// Whether a request without a user is refused if it presented an invalid credential.
    pub rejects_invalid: bool,
    /// The header in which the application gets the verified user, in lower case.
    pub user_header: Option<String>,
    /// The header in which it gets the tier, in lower case.
    pub tier_header: Option<String>,
}

/// A source of users.
#[derive(Clone, Debug)]
pub enum Source {
    /// Signed tokens.
    Jwt(Tokens),
    /// Sessions that the application keeps in Redis.
    Session(Session),
    /// Keys that the operator has given out.
    ApiKey(ApiKeys),
    /// A header that a trusted proxy sets.
    Header(TrustedHeader),
    /// Certificates that clients show.
    ClientCertificate(ByCertificate),
}

/// The sources by name: the label of a metric, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceName {
    /// `[identity.jwt]`
    Jwt,
    /// `[identity.session]`
    Session,
    /// `[identity.api_key]`
    ApiKey,
    /// `[identity.header]`
    Header,
    /// `[identity.client_certificate]`
    ClientCertificate,
}

/// What is known of a request's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection<'a> {
    /// Whether its other end is a trusted proxy.
    pub via_trusted_proxy: bool,
    /// The certificate that the client has shown, and that was verified.
    pub certificate: Option<&'a ClientCertificate>,
}

/// What all sources together found.
#[derive(Debug, Default)]
pub struct Identified {
    /// The verified user.
    pub person: Option<Person>,
    /// What each source found that found anything, in order.
    pub findings: Vec<(SourceName, Finding)>,
}

// === impl Identity ===

impl Identity {
    /// Whether the application is told who the user is.
    pub const fn is_told(&self) -> bool {
        self.user_header.is_some() || self.tier_header.is_some()
    }

    /// Headers that speak of a user to the application: nobody but a trusted proxy and this gateway
    /// may set them.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let own = [&self.user_header, &self.tier_header].into_iter().flatten();
        let trusted = self.sources.iter().flat_map(|source| match source {
            Source::Header(header) => header.names().collect(),
            Source::Jwt(_)
            | Source::Session(_)
            | Source::ApiKey(_)
            | Source::ClientCertificate(_) => Vec::new(),
        });
        own.map(String::as_str).chain(trusted)
    }

    /// Headers that tell who the user is: those of users and those of credentials.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        let places = self.sources.iter().flat_map(|source| match source {
            Source::Jwt(tokens) => tokens.places.iter().collect(),
            Source::Session(session) => vec![&session.place],
            Source::ApiKey(keys) => vec![keys.place()],
            Source::Header(_) | Source::ClientCertificate(_) => Vec::new(),
        });
        let credentials = places.filter_map(|place| match place {
            Place::Header(name) => Some(name.as_str()),
            Place::Cookie(_) | Place::Query(_) => None,
        });
        self.claims().chain(credentials)
    }

    /// The user of a request, at `now` by the wall clock. What only Redis knows is asked of
    /// `lookup`.
    pub async fn identify(
        &self,
        view: &RequestView<'_>,
        connection: Connection<'_>,
        now: Timestamp,
        lookup: &dyn Lookup,
    ) -> Identified {
        let mut found = Identified::default();
        for source in &self.sources {
            let finding = match source {
                Source::Jwt(tokens) => tokens.find(view, now, lookup).await,
                Source::Session(session) => session.find(view, lookup).await,
                Source::ApiKey(keys) => keys.find(view),
                Source::Header(header) => header.find(view, connection.via_trusted_proxy),
                Source::ClientCertificate(by) => by.find(connection.certificate),
            };
            if self.settle(&mut found, source.name(), finding, lookup).await {
                break;
            }
        }
        found
    }

    /// Notes what a source found, and asks for the confirmation of its user. True if that settles
    /// who the user is.
    async fn settle(
        &self,
        found: &mut Identified,
        name: SourceName,
        finding: Finding,
        lookup: &dyn Lookup,
    ) -> bool {
        if matches!(finding, Finding::Absent) {
            return false;
        }
        let person = match &finding {
            Finding::Valid(person) => Some(person.clone()),
            Finding::Absent | Finding::Invalid | Finding::Unanswered => None,
        };
        found.findings.push((name, finding));
        let Some(person) = person else { return false };
        let confirmed = match &self.confirmation {
            None => Finding::Valid(person),
            Some(confirmation) => {
                let confirmed = confirmation.confirm(person, lookup).await;
                found.findings.push((SourceName::Session, confirmed.clone()));
                confirmed
            }
        };
        if let Finding::Valid(person) = confirmed {
            found.person = Some(person);
        }
        found.person.is_some()
    }
}

// === impl Source ===

impl Source {
    /// Its name.
    pub const fn name(&self) -> SourceName {
        match self {
            Self::Jwt(_) => SourceName::Jwt,
            Self::Session(_) => SourceName::Session,
            Self::ApiKey(_) => SourceName::ApiKey,
            Self::Header(_) => SourceName::Header,
            Self::ClientCertificate(_) => SourceName::ClientCertificate,
        }
    }
}

// === impl SourceName ===

impl SourceName {
    /// Every source, in the order in which they are tried unless `sources` says otherwise.
    pub const ALL: [Self; 5] =
        [Self::Jwt, Self::Session, Self::ApiKey, Self::Header, Self::ClientCertificate];

    /// As the configuration and the metric spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Session => "session",
            Self::ApiKey => "api_key",
            Self::Header => "header",
            Self::ClientCertificate => "client_certificate",
        }
    }
}

// === impl Identified ===

impl Identified {
    /// Whether nobody was verified and something was presented that is not valid. What could not be
    /// asked might have been valid: then nobody is a forger.
    pub fn is_forgery(&self) -> bool {
        let found = |what: Finding| self.findings.iter().any(|(_, finding)| *finding == what);
        self.person.is_none() && found(Finding::Invalid) && !found(Finding::Unanswered)
    }
}
