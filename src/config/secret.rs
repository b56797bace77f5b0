//! What must not be shown: the store's password and the secret of tokens, wherever they stand.
//!
//! A printed line of the file may hold a password even when the file is broken, so this looks at
//! text, not at the parsed tree, and when in doubt hides too much.

use std::fmt;
use std::ops::Range;

/// What stands in for a secret.
pub(super) const MASK: &str = "***";
/// Keys and query parameters that hold a secret, alone or as the beginning of a longer word.
const SECRET_WORDS: [&str; 3] = ["pass", "secret", "token"];
/// The key that holds a secret only under this very name: `key_file` names a file.
const SECRET_KEY: &str = "key";
/// What a `key` that names a key in Redis holds, and a secret surely not.
pub(super) const PLACES: [&str; 2] = ["{id}", "{user}"];
pub(super) const QUOTES: [char; 2] = ['"', '\''];

/// A URL whose password neither `Debug` nor `Display` shows, or a password, of which they show
/// nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    is_url: bool,
}

/// Whether a text ends where the value in it ends. A line of a file does not: the string on it may
/// go on, or lack its closing quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Value,
    Line,
}

// === impl Secret ===

impl Secret {
    pub(super) fn new(url: String) -> Self {
        Self { text: url, is_url: true }
    }

    /// Nothing of `password` is shown.
    pub(super) fn whole(password: String) -> Self {
        Self { text: password, is_url: false }
    }

    /// The URL with its password, or the password, for the one who connects.
    pub fn expose(&self) -> &str {
        &self.text
    }

    fn shown(&self) -> String {
        if self.is_url {
            return replaced(&self.text, &hidden(&self.text, Extent::Value));
        }
        MASK.to_owned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

// === masking ===

/// A message that may quote a key or a value, without the secrets in it. A URL without `@` is
/// shown: the backtick behind it says where it ends.
pub(super) fn masked_message(message: &str) -> String {
    let mut ranges = named_values(message);
    ranges.extend(credentials(message, Extent::Line).filter(|_| message.contains('@')));
    replaced(message, &in_order(ranges))
}

/// Whether the name of a key says that its value is a secret.
pub(super) fn is_named_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

pub(super) fn replaced(text: &str, hidden: &[Range<usize>]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for range in hidden {
        shown.push_str(text.get(from..range.start).unwrap_or_default());
        shown.push_str(MASK);
        from = range.end;
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    shown
}

/// The byte ranges of `text` that must not be shown, in order, none touching another.
pub(super) fn hidden(text: &str, extent: Extent) -> Vec<Range<usize>> {
    let mut ranges = named_values(text);
    ranges.extend(credentials(text, extent));
    in_order(ranges)
}

pub(super) fn in_order(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, previous| {
        let touches = next.start <= previous.end;
        if touches {
            previous.end = previous.end.max(next.end);
        }
        touches
    });
    ranges
}

/// The password of the URL in `text`: what stands between the first `:` after the scheme and the
/// last `@`; all of it if there is no such `:`.
fn credentials(text: &str, extent: Extent) -> Option<Range<usize>> {
    let from = authority_start(text, extent)?;
    let authority = text.get(from..)?;
    let Some(at) = authority.rfind('@') else {
        let shown = !authority.contains(':') || reads_as_host(authority, extent);
        return (!shown).then_some(from..text.len());
    };
    let user = authority.get(..at)?.find(':').map_or(0, |colon| colon + 1);
    Some(from + user..from + at)
}

/// Where the part of a URL begins that may hold a password.
fn authority_start(text: &str, extent: Extent) -> Option<usize> {
    let behind_scheme = text.find("://").map(|at| at + 3);
    if extent == Extent::Value {
        return behind_scheme;
    }
    let start = behind_scheme.into_iter().chain(url_authority(text)).min();
    // A piece of a broken URL may have lost its scheme, but not its `@`.
    start.or_else(|| text.contains('@').then(|| text.find('=').map_or(0, |at| at + 1)))
}

/// Where the value of a key that ends in `url` begins, without its scheme if it has one.
fn url_authority(text: &str) -> Option<usize> {
    let value = url_value(text)?;
    let rest = text.get(value..)?;
    let opening = rest.len() - rest.trim_start().trim_start_matches(QUOTES).len();
    let authority = match rest.split_once("://") {
        // Behind a comment's `#` or an `@` it is another URL.
        Some((scheme, _)) if !scheme.contains(['#', '@']) => scheme.len() + 3,
        _ => opening,
    };
    Some(value + authority)
}

/// Where the value of a key that ends in `url` begins.
fn url_value(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    lower.match_indices("url").find_map(|(at, word)| after_equals(text, at + word.len()))
}

/// Where the value begins, if a key that ends at `at` (quotes and blanks aside) is assigned one.
fn after_equals(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let value = rest.trim_start_matches(QUOTES).trim_start().strip_prefix('=')?;
    Some(text.len() - value.len())
}

/// Whether `authority` is a host with at most a port, and certainly ends there.
fn reads_as_host(authority: &str, extent: Extent) -> bool {
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let rest = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<std::net::Ipv6Addr>().is_ok() => rest,
        _ => authority.trim_start_matches(host_char),
    };
    let rest = match rest.strip_prefix(':') {
        Some(port) => {
            let rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
            if !(1..=5).contains(&(port.len() - rest.len())) {
                return false;
            }
            rest
        }
        None => rest,
    };
    let closed = extent == Extent::Value || rest.contains(QUOTES);
    closed && (rest.is_empty() || rest.starts_with(['/', '?', '}', '"', '\'']))
}

/// The values of everything that is named like a secret, as in `?pass=x` and `password = "x"`.
fn named_values(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let word_char = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut ranges = Vec::new();
    for (at, _) in SECRET_WORDS.iter().flat_map(|word| lower.match_indices(word)) {
        let word = lower.get(at..).unwrap_or_default();
        let name_end = at + word.len() - word.trim_start_matches(word_char).len();
        if let Some(value) = after_equals(text, name_end) {
            ranges.push(value_at(text, value));
        }
    }
    for (at, word) in lower.match_indices(SECRET_KEY) {
        let alone = !lower.get(..at).unwrap_or_default().ends_with(word_char);
        let value = after_equals(text, at + word.len()).filter(|_| alone);
        // That of an override is a table.
        let is_text = |at: &usize| !text.get(*at..).unwrap_or_default().trim().starts_with('{');
        let range = value.filter(is_text).map(|value| value_at(text, value));
        let is_secret = |range: &Range<usize>| {
            let value = text.get(range.clone()).unwrap_or_default();
            !PLACES.iter().any(|place| value.contains(place))
        };
        ranges.extend(range.filter(is_secret));
    }
    ranges
}

/// The value that begins at `from`: what stands between quotes, else up to the next separator.
fn value_at(text: &str, from: usize) -> Range<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let value = rest.trim_start();
    let start = text.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|c| QUOTES.contains(c)) {
        let end = value.rfind(quote).filter(|end| *end > 0).unwrap_or(value.len());
        return start + 1..start + end;
    }
    let separator = |c: char| c.is_whitespace() || matches!(c, '&' | ',' | '}' | '"' | '\'');
    start..start + value.find(separator).unwrap_or(value.len())
}
