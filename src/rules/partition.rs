//! What divides a policy's quota between clients, and the subject that a request falls under.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::request::RequestView;

/// Bytes of the hash that a subject keeps: 128 bits, so that nobody finds two requests that share
/// a key.
const SUBJECT_BYTES: usize = 16;
/// The subject of a policy that everyone shares.
const EVERYONE: &str = "everyone";

/// One word of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// The client's address, IPv6 by its prefix.
    Ip,
    /// The verified user.
    User,
    /// The normalised path.
    Path,
    /// The pattern of the route that the request takes.
    Route,
    /// The pattern of the rule that names the policy.
    Rule,
    /// The method; HEAD counts as GET.
    Method,
    /// The host, in lower case without port.
    Host,
    /// The value of a header, several lines joined.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The decoded value of a query parameter.
    Query(String),
}

/// The words of a policy, each once; none at all: everyone together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition(Vec<Word>);

/// What a partition may draw on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request.
    pub view: &'a RequestView<'a>,
    /// Who sent it.
    pub client: &'a Client,
    /// The route's pattern.
    pub route: &'a str,
    /// The rule's pattern.
    pub rule: &'a str,
}

// === impl Word ===

impl Word {
    /// Reads a word as the configuration spells it: `ip`, `header:X-Tenant` and so on.
    pub fn parse(text: &str) -> Option<Self> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Some(match text.split_once(':') {
            Some(("header", name)) => {
                http::HeaderName::try_from(name).ok()?;
                Self::Header(name.to_ascii_lowercase())
            }
            Some(("cookie", name)) => Self::Cookie(named(name)?),
            Some(("query", name)) => Self::Query(named(name)?),
            Some(_) => return None,
            None => match text {
                "ip" => Self::Ip,
                "user" => Self::User,
                "path" => Self::Path,
                "route" => Self::Route,
                "rule" => Self::Rule,
                "method" => Self::Method,
                "host" => Self::Host,
                _ => return None,
            },
        })
    }

    /// Whether a client can give this word any value it likes, and so as many quotas as it likes.
    pub fn chosen_by_client(&self) -> bool {
        match self {
            Self::Ip | Self::User | Self::Route | Self::Rule => false,
            Self::Path
            | Self::Method
            | Self::Host
            | Self::Header(_)
            | Self::Cookie(_)
            | Self::Query(_) => true,
        }
    }

    fn value(&self, facts: &Facts<'_>) -> Option<Vec<u8>> {
        let owned = |text: &str| text.as_bytes().to_vec();
        match self {
            Self::Ip => Some(owned(&facts.client.subject())),
            Self::User => facts.client.user.clone(),
            Self::Path => Some(owned(&facts.view.path)),
            Self::Route => Some(owned(facts.route)),
            Self::Rule => Some(owned(facts.rule)),
            Self::Method => Some(owned(&facts.view.method_counted())),
            Self::Host => facts.view.host.as_deref().map(owned),
            Self::Header(name) => facts.view.header(name),
            Self::Cookie(name) => facts.view.cookie(name),
            Self::Query(name) => facts.view.query_value(name).map(String::into_bytes),
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::User => f.write_str("user"),
            Self::Path => f.write_str("path"),
            Self::Route => f.write_str("route"),
            Self::Rule => f.write_str("rule"),
            Self::Method => f.write_str("method"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

// === impl Partition ===

impl Partition {
    /// A partition by `words`; their order does not matter.
    pub fn new(mut words: Vec<Word>) -> Self {
        words.sort();
        words.dedup();
        Self(words)
    }

    /// The words, each once.
    pub fn words(&self) -> &[Word] {
        &self.0
    }

    /// Whether different clients have different keys, and nobody that of another.
    pub fn divides_clients(&self) -> bool {
        self.0.iter().any(|word| matches!(word, Word::Ip | Word::User))
    }

    /// Whether the address alone divides the quota.
    pub fn by_address_alone(&self) -> bool {
        self.0 == [Word::Ip]
    }

    /// The subject of a request: an address as it is, everything else as a hash over its
    /// length-prefixed parts, so that different values never meet and no client chooses the slot
    /// of a Redis cluster. A value that is absent is replaced by the client's address, marked so
    /// that it equals no real value.
    pub fn subject(&self, facts: &Facts<'_>) -> String {
        match self.0.as_slice() {
            [] => EVERYONE.to_owned(),
            [Word::Ip] => facts.client.subject(),
            words => {
                let address = || facts.client.subject().into_bytes();
                hashed(words.iter().map(|word| (word, word.value(facts).ok_or_else(address))))
            }
        }
    }

    /// The values that divide a request from others, for people: those of its words, one by one.
    pub fn values(&self, facts: &Facts<'_>) -> Vec<(&Word, Option<Vec<u8>>)> {
        self.0.iter().map(|word| (word, word.value(facts))).collect()
    }

    /// The subject of requests whose words have the values that `value` gives, each in the form in
    /// which requests have it.
    pub fn subject_of(&self, value: impl Fn(&Word) -> String) -> String {
        match self.0.as_slice() {
            [] => EVERYONE.to_owned(),
            [Word::Ip] => value(&Word::Ip),
            words => hashed(words.iter().map(|word| (word, Ok(value(word).into_bytes())))),
        }
    }
}

/// The hash over words and their values, or over what stands in for a value.
fn hashed<'a>(parts: impl Iterator<Item = (&'a Word, Result<Vec<u8>, Vec<u8>>)>) -> String {
    let mut hash = Sha256::new();
    for (word, value) in parts {
        hash.update([u8::from(value.is_ok())]);
        let value = value.unwrap_or_else(|stand_in| stand_in);
        for part in [word.to_string().as_bytes(), &value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..SUBJECT_BYTES])
}
