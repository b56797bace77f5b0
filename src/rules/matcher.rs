//! Patterns over a request's path and host.

use std::cmp::Ordering;
use std::fmt;

use globset::{Glob, GlobBuilder};

use crate::request::{RequestView, Spelling};

/// Longest pattern, in bytes.
const PATTERN_MAX: usize = 1024;

/// A glob over the normalised path.
///
/// `*` matches within a segment, `**` as a whole segment matches any number of segments, `?` one
/// character, `[a-z]` one of a set, `{a,b}` either, `{,/}` a slash or nothing. A pattern that ends in `/**` also matches the
/// path before it: `/api/**` matches `/api`.
///
/// Patterns order by specificity, the most specific first: segment by segment from the left, a
/// literal before a segment with a wildcard in it, before `*`, before `**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    /// In the spelling that paths of requests are brought into.
    spelled: String,
}

/// A host: a name, or `*.` and a name for everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPattern {
    /// False for a literal name, which therefore sorts first.
    wildcard: bool,
    name: String,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal,
    Mixed,
    Star,
    DoubleStar,
}

// === impl PathPattern ===

impl PathPattern {
    /// Reads a pattern for paths in this spelling.
    pub fn parse(text: &str, spelling: Spelling) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError(
                "a path is a glob that starts with `/`, like `/api/**`".to_owned(),
            ));
        }
        if text.len() > PATTERN_MAX {
            return Err(PatternError(format!("a path has at most {PATTERN_MAX} bytes")));
        }
        if let Some(why) = unmeetable(text, spelling) {
            return Err(PatternError(why.to_owned()));
        }
        if text.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(PatternError("`**` stands as a whole segment, as in `/a/**/b`".to_owned()));
        }
        let pattern = Self { text: text.to_owned(), spelled: spelling.pattern(text) };
        for glob in pattern.glob_texts() {
            build(&glob)?;
        }
        Ok(pattern)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The globs that together match what the pattern matches.
    pub(crate) fn globs(&self) -> Vec<Glob> {
        self.glob_texts().iter().filter_map(|text| build(text).ok()).collect()
    }

    fn glob_texts(&self) -> Vec<String> {
        let mut texts = vec![self.spelled.clone()];
        if let Some(base) = self.spelled.strip_suffix("/**") {
            texts.push(if base.is_empty() { "/".to_owned() } else { base.to_owned() });
        }
        texts
    }

    fn segments(&self) -> impl Iterator<Item = Segment> {
        self.text[1..].split('/').map(|segment| match segment {
            "**" => Segment::DoubleStar,
            "*" => Segment::Star,
            _ if segment.contains(['*', '?', '[', '{']) => Segment::Mixed,
            _ => Segment::Literal,
        })
    }
}

impl Ord for PathPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        // The text only breaks ties, so that equal order means an equal pattern.
        self.segments().cmp(other.segments()).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for PathPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn build(text: &str) -> Result<Glob, PatternError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| PatternError::from(&error))
}

/// Why no path can match a pattern: requests are compared in their one spelling, without a query.
fn unmeetable(text: &str, spelling: Spelling) -> Option<&'static str> {
    let dots = |segment: &str| {
        let segment = segment.replace("%2e", ".").replace("%2E", ".");
        matches!(segment.as_str(), "." | "..")
    };
    let query = text.split_once('?').is_some_and(|(_, rest)| rest.contains('='));
    let blank = |c: char| c == ' ' || c.is_ascii_control();
    if text.contains("//") {
        Some("double slashes are merged before rules are asked, write `/`")
    } else if text.split('/').any(dots) {
        Some("`.` and `..` are resolved before rules are asked, write the path that they lead to")
    } else if text.contains('#') {
        Some("no path has a `#`, write `%23` for one that is escaped")
    } else if text.contains(blank) {
        Some("no path has a blank or a control character, write it as an escape like `%20`")
    } else if query {
        Some("a path has no query, and `?` is any one character; a rule asks for it in `query`")
    } else {
        unspelled(text, spelling)
    }
}

/// Why no path that has a spelling can match a pattern.
fn unspelled(text: &str, spelling: Spelling) -> Option<&'static str> {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let escapes = |escape: &str| text.to_ascii_lowercase().contains(escape);
    let mut signs = text.bytes().enumerate().filter(|(_, byte)| *byte == b'%');
    let bytes = text.as_bytes();
    if signs.any(|(at, _)| !digit(bytes.get(at + 1)) || !digit(bytes.get(at + 2))) {
        Some("a `%` begins an escape of two hexadecimal digits, and is itself `%25`")
    } else if ["%0", "%1", "%7f"].into_iter().any(escapes) {
        Some("no path has a control character: such requests are refused")
    } else if !spelling.keeps_slashes && (escapes("%2f") || escapes("%5c")) {
        Some("no path has an encoded slash: such requests are refused, see `encoded_slashes`")
    } else if !spelling.keeps_params && text.contains(';') {
        Some("what follows a `;` is left out before rules are asked, see `path_params`")
    } else {
        None
    }
}

// === impl HostPattern ===

impl HostPattern {
    /// Reads a host pattern; case and a final dot do not matter.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
        let (wildcard, name) = match lower.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, lower.as_str()),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let bracketed = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || !(bracketed || name.chars().all(allowed)) {
            let message = "a host is a name without port, or `*.` and a name".to_owned();
            return Err(PatternError(message));
        }
        Ok(Self { wildcard, name: name.to_owned() })
    }

    /// Whether `host` (lower case, without port) matches.
    pub fn matches(&self, host: &str) -> bool {
        if !self.wildcard {
            return host == self.name;
        }
        host.strip_suffix(self.name.as_str())
            .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

/// Whether a request is for a host that `pattern` matches; without a pattern, for any.
pub(super) fn host_matches(pattern: Option<&HostPattern>, view: &RequestView<'_>) -> bool {
    let Some(pattern) = pattern else { return true };
    view.host.as_deref().is_some_and(|host| pattern.matches(host))
}

// === impl PatternError ===

impl PatternError {
    pub(super) fn of(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl From<&globset::Error> for PatternError {
    fn from(error: &globset::Error) -> Self {
        Self(error.kind().to_string())
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}
