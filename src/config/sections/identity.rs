//! `[identity]`: where users come from.

mod api_key;
mod client_certificate;
mod header;
mod jwt;
mod key;
mod place;
mod session;

use std::time::Duration;

use crate::config::IdentitySettings;
use crate::config::diagnostic::{Mistake, Span};
use crate::config::reader::Section;
use crate::config::value::listed;
use crate::identity::{Identity, Source, SourceName};
use place::Headers;
pub(super) use place::header_name;

const CACHE_MAX: Duration = Duration::from_secs(60);
const CACHE_DEFAULT: Duration = Duration::from_secs(1);
/// What the other sections say that this one depends on.
#[derive(Clone, Copy)]
pub(super) struct Surroundings {
    /// No peer is a trusted proxy.
    pub(super) trusts_nobody: bool,
    /// There is no Redis.
    pub(super) alone: bool,
    /// Clients are asked for a certificate.
    pub(super) asks_clients: bool,
}

/// The sections of the sources, read.
#[derive(Default)]
struct Sources {
    all: Vec<Source>,
    identity: Identity,
    /// The names of those that have a section, valid or not.
    present: Vec<SourceName>,
    has_tier: bool,
    headers: Headers,
}

pub(super) fn identity(mut section: Section<'_>, surroundings: Surroundings) -> IdentitySettings {
    let mut sources = Sources::default();
    sources.present.extend(SourceName::ALL.into_iter().filter(|name| section.has(name.word())));
    for name in SourceName::ALL {
        sources.read(name, section.table(name.word()), surroundings);
    }
    let order = order(&mut section, &sources.present);
    let rejects = section.word("on_invalid", &[("anonymous", false), ("reject", true)]);
    let headers = &mut sources.headers;
    let user_header = headers.of_user(&mut section, "user_header", place::USER_HEADER);
    let tier_header = headers.of_user(&mut section, "tier_header", place::TIER_HEADER);
    std::mem::take(headers).check(&section);
    doubt(&section, &sources);
    let cache = section.duration("cache", Duration::ZERO..=CACHE_MAX).unwrap_or(CACHE_DEFAULT);
    section.finish();
    let mut identity = sources.identity;
    identity.sources = sources.all;
    identity.sources.sort_by_key(|source| order.iter().position(|name| *name == source.name()));
    identity.rejects_invalid = rejects.unwrap_or(false);
    identity.user_header = user_header;
    identity.tier_header = tier_header;
    let has_user = !sources.present.is_empty();
    IdentitySettings { identity, cache, has_user, has_tier: sources.has_tier }
}

// === impl Sources ===

impl Sources {
    fn read(&mut self, name: SourceName, section: Section<'_>, surroundings: Surroundings) {
        // What a section that is absent lacks is no mistake.
        if !self.present.contains(&name) {
            return section.finish();
        }
        self.has_tier |= section.has("tier") || name == SourceName::ApiKey;
        let headers = &mut self.headers;
        match name {
            SourceName::Jwt => {
                let tokens = jwt::jwt(section, surroundings.alone, headers);
                self.all.extend(tokens.map(Source::Jwt));
            }
            SourceName::Session => self.read_session(section, surroundings.alone),
            SourceName::ApiKey => {
                self.all.extend(api_key::api_key(section, headers).map(Source::ApiKey));
            }
            SourceName::ClientCertificate => {
                let asks = surroundings.asks_clients;
                let source = client_certificate::client_certificate(section, asks);
                self.all.extend(source.map(Source::ClientCertificate));
            }
            SourceName::Header => {
                let header = header::header(section, surroundings.trusts_nobody, headers);
                self.all.extend(header.map(Source::Header));
            }
        }
    }

    fn read_session(&mut self, section: Section<'_>, alone: bool) {
        let (reader, span) = (section.reader(), section.key_span("key"));
        match session::session(section, alone, &mut self.headers) {
            Some(session::Read::Source(session)) => self.all.push(Source::Session(session)),
            Some(session::Read::Confirmation(confirmation)) => {
                if self.present.len() == 1 {
                    let mistake = Mistake::new(
                        "a session by user confirms another source: none is there",
                    )
                    .help("add one, as in `[identity.jwt]`, or write the key like `session:{id}`");
                    reader.error(&span, mistake);
                }
                self.identity.confirmation = Some(confirmation);
            }
            None => {}
        }
    }
}

/// The order of the sources: each one that has a section, once.
fn order(section: &mut Section<'_>, present: &[SourceName]) -> Vec<SourceName> {
    let words = SourceName::ALL.map(SourceName::word);
    let named = section.list("sources", 1..=words.len(), |text| {
        let found = SourceName::ALL.into_iter().find(|name| name.word() == text.value);
        found.ok_or_else(|| {
            let mistake = Mistake::new(format!("not a source of users: {}", text.shown()));
            mistake.help(format!("one of {}", listed(words)))
        })
    });
    let Some(named) = named else { return present.to_vec() };
    let mut order: Vec<SourceName> = Vec::new();
    for (span, name) in &named.items {
        if order.contains(name) {
            let mistake = Mistake::new("this source is named twice").help("remove one");
            section.error(span, mistake);
        } else if !present.contains(name) {
            let message = format!("this source has no section: `[identity.{}]`", name.word());
            section
                .error(span, Mistake::new(message).help("add the section, or leave it out here"));
        }
        order.push(*name);
    }
    for name in present.iter().filter(|name| !order.contains(name)) {
        let message = format!("`[identity.{}]` is not named in `sources`", name.word());
        section.error(
            &section.span_of(name.word()),
            Mistake::new(message).help("name it there, or leave the section out"),
        );
    }
    order
}

/// Warns of headers that nothing could ever fill.
fn doubt(section: &Section<'_>, sources: &Sources) {
    let warn = |key: &str, message: &str, help: &str| {
        if section.has(key) {
            let span: Span = section.span_of(key);
            section.reader().warn(&span, Mistake::new(message).help(help));
        }
    };
    if sources.present.is_empty() {
        warn("user_header", "no source gives a user", "add one, as in `[identity.jwt]`");
    }
    if !sources.has_tier {
        warn("tier_header", "no source gives a tier", "say where it stands: `tier` of a source");
    }
}
